"""The conformance suite runs on every backend named here; nothing in it knows which one it has.

LABKIT_TEST_BACKENDS="onnx,mlx" runs it on those alone. A runtime that this machine lacks is skipped with
the reason; in CI that is a failure, unless LABKIT_EXPECTED_SKIPS names it. llama.cpp gets every case. Each of the
others gets every test, but of a test with many cases only every third, not the same third as the one before it,
unless it is named: the cases are of what all of them share, and several write only a few tokens a second here.
MLX without its GPU is the slowest by far, ten seconds a test: it gets every sixth test.
llama.cpp with its constraints left unused runs only when it is named: it shows what repair makes of the real
model, and test_repair.py has the cases.
"""
from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial

import pytest

import labkit as lk
from labkit.backends.base import Capabilities
from labkit.backends.llama_cpp import LlamaCpp


class Unenforced(LlamaCpp):
    """The real model and runtime, saying that it cannot enforce a schema: what repair makes of that."""

    name = "llama.cpp"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(continues=True, context_tokens=self.engine.context_length)


@pytest.fixture(scope="session")
def labkit_serve():
    """The address of `labkit serve` with the embedded model, for as long as the tests run."""
    from labkit.serving.background import serve_in_background
    with serve_in_background(lk.connect()) as server:
        yield server.base_url


def _served(name: str) -> Callable:
    def connect(request):
        url = request.getfixturevalue("labkit_serve")
        return lk.connect(name, base_url=f"{url}/v1" if name == "openai" else url)
    return connect


def _here(name: str, **settings) -> Callable:
    return lambda request: lk.connect(name, **settings)


BACKENDS: dict[str, Callable] = {  # name: how to connect
    "llama.cpp": _here("llama.cpp"),
    "llama.cpp unenforced": lambda request: lk.Chat(Unenforced()),
    "llama.cpp-server": _here("llama.cpp-server"),
    "onnx": _here("onnx"),
    "foundry-local": _here("foundry-local"),
    "mlx": _here("mlx"),
    "vllm": _here("vllm"),
    "openai": _served("openai"),
    "ollama": _served("ollama"),
}
named = os.environ.get("LABKIT_TEST_BACKENDS")
chosen = named.split(",") if named else BACKENDS.keys() - {"llama.cpp unenforced"}
BACKENDS = {name: connect for name, connect in BACKENDS.items() if name in chosen}
WHOLE = set(BACKENDS) if named else {"llama.cpp"}
SLOWEST = set() if named or sys.platform == "darwin" else {"mlx"}


def pytest_collection_modifyitems(config, items) -> None:
    """Leave out what there is no time for in a run of everything, see above."""
    left_out = set()
    for number, name in enumerate(name for name in BACKENDS if name not in WHOLE):
        tests: dict[str, list] = {}
        for item in items:
            if _runtime(item) == name:
                tests.setdefault(item.originalname, []).append(item)
        wanted = [case for cases in tests.values() for case in (cases[number % 3::3] if len(cases) > 2 else cases)]
        wanted = wanted[::6] if name in SLOWEST else wanted
        left_out |= {case for cases in tests.values() for case in cases} - set(wanted)
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


def _runtime(item) -> str | None:
    """The runtime that a test of the conformance suite is for."""
    return item.callspec.params.get("connect") if hasattr(item, "callspec") else None


QUESTION = "What is the capital of France?"


# Nats: what rounding may move a token's log-probability, with room to spare. vLLM computes in bfloat16 where the
# processor does, and there two numbers near 20 lie an eighth apart.
TIE, TIES = 0.05, {"vllm": 0.4}


@pytest.fixture
def same_answers(slm):
    """same_answers(model, prompts, got, wanted): equal, or parted at a token where both were as good as equally likely.

    A prompt read in other portions (from the cache, or not) or beside others in a batch is summed in another
    order, and the last digits decide a tie. A cache that mixed up its sequences would not part at ties.
    """
    def check(model, prompts, got, wanted) -> None:
        judge = model if hasattr(model.backend, "engine") else slm
        for prompt, a, b in zip(prompts, got, wanted, strict=True):
            if a != b:
                assert abs(_at_the_fork(judge, prompt, a, b)) < TIES.get(model.backend.name, TIE), (prompt, a, b)
    return check


def _at_the_fork(judge, prompt: str, a: str, b: str) -> float:
    """Difference of the log-probabilities (nats) of the first tokens in which two answers differ."""
    engine, before = judge.backend.engine, judge.backend.prompt_tokens([{"role": "user", "content": prompt}])
    one, other = engine.tokenize(a), engine.tokenize(b)
    fork = next((i for i, (x, y) in enumerate(zip(one, other, strict=False)) if x != y), None)
    assert fork is not None, (prompt, a, b)  # one is a part of the other: it was cut, not tipped
    known = before + one[:fork]
    return engine.score(known, one[fork:fork + 1]) - engine.score(known, other[fork:fork + 1])


@pytest.fixture(scope="session", params=BACKENDS)
def connect(request):
    """Makes a connection to one of the backends."""
    return partial(_connected, request, request.param)


def _connected(request, name: str):
    try:
        return BACKENDS[name](request)
    except lk.BackendUnavailable as error:
        expected = os.environ.get("LABKIT_EXPECTED_SKIPS", "").split(",")
        if os.environ.get("CI") and name not in expected:
            raise
        pytest.skip(f"{name}: {error}")


@pytest.fixture(scope="session")
def model(connect):
    """A connected model, one per backend."""
    with connect() as chat:
        yield chat


@pytest.fixture(scope="session")
def expected(model):
    """The answer to QUESTION by a model that nothing has happened to."""
    return model.chat(QUESTION, max_tokens=8).text


@pytest.fixture
def works(model, expected):
    """Fails if the model no longer answers as before."""
    def check():
        assert model.chat(QUESTION, max_tokens=8).text == expected
    return check
