"""The rubric and the prices: files that are read, figures that are found, limits that are kept."""
from __future__ import annotations

import json

import pytest

from labkit.backends.reply import Usage
from labkit.errors import BadRequest
from labkit.profiling.energy import Energy
from labkit.report import cost, rubric

FOUND = {"completion": {"share": 0.9, "n": 10}, "latency": {"p95_s": 4.0, "ttft_p50_s": None},
         "crash": {"not_run": "left out"}}
RUBRIC = """
name: Mine
lines:
  - {what: It works, figure: completion.share, at_least: 0.9, points: 3}
  - {what: It is quick, figure: latency.p95_s, at_most: 3.5, unit: s}
  - {what: It is lively, figure: latency.ttft_p50_s, at_most: 1}
  - {what: It comes back, figure: crash.back_s, at_most: 30}
  - {what: It sings, figure: songs.number, at_least: 1}
"""


def test_each_line_has_its_evidence(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(RUBRIC, encoding="utf-8")
    graded = rubric.grade(FOUND, rubric.read_rubric(file))
    assert [line.status for line in graded.lines] == ["pass", "FAIL", "not measured", "not measured", "not measured"]
    assert (graded.points, graded.of) == (3, 7)
    evidence = [line.evidence for line in graded.lines]
    assert evidence[0] == "completion.share = 0.9, wanted at least 0.9"
    assert evidence[1] == "latency.p95_s = 4 s, wanted at most 3.5 s"
    assert "no number" in evidence[2] and "not run: left out" in evidence[3] and "no such figure" in evidence[4]
    assert "3 of 7 points" in str(graded) and json.dumps(graded.to_dict())


@pytest.mark.parametrize("line, told", [
    ("{what: x, figure: a.b}", "give either at_least or at_most"),
    ("{what: x, figure: a.b, at_least: 1, at_most: 2}", "give either at_least or at_most"),
    ("{what: x, figure: a b, at_least: 1}", "lines.0.figure"),
    ("{what: x, figure: a.b, at_least: 1, point: 2}", "lines.0.point"),
])
def test_a_wrong_rubric_is_told_with_line_and_field(tmp_path, line, told):
    file = tmp_path / "mine.yaml"
    file.write_text(f"name: Mine\nlines:\n  - {line}\n", encoding="utf-8")
    with pytest.raises(BadRequest, match="mine.yaml, line 3") as error:
        rubric.read_rubric(file)
    assert told in str(error.value)


def test_the_courses_own_files_are_whole():
    assert rubric.read_rubric().name == "Capstone" and sum(line.points for line in rubric.read_rubric().lines) >= 10
    prices = cost.read_prices()
    assert all(model.read > 0 and model.written > model.read and model.source for model in prices.models)


def prices() -> cost.Prices:
    return cost.Prices(currency="USD", electricity={"per_kwh": 0.36, "watts": 10}, models=[
        {"name": "large", "read": 2, "written": 10, "seen": "2026-10-01", "source": "typed in"}])


def test_the_same_tokens_in_the_cloud_and_the_electricity_here():
    found = cost.compare(prices(), [Usage(400, 20), Usage(600, 80)], 4.0, Energy(reason="no counter"))
    # by hand: 1000 tokens read at 2 and 100 written at 10 a million are 0.003 for two requests
    assert found["cloud"][0]["cost"] == pytest.approx(1.5)
    # 10 W for 4 s are 40 J for two requests: 20 kJ for a thousand, a 180th of a kWh
    assert found["here"]["kwh"] == pytest.approx(1 / 180) and found["here"]["cost"] == pytest.approx(0.002)
    assert found["here"]["measured"] is False and found["here"]["watts"] == 10


def test_energy_that_was_measured_is_taken():
    found = cost.compare(prices(), [Usage(1, 1)] * 4, 4.0, Energy(8.0, "RAPL"))
    assert found["here"]["joules_per_request"] == 2.0 and found["here"]["watts"] is None
