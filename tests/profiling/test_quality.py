"""Perplexity and divergence: against transformers on the same weights, against scoring, and worked by hand."""
from __future__ import annotations

import json
import math
import os
import subprocess

import numpy as np
import pytest

import labkit as lk
from labkit.models import workshop
from labkit.models.environments import environment
from labkit.profiling import quality

ORACLE = """
import json, sys
import torch
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
losses = []
for window in json.load(sys.stdin):
    first = len(window) // 2
    with torch.no_grad():
        logits = model(torch.tensor([window])).logits[0]
    targets = torch.tensor(window[first + 1:])
    losses.append(torch.nn.functional.cross_entropy(logits[first:-1], targets, reduction="none"))
print(torch.cat(losses).mean().exp().item())
"""


@pytest.fixture(scope="module")
def engine():
    return lk.connect(adapter=None).backend.engine


def test_perplexity_is_that_of_transformers_on_the_same_weights(engine):
    if reason := environment("workshop").why_not() or workshop.form("hf") is None and "the hf form is missing":
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    windows = quality.windows(engine.tokenize(quality.prose()))
    done = subprocess.run([environment("workshop").require(), "-c", ORACLE, str(workshop.require("hf"))],
                          input=json.dumps(windows), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    mine = quality.perplexity(engine)
    assert mine.value == pytest.approx(float(done.stdout), rel=0.01) and mine.guesses == 2 * 255


def test_it_is_the_score_of_each_windows_second_half(engine):
    text = quality.prose()[:1500]
    [window] = quality.windows(engine.tokenize(text), 64, 1)
    found = quality.perplexity(engine, text, window=64, most=1)
    # What the cache holds already is not read again: other portions are summed in another order. 0.0016 was seen.
    assert found.value == pytest.approx(math.exp(-engine.score(window[:33], window[33:]) / 31), rel=5e-3)
    assert found.guesses == 31 and 0 < found.error < found.value


def test_nothing_diverges_from_itself_and_another_text_does(engine):
    text = quality.prose()[:2000]
    reference = quality.references(engine, text, window=64, most=2)
    ppl, same = quality.compare(engine, reference, text, window=64, most=2)
    assert abs(same.mean) < 1e-6 and same.same_top == len(same.kl) == 62 and same.top[0] == 1
    assert ppl.value == pytest.approx(quality.perplexity(engine, text, window=64, most=2).value, rel=1e-6)
    other = [np.roll(rows, 1, axis=0) for rows in reference]
    _, apart = quality.compare(engine, other, text, window=64, most=2)
    assert min(apart.kl) >= 0 and apart.mean > 1 and apart.same_top < 31
    assert 0 < apart.percentile(50) <= apart.percentile(90) <= apart.percentile(99) and apart.error > 0


def test_the_figures_of_a_case_worked_by_hand():
    p, q = np.log([[0.5, 0.5], [0.5, 0.5]], dtype=np.float32), np.log([[0.25, 0.75], [0.75, 0.25]], dtype=np.float32)
    ppl, apart = quality.judge(iter([([0, 0, 1], q)]), [p])
    assert ppl.value == pytest.approx(4) and ppl.error == pytest.approx(0, abs=1e-6) and ppl.guesses == 2
    assert apart.kl == pytest.approx([0.5 * math.log(4 / 3)] * 2, rel=1e-5) and apart.same_top == 1
    assert apart.to_dict()["p99"] == pytest.approx(apart.mean)


def test_what_was_read_leaves_the_cache_as_it_was(engine):
    chat = lk.connect(adapter=None)
    before = chat.chat("What is the capital of France?", max_tokens=8)
    quality.perplexity(engine, quality.prose()[:1500], window=64)
    after = chat.chat("What is the capital of France?", max_tokens=8)
    assert after.text == before.text


@pytest.mark.parametrize("settings, said", [({"window": 3}, "of at least 4"), ({"most": 0}, "at least one"),
                                            ({"window": 4096}, "a window needs 4096")])
def test_what_cannot_be_cut_into_windows_is_refused(engine, settings, said):
    with pytest.raises(lk.BadRequest, match=said):
        quality.perplexity(engine, "Too short a text.", **settings)
    with pytest.raises(lk.ContextFull):
        engine.window([1] * (engine.context_length + 1), 0, print)
