"""Checks judge an answer and never throw at the learner."""
from __future__ import annotations

import math

import numpy as np
import pytest

import labkit as lk
from labkit.course.checking import NOT_YET, PASSED, UNDONE, UNKNOWN, CheckFailed, exercise, expect, run_check
from labkit.course.stub import is_stub
from labkit.errors import BadRequest


@pytest.mark.parametrize("got, wanted", [
    (0.1 + 0.2, 0.3), (4, 4.0), ((1, 2), [1, 2]), (np.array([1.0, 2.0]), [1, 2]), (np.float32(0.5), 0.5),
    ({"a": 0.1 + 0.2}, {"a": 0.3}), (math.nan, math.nan), ({1, 2}, {2, 1}), (None, None), (True, True),
    ("a", "a"),
])
def test_expect_accepts(got, wanted):
    expect(got, wanted, "this")


@pytest.mark.parametrize("got, wanted", [
    (0.3001, 0.3), (1, True), (True, 1), ("4", 4), ([1], [1, 2]), ({"a": 1}, {"b": 1}), (None, "heat"),
    (np.array([1.0, 2.0]), 1.0), (math.nan, 1.0), ([1, 2], {1, 2}),
])
def test_expect_refuses(got, wanted):
    with pytest.raises(CheckFailed) as failure:
        expect(got, wanted, "the case")
    assert "the case" in str(failure.value) and repr(wanted) in str(failure.value)


def test_a_long_answer_is_cut():
    with pytest.raises(CheckFailed) as failure:
        expect("x" * 10_000, "y", "a long one")
    assert len(str(failure.value)) < 400


def test_right_wrong_and_unknown(example_exercises):
    assert run_check("90.1", lambda x: 2 * x).status == PASSED
    wrong = run_check("90.1", lambda x: x + 2)
    assert wrong.status == NOT_YET and "x = 0.1" in wrong.lines[0] and "0.2" in wrong.lines[0]
    unknown = run_check("90.9", 1)
    assert unknown.status == UNKNOWN and "90.1, 90.2" in unknown.lines[0]


def test_ids_as_learners_write_them(example_exercises, monkeypatch):
    monkeypatch.setitem(example_exercises._EXERCISES, "01.2", example_exercises._EXERCISES["90.2"])
    assert example_exercises.exercise_id(1.2) == example_exercises.exercise_id(" 1.2") == "01.2"
    assert run_check("nonsense", 1).status == UNKNOWN


def test_the_learners_own_bug_is_shown_with_its_line(example_exercises, tmp_path):
    file = tmp_path / "cell.py"
    file.write_text("def double(x):\n    y = x\n    return y / 0\n", encoding="utf-8")
    space: dict = {}
    exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), space)
    outcome = run_check("90.1", space["double"], space)
    assert outcome.status == NOT_YET
    assert outcome.lines == ["Your code stopped with ZeroDivisionError: division by zero",
                             "It was in line 3 of the cell: return y / 0"]


def test_the_line_is_found_through_a_tool_that_wraps_the_error(example_exercises, tmp_path):
    file = tmp_path / "cell.py"
    file.write_text("import labkit as lk\n@lk.tool\ndef double(x: float) -> float:\n    return x / 0\n",
                    encoding="utf-8")
    space: dict = {"__name__": "cell"}
    exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), space)
    outcome = run_check("90.1", lambda x: space["double"].run({"x": x}), space)
    assert outcome.lines[0].startswith("Your code stopped with labkit.errors.ToolError")
    assert outcome.lines[1] == "It was in line 4 of the cell: return x / 0"


def _exits(x):
    raise SystemExit


def _recurses(x):
    return _recurses(x)


@pytest.mark.parametrize("answer", [lambda: 1, 5, "text", _exits, _recurses])
def test_no_answer_makes_check_raise(example_exercises, answer):
    assert run_check("90.1", answer).status == NOT_YET


def test_an_answer_that_cannot_be_compared_or_shown(example_exercises):
    class Awkward:
        def __eq__(self, other):
            raise ValueError("no")

        def __repr__(self):
            raise ValueError("no")

    assert run_check("90.2", Awkward()).status == NOT_YET


def test_an_interrupt_is_not_swallowed(example_exercises):
    def stops(x):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        run_check("90.1", stops)


def _stub(x):
    """Docstring."""
    ...


def _passes(x):
    pass


async def _waits(x):
    ...


class _Half:
    def __init__(self):
        self.x = 1

    def act(self): ...


STUBS = [None, ..., _stub, _passes, _waits, _Half, (1, ...), {"a": ...}, lambda x: ...]
NO_STUBS = [0, "", [], {}, lambda x: x, lambda x: 0, print, len, float, _exits, object()]


@pytest.mark.parametrize("answer", STUBS)
def test_stubs_are_seen(example_exercises, answer):
    assert is_stub(answer) and run_check("90.1", answer).status == UNDONE


def test_a_decorated_stub_is_still_a_stub():
    import functools

    @functools.cache
    def cached(x): ...

    @lk.tool
    def nothing(x: float) -> float: ...

    assert is_stub(cached) and is_stub(nothing)


@pytest.mark.parametrize("answer", NO_STUBS)
def test_answers_are_no_stubs(answer):
    assert not is_stub(answer)


def test_an_exercise_is_defined_once_and_named_well(example_exercises):
    with pytest.raises(BadRequest, match="named like 01.2"):
        exercise("1.2", title="", hint="")
    with pytest.raises(BadRequest, match="defined twice"):
        exercise("90.1", title="", hint="")(test_stubs_are_seen)
