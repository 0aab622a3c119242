"""Text as vectors: against llama-cpp-python's own, and what a text of any length gives."""
from __future__ import annotations

import numpy as np
import pytest

import labkit as lk
from labkit.backends import llama_embed

TEXTS = ["The cat sat on the mat.", "Zinsen stiegen im Mai, ß und 😀.", "x"]


def test_they_are_what_llama_cpp_python_gives(slm):
    from llama_cpp import LLAMA_POOLING_TYPE_MEAN, Llama
    other = Llama(str(slm.backend.engine.path), embedding=True, pooling_type=LLAMA_POOLING_TYPE_MEAN, n_ctx=512,
                  n_batch=512, verbose=False)
    try:
        tokens = [other.tokenize(text.encode(), add_bos=False) for text in TEXTS]
        assert tokens == [slm.backend.engine.tokenize(text) for text in TEXTS]
        wanted = [np.array(other.embed(text, normalize=True)) for text in TEXTS]
    finally:
        other.close()
    for ours, theirs in zip(slm.backend.embed(TEXTS), wanted, strict=True):
        assert np.dot(ours, theirs) == pytest.approx(1.0, abs=2e-3)


def test_each_has_length_one_and_depends_on_its_own_text_alone(slm):
    together = np.array(slm.backend.embed(TEXTS))
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(len(TEXTS)))
    alone = np.array([slm.backend.embed([text])[0] for text in reversed(TEXTS)][::-1])
    assert together == pytest.approx(alone, abs=2e-3), "read together, each sees itself alone"
    assert slm.backend.embed([]) == [] and len(slm.backend.embed([""])[0]) == together.shape[1]


def test_a_text_read_in_several_batches_is_read_as_one(slm, monkeypatch):
    text = "Rain fell on the hills, and the river rose. " * 40
    assert len(slm.backend.engine.tokenize(text)) > llama_embed.BATCH
    whole = slm.backend.embed([text])[0]
    monkeypatch.setattr(llama_embed, "BATCH", 64)
    (smaller,) = llama_embed.Embedder(slm.backend.engine).vectors([slm.backend.engine.tokenize(text)])
    assert np.dot(whole, smaller) == pytest.approx(1.0, abs=1e-3)


def test_a_text_that_is_too_long_names_both_lengths_and_the_next_one_works(slm):
    with pytest.raises(lk.ContextFull) as caught:
        slm.backend.embed(["word " * 3000])
    assert caught.value.prompt_tokens > caught.value.context_tokens == llama_embed.LONGEST
    assert slm.backend.embed(["x"])


def test_threads_share_one_context(slm, in_thread):
    alone = slm.backend.embed(TEXTS)
    results = [in_thread(lambda: slm.backend.embed(TEXTS)) for _ in range(4)]
    assert all(np.allclose(result(), alone, atol=1e-6) for result in results)


def test_answers_are_the_same_before_and_after(slm):
    before = slm.chat("What is the capital of France?").text
    slm.backend.embed(TEXTS)
    assert slm.chat("What is the capital of France?").text == before and slm.capabilities.embeddings
