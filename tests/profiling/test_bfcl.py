"""The leaderboard's cases through the public API: loading, checking, and what is not a right call."""
from __future__ import annotations

import pytest

from labkit.errors import BackendUnavailable
from labkit.profiling import bfcl


@pytest.fixture(scope="module")
def cases():
    try:
        return bfcl.load("simple_python")
    except BackendUnavailable as missing:
        pytest.skip(str(missing))


def given(answer: dict) -> list[dict]:
    """The accepted answer itself as a call: of each argument the first accepted value."""
    (name, arguments), = answer.items()
    return [{name: {key: values[0] for key, values in arguments.items() if "" not in values}}]


def right_call(case: dict, calls: list[dict]) -> bool:
    verdict = bfcl._checker()(case["function"], calls, case["answer"], bfcl._python(), "simple_python", "labkit")
    return verdict["valid"]


def test_the_official_checker_takes_the_accepted_answers(cases):
    flat = [case for case in cases if not any(
        isinstance(v[0], dict) for a in case["answer"] for v in next(iter(a.values())).values())]
    right = [right_call(case, given(case["answer"][0])) for case in flat]
    assert len(flat) > 300 and sum(right) / len(right) > 0.97  # a few of its own answers break its own types


def test_a_wrong_value_is_not_right(cases):
    case = cases[0]
    calls = given(case["answer"][0])
    name, arguments = next(iter(calls[0].items()))
    arguments[next(iter(arguments))] = -12345
    assert not right_call(case, calls)


def test_every_function_is_a_tool(cases):
    from labkit.tools.tool import as_tools
    for category in {category for category, _ in bfcl.RUNS}:
        for case in bfcl.load(category):
            assert as_tools([bfcl.openai_tool(function) for function in case["function"]])


def test_thinning_is_even_and_bounded(cases):
    some = bfcl.load("simple_python", 100)
    assert len(some) == 100 and len({case["id"] for case in some}) == 100
    assert some[-1]["id"] == cases[4 * 99]["id"]


def test_two_cases_a_category_on_the_real_model(cases, slm):
    report = bfcl.run({"plain": slm}, cases=2)
    assert [(r.variant, r.category, r.mode) for r in report.results] == [("plain", *run) for run in bfcl.RUNS]
    assert all(0 <= r.share <= 1 and r.median_s > 0 and r.interval[0] <= r.share <= r.interval[1] + 1e-9
               for r in report.results)
    assert "irrelevance" in str(report) and report.to_dict()["model"]


def test_without_the_wheel_it_says_what_to_install(monkeypatch):
    from importlib.metadata import PackageNotFoundError

    def missing(_):
        raise PackageNotFoundError
    monkeypatch.setattr(bfcl, "distribution", missing)
    with pytest.raises(BackendUnavailable, match="pip install --no-deps bfcl-eval"):
        bfcl.load("multiple")
