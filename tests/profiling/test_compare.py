"""The comparison on the real model with small counts. No time is asserted."""
from __future__ import annotations

import pytest

import labkit as lk
from labkit.errors import LabkitError
from labkit.profiling import compare


@pytest.fixture(scope="module")
def slm():
    return lk.connect(context_length=1024)


@pytest.fixture(scope="module")
def found(slm):
    return compare.run(slm, pairs=2, answer_tokens=8, waits=False)


def test_both_sides_give_the_same_answer_to_the_same_prompt(found):
    assert len(found.pairs) == 2 and found.same_text == 2
    assert all(pair.raw.text.strip() for pair in found.pairs)


def test_both_sides_have_the_same_settings(found, slm):
    engine = slm.backend.engine
    assert found.settings["n_ctx"] == engine.context_length == 1024
    assert found.settings["n_threads"] == engine.threads


def test_no_prompt_is_seen_twice():
    prompts = [compare._prompt(i) for i in range(-1, 60)]
    assert len({prompt.partition(":")[0] for prompt in prompts}) == len(prompts)
    assert len(set(compare.REQUESTS)) == 20


def side(ttft, rate, text="a"):
    return compare.Side(ttft, rate, text)


def test_what_is_reported_is_the_median_over_pairs(found):
    from dataclasses import replace
    pairs = (compare.Pair(side(0.101, 90.0), side(0.1, 100.0)),
             compare.Pair(side(0.304, 30.0), side(0.3, 30.0)),  # a slow minute, for both
             compare.Pair(side(0.102, 110.0, "b"), side(0.1, 100.0)))
    made = replace(found, pairs=pairs)
    assert made.decode_ratio == 1.0 and made.same_text == 2
    assert made.ttft_difference_ms == pytest.approx(2.0)
    assert "+2.00" in str(made)


def test_the_sides_take_turns_to_go_first(monkeypatch):
    order = []
    monkeypatch.setattr(compare, "_labkit_side", lambda *_: order.append("labkit"))
    monkeypatch.setattr(compare, "_raw_side", lambda *_: order.append("raw"))
    for i in (0, 1):
        compare._pair(None, None, "p", 1, labkit_first=i % 2 == 0)
    assert order == ["labkit", "raw", "raw", "labkit"]


def test_import_is_timed_in_a_fresh_interpreter():
    assert 0 < compare.import_seconds() < 60


def test_a_fresh_process_that_fails_is_an_error_with_its_reason():
    with pytest.raises(LabkitError, match="no_such_module"):
        compare._fresh("import no_such_module")


def test_an_answer_too_short_to_time_is_refused():
    with pytest.raises(LabkitError, match="too short"):
        compare._timed(lambda: ["", "one"])


def test_it_shows_itself_with_targets(found):
    assert "llama-cpp-python" in str(found) and "0.98 or more" in found._repr_markdown_()
    assert found.to_dict()["decode_ratio"] == found.decode_ratio


def test_all_waits_are_measured(slm, monkeypatch):
    monkeypatch.setattr(compare, "IMPORTS", 1)
    monkeypatch.setattr(compare, "STARTS", 1)
    monkeypatch.setattr(compare, "REQUESTS", compare.REQUESTS[:2])
    steps = []
    found = compare.run(slm, pairs=1, answer_tokens=4, progress=lambda *step: steps.append(step))
    assert len(found.import_s) == len(found.first_token_s) == 1 and len(found.tool_call_s) == 2
    assert 0 <= found.tool_calls <= 2
    assert "fresh process to first token" in str(found)
    assert steps[-1] == (4, 4, "done")
