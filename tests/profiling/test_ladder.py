"""The ladder: two levels for real, and what is made of the figures."""
from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import labkit as lk
from labkit.models.quantise import made
from labkit.profiling import kept
from labkit.profiling import ladder as module
from labkit.profiling.ladder import Sample

TINY = Sample(windows=1, tools=1, repetitions=2, prompt=32, answer=8)


def test_two_levels_for_real_and_from_the_cache(monkeypatch, tmp_path):
    # Copies: weights that this process already holds, for another test, would be shared and add no memory.
    files = {level: Path(shutil.copy(made(level), tmp_path / f"{level}.gguf")) for level in ("F16", "Q4_0")}
    monkeypatch.setattr(module, "made", lambda level, source=None: files[level])
    monkeypatch.setattr(kept, "home", lambda: tmp_path)
    monkeypatch.setattr(module, "home", lambda: tmp_path)
    steps = []
    found = module.run(lambda done, of, what: steps.append((done, of, what)), levels=("F16", "Q4_0"), sample=TINY)
    assert steps == [(0, 2, "F16"), (1, 2, "Q4_0"), (2, 2, "done")]
    f16, q4 = found.rungs
    assert f16.divergence is None and f16.kl == 0 and 0.05 < q4.kl < 1 and 0.5 < q4.same_top < 1
    assert f16.perplexity.value < q4.perplexity.value and f16.fallbacks == 0 and q4.fallbacks == 1
    assert f16.file_bytes > 2.5 * q4.file_bytes and "Paris" in f16.answer and q4.tools_right in (0, 1)
    for one in found.rungs:
        assert one.prefill.mean > one.decode.mean > 1 and one.share > 0 and one.memory_bytes > 10_000_000
    assert "right calls of 1" in str(found) and "made, s" in str(found) and json.dumps(found.to_dict())
    again = module.run(levels=("F16", "Q4_0"), sample=TINY)
    assert again.rungs == found.rungs
    assert module.run(levels=("Q4_0",), sample=TINY).rungs[0].divergence is None, "another reference is another result"


def test_levels_that_another_one_beats_are_named(typed_ladder, typed_rung):
    found = typed_ladder(typed_rung("F16", 271, 0, 110), typed_rung("Q5_1", 112, 0.03, 130),
                         typed_rung("Q5_K_S", 110, 0.02, 140), typed_rung("Q4_0", 92, 0.2, 200))
    assert found.undominated() == ["F16", "Q5_K_S", "Q4_0"]
    assert "No level is both smaller and truer than F16, Q5_K_S, Q4_0" in " ".join(str(found).split())


def test_the_claims_are_judged_by_the_figures(typed_ladder, typed_rung):
    rows = {claim: (measured, holds) for claim, measured, holds in module.claims(typed_ladder()).rows}
    assert rows["Q4_0 is 75 % smaller"] == ("66% smaller than F16", "no")
    assert rows["Q8_0 is about half the original"] == ("54% of F16", "yes")
    assert rows["Q2_K has two bits a weight"] == ("5.2 bits", "no")
    assert rows["Q4_K is the fastest"] == ("Q2_K writes 210 tokens/s, Q4_K_M 150", "no")
    assert rows["Q4_K_M is the balanced choice"] == ("smaller and truer: none", "yes")
    better = typed_ladder(*typed_ladder().rungs, typed_rung("Q5_K_S", 104, 0.01, 140))
    assert module.claims(better).rows[-1] == ("Q4_K_M is the balanced choice", "smaller and truer: Q5_K_S", "no")


@pytest.mark.parametrize("levels, said", [(("F16", "Q9"), "Unknown level 'Q9'"), ((), "Name a level")])
def test_levels_that_do_not_exist_are_refused(levels, said):
    with pytest.raises(lk.BadRequest, match=said):
        module.run(levels=levels)
