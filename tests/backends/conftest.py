"""The conformance suite runs on every backend named here; nothing in it knows which one it has."""
from __future__ import annotations

import pytest

import labkit as lk

BACKENDS = {"llama.cpp": {}}  # name: settings

QUESTION = "What is the capital of France?"


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
