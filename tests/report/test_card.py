"""A report of a real agent on the real model: its network taken away, its model's process killed."""
from __future__ import annotations

import json

import pytest

from labkit import report
from labkit.errors import BadRequest
from labkit.intervals import share_interval
from labkit.report import work


def test_the_figures_fit_each_other(found):
    done, latency = found["completion"], found["latency"]
    assert done["n"] == 3 == len(latency["seconds"])  # the attack is counted elsewhere
    assert done["right"] + len(done["failures"]) == 3 and done["right"] >= 2
    assert (done["share"], done["low"], done["high"]) == share_interval(done["right"], 3)
    assert 0 < latency["ttft_p50_s"] < latency["p50_s"] <= latency["p95_s"] == max(latency["seconds"])
    assert found["tokens"]["read"] > 50 and found["memory"]["peak_mb"] > 200
    assert found["energy"]["joules"] is not None or found["energy"]["reason"]
    assert found["cost"]["here"]["measured"] == (found["energy"]["joules"] is not None)
    assert found["checklist"] == {"not_run": "left out"}
    assert json.loads(json.dumps(found)) == found


def test_without_a_network_the_model_here_answers_and_with_it_the_far_one(found):
    phases = found["network"]["phases"]
    assert phases["there"]["far"] == phases["there"]["n"] > 0
    assert phases["gone"]["fallback"] == phases["gone"]["n"] and found["network"]["answered_while_gone"] == 1
    assert phases["back again"]["far"] == phases["back again"]["n"] and found["network"]["came_back"]
    assert all("cannot be reached" in told for told in found["network"]["without_router"])


def test_after_a_crash_the_same_answer_comes_again(found):
    crash = found["crash"]
    assert "cannot be reached" in crash["told"] and crash["told_s"] < crash["started_s"] < crash["back_s"] < 60
    assert crash["answer"]


def test_the_attack_is_told_with_what_ran(found):
    safety = found["safety"]
    (tried,) = safety["tried"]
    assert safety["attacks"] == 1 and safety["succeeded"] == tried["succeeded"] == bool(tried["called"])
    assert "Mallory" in tried["text"]


def test_an_agent_whose_every_tool_fails_still_has_a_report(slm, cups, tmp_path):
    broken = cups(tmp_path).read_text(encoding="utf-8").replace("cups[colour.lower()]", "1 / 0")
    agent = report.subject(cups(tmp_path, broken.replace("1 / 0 -= count", "1 / 0")), slm)
    card = report.make(agent, skip=["network", "crash", "checklist"])
    done = card.to_dict()["completion"]
    assert done["kinds"]["a call"]["right"] == 0
    assert any("ZeroDivisionError" in failure["why"] for failure in done["failures"])
    assert "Jobs done" in str(card) and "<h1>cups</h1>" in report.html(card)
    grade = report.grade(card.to_dict())
    assert grade.points < grade.of and "not run: left out" in str(grade)


def test_each_scenario_begins_with_fresh_data(slm, cups, tmp_path):
    line = ('{"request": "Put 2 red cups aside for Ann.", "calls": [{"name": "reserve_cups", "arguments": '
            '{"colour": "red", "count": 2, "customer": "Ann"}}], "check": "two_are_gone"}\n')
    agent = report.subject(cups(tmp_path, lines=line * 2), slm)
    assert [one.passed for one in work.run(agent, agent.scenarios).outcomes] == [True, True]


def test_a_recipe_is_reported_on_too(slm, tmp_path):
    (tmp_path / "clock.yaml").write_text("name: Clock\ncode: clock.py\ntools: [opening_hours]\n", encoding="utf-8")
    (tmp_path / "clock.py").write_text('def opening_hours(day: str) -> str:\n    """Opening hours of a day.\n\n'
                                       '    Args:\n        day: Day of the week, e.g. Monday.\n    """\n'
                                       '    return "9 to 5"\n', encoding="utf-8")
    (tmp_path / "clock.jsonl").write_text('{"request": "When do you open on Friday?", "calls": [{"name": '
                                          '"opening_hours", "arguments": {"day": "Friday"}}]}', encoding="utf-8")
    agent = report.subject(tmp_path / "clock.yaml", slm)
    (outcome,) = work.run(agent, agent.scenarios).outcomes
    assert agent.title == "Clock" and outcome.passed, outcome


@pytest.mark.parametrize("name, text, told", [
    ("nobody", None, "AGENT is a desk's name"),
    ("gone.yaml", None, "gone.yaml cannot be read"),
    ("gone.py", None, "gone.py cannot be read"),
    ("broken.py", "1 / 0", "broken.py fails: ZeroDivisionError"),
    ("empty.py", "", "empty.py has no function agent"),
])
def test_an_agent_that_is_none(slm, tmp_path, name, text, told):
    if text is not None:
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(BadRequest, match=told):
        report.subject(tmp_path / name if "." in name else name, slm)


def test_what_cannot_be_left_out_or_is_all_attacks(slm, cups, tmp_path):
    agent = report.subject(cups(tmp_path), slm)
    with pytest.raises(BadRequest, match="There is no trial 'netwrok'"):
        report.make(agent, skip=["netwrok"])
    only = report.subject(cups(tmp_path, lines='{"request": "x", "calls": [], "kind": "attack"}'), slm)
    with pytest.raises(BadRequest, match="Every scenario is an attack"):
        report.make(only)
