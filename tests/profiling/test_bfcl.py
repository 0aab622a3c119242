"""The leaderboard's cases: loading, and the official checker's verdicts."""
from __future__ import annotations

import pytest

from labkit.errors import BackendUnavailable
from labkit.profiling import bfcl
from labkit.tools.tool import as_tools


@pytest.fixture(scope="module")
def items():
    try:
        return bfcl.items("simple_python")
    except BackendUnavailable as missing:
        pytest.skip(str(missing))


def given(answer: dict) -> list[dict]:
    """The accepted answer itself as a call: of each argument the first accepted value."""
    (name, arguments), = answer.items()
    return [{"name": name, "arguments": {key: values[0] for key, values in arguments.items() if "" not in values}}]


def test_the_official_checker_takes_the_accepted_answers(items):
    flat = [(item, case) for item, case in zip(items, bfcl.load("simple_python"), strict=True) if not any(
        isinstance(v[0], dict) for a in item["answer"] for v in next(iter(a.values())).values())]
    right = [case.right(given(item["answer"][0])) for item, case in flat]
    assert len(flat) > 300 and sum(right) / len(right) > 0.97  # a few of its own answers break its own types


def test_a_wrong_value_is_not_right(items):
    calls = given(items[0]["answer"][0])
    calls[0]["arguments"][next(iter(calls[0]["arguments"]))] = -12345
    case = bfcl.load("simple_python", 1)[0]
    assert not case.right(calls) and not case.right([])


def test_irrelevance_is_right_without_a_call(items):
    case = bfcl.load("irrelevance", 1)[0]
    assert case.right([]) and not case.right([{"name": case.tools[0]["function"]["name"], "arguments": {}}])


def test_every_function_is_a_tool(items):
    for category in bfcl.CATEGORIES:
        assert all(as_tools(case.tools) for case in bfcl.load(category))


def test_thinning_is_even_and_bounded(items):
    some = bfcl.load("simple_python", 100)
    assert len(some) == 100 and some[-1].messages[0]["content"] == items[4 * 99]["question"][0][0]["content"]


def test_without_the_wheel_it_says_what_to_install(monkeypatch):
    from importlib.metadata import PackageNotFoundError

    def missing(_):
        raise PackageNotFoundError
    monkeypatch.setattr(bfcl, "distribution", missing)
    with pytest.raises(BackendUnavailable, match="pip install --no-deps bfcl-eval"):
        bfcl.load("multiple")
