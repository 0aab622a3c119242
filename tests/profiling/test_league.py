"""The league table: real entries of runtimes, kept by what they depend on, and choices from it."""
from __future__ import annotations

import json
from dataclasses import replace

import pytest

import labkit as lk
from labkit.models.hardware import machine
from labkit.profiling import league
from labkit.profiling.league_entry import Entry

FAST = Entry("fast", "m", 3.0, 0.02, {1: 100.0, 4: 200.0, 16: 400.0}, 2_000_000_000, 10, 20,
             {"constraints": ["json_schema"], "continues": False}, 12)
SMALL = replace(FAST, name="small", load_s=0.5, ttft_s=0.05, tokens_per_s={1: 120.0, 4: 120.0, 16: 120.0},
                rss_bytes=400_000_000, right=12, capabilities={"constraints": [], "continues": True})
TABLE = league.League((FAST, SMALL), {"vllm": "not installed"}, machine())


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """One real, short entry, and the folder it is kept in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_HOME", str(tmp_path_factory.mktemp("home")))
        seen = []
        found = league.run("llama.cpp", cases=1, answer_tokens=3, progress=lambda *step: seen.append(step))
        assert seen == [(0, 1, "llama.cpp")]
        kept = league.kept_file("llama.cpp", 1, 3)
        assert kept.is_file()
        yield found, kept


def test_a_real_runtime_is_measured_in_a_process_of_its_own(measured):
    entry, = measured[0].entries
    assert entry.name == "llama.cpp" and "SmolLM2" in entry.model and entry.cases == 1
    assert 0 < entry.ttft_s < entry.load_s and 100e6 < entry.rss_bytes < 10e9
    assert entry.tokens_per_s.keys() == {1, 4, 16} and all(rate > 0 for rate in entry.tokens_per_s.values())
    assert "json_schema" in entry.capabilities["constraints"]


def test_what_was_kept_is_taken_and_another_setting_is_another_file(measured, monkeypatch):
    found, kept = measured
    monkeypatch.setattr(league, "kept_file", lambda *_: kept)
    monkeypatch.setattr(league, "_measured", None)  # measuring again would fail
    assert league.run("llama.cpp", cases=1, answer_tokens=3, kept=True).entries == found.entries
    monkeypatch.undo()
    names = {league.kept_file(*given) for given in (("llama.cpp", 1, 3), ("llama.cpp", 2, 3), ("onnx", 1, 3))}
    assert len(names) == 3


def test_a_runtime_that_fails_is_left_out_with_its_reason(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    found = league.run(["openai"])
    assert found.entries == () and "cannot be reached" in found.left_out["openai"]
    assert "Nothing was measured" in str(found)
    assert not list(tmp_path.rglob("*.json"))


def test_an_unknown_name():
    with pytest.raises(lk.BadRequest, match="no backend 'vlm'. Use: all, or of .*vllm"):
        league.run("llama.cpp,vlm")


@pytest.mark.parametrize("need, chosen", [
    ("first word", "fast: 20 ms"), ("one reader", "small: 120 tokens/s"), ("many clients", "fast: 400"),
    ("little memory", "small: 400 MB"), ("quick start", "small: 0.5 s"), ("tools", "small: 60 %"),
])
def test_the_choice_follows_the_figures(need, chosen):
    assert TABLE.choose(need).startswith(chosen)


def test_a_limit_of_memory_comes_first():
    assert TABLE.choose("many clients", memory_bytes=1e9) == "small: 120 tokens/s for 16 clients."
    assert TABLE.choose("tools", memory_bytes=1e6) == "None fits in 1 MB: the smallest, small, takes 400 MB."
    with pytest.raises(lk.BadRequest, match="need='speed': use one of first word"):
        TABLE.choose("speed")


def test_the_table_says_what_is_enforced_and_who_is_missing():
    text = str(TABLE)
    assert "enforced" in text and "continued" in text and "Not here: vllm (not installed)" in text
    assert json.loads(json.dumps(TABLE.to_dict()))["left_out"] == {"vllm": "not installed"}
