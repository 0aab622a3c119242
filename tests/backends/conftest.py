"""The conformance suite runs on every backend named here; nothing in it knows which one it has."""
from __future__ import annotations

import pytest

import labkit as lk

BACKENDS = {"llama.cpp": {}}  # name: settings

QUESTION = "What is the capital of France?"


TIE = 0.05  # nats: what rounding may move a token's log-probability, with room to spare


def assert_same_answers(model, prompts, got, wanted) -> None:
    """Equal texts, or texts that part at a token where both were as good as equally likely.

    A prompt read in other portions (from the cache, or not) is summed in another order, and the last
    digits decide a tie. A cache that mixed up its sequences would not part at ties.
    """
    for prompt, a, b in zip(prompts, got, wanted, strict=True):
        if a != b:
            assert abs(_at_the_fork(model, prompt, a, b)) < TIE, (prompt, a, b)


def _at_the_fork(model, prompt: str, a: str, b: str) -> float:
    """Difference of the log-probabilities (nats) of the first tokens in which two answers differ."""
    assert hasattr(model.backend, "engine"), (prompt, a, b)  # elsewhere answers must be equal
    engine, before = model.backend.engine, model.backend.prompt_tokens([{"role": "user", "content": prompt}])
    one, other = engine.tokenize(a), engine.tokenize(b)
    fork = next((i for i, (x, y) in enumerate(zip(one, other, strict=False)) if x != y), None)
    assert fork is not None, (prompt, a, b)  # one is a part of the other: it was cut, not tipped
    known = before + one[:fork]
    return engine.score(known, one[fork:fork + 1]) - engine.score(known, other[fork:fork + 1])


@pytest.fixture
def same_answers():
    """assert_same_answers(model, prompts, got, wanted)."""
    return assert_same_answers


@pytest.fixture(scope="session", params=BACKENDS)
def model(request):
    """A connected model, one per backend."""
    return lk.connect(request.param, **BACKENDS[request.param])


@pytest.fixture(scope="session")
def expected(model):
    """The answer to QUESTION by a model that nothing has happened to."""
    return model.chat(QUESTION, max_tokens=16).text


@pytest.fixture
def works(model, expected):
    """Fails if the model no longer answers as before."""
    def check():
        assert model.chat(QUESTION, max_tokens=16).text == expected
    return check
