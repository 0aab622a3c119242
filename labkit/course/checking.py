"""How an exercise is written and checked. Knows nothing of notebooks, progress or display.

In `labkit/course/exercises/lesson_NN.py`:

    from labkit.course.checking import exercise, expect

    @exercise("01.1", title="A thermostat", hint="Compare the reading with the target first.")
    def check_thermostat(answer):               # answer: what the learner passed to check()
        expect(answer(17), "heat", "17 °C, target 20")
        expect(answer(23), "off", "23 °C, target 20")

The first `expect` that fails ends the check and is what the learner sees. A check is deterministic: no
clock, no unseeded chance, no answer of the model. To say something no `expect` can, raise `CheckFailed`.
"""
from __future__ import annotations

import linecache
import math
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from labkit.course.stub import is_stub
from labkit.errors import BadRequest

PASSED, NOT_YET, UNDONE, UNKNOWN = "passed", "not yet", "not done", "unknown"


class CheckFailed(Exception):
    """A check's case did not come out as wanted; the message says which and what was wanted."""


@dataclass(frozen=True)
class Exercise:
    id: str
    title: str
    hint: str
    check: Callable[[Any], None]

    @property
    def lesson(self) -> str:
        return self.id.split(".")[0]


@dataclass(frozen=True)
class Outcome:
    """What a check found. `status` is one of passed, not yet, not done, unknown."""

    id: str
    status: str
    lines: list[str] = field(default_factory=list)


_EXERCISES: dict[str, Exercise] = {}


def exercise(id: str, *, title: str, hint: str):
    """Register the decorated check under `id` (lesson.number, as "01.2")."""
    if not re.fullmatch(r"\d\d\.\d", id):
        raise BadRequest(f"An exercise is named like 01.2, not {id!r}.")

    def register(check: Callable[[Any], None]):
        old = _EXERCISES.get(id)
        if old and old.check.__module__ != check.__module__:  # the same module again is only a reload
            raise BadRequest(f"Exercise {id} is defined twice: {old.check.__module__}, {check.__module__}.")
        _EXERCISES[id] = Exercise(id, title, hint, check)
        return check
    return register


def exercises(lesson: str) -> dict[str, Exercise]:
    """The exercises of lesson "NN", by id; empty when it has none."""
    module = f"labkit.course.exercises.lesson_{lesson}"
    if find_spec(module):
        import_module(module)
    return {id: _EXERCISES[id] for id in sorted(_EXERCISES) if _EXERCISES[id].lesson == lesson}


def exercise_id(name: object) -> str:
    """What the learner wrote ("1.2", 1.2, "01.2 ") in the form we use: "01.2"."""
    lesson, dot, number = str(name).strip().partition(".")
    return f"{lesson.zfill(2)}.{number}" if dot else str(name).strip()


def find(name: object) -> Exercise | None:
    id = exercise_id(name)
    return exercises(id.split(".")[0]).get(id)


def expect(got: object, wanted: object, tried: str, *, tol: float = 1e-6) -> None:
    """Fail the check unless `got` is `wanted`. `tried` says in words which case this was.

    Numbers may differ by `tol` (relative, and absolute near zero); lists and tuples count as the same;
    NumPy arrays are compared element by element. True is not 1.
    """
    if _same(got, wanted, tol):
        return
    message = f"Tried: {tried}. Expected {_brief(wanted)}, got {_brief(got)}."
    if got is None and wanted is not None:
        message += " None is what a function gives that ends without a return."
    raise CheckFailed(message)


def _same(got, wanted, tol: float) -> bool:
    got, wanted = _plain(got), _plain(wanted)
    if isinstance(wanted, bool) or isinstance(got, bool):
        return got is wanted
    if isinstance(wanted, (int, float)) and isinstance(got, (int, float)):
        both_nan = math.isnan(got) and math.isnan(wanted)
        return both_nan or math.isclose(got, wanted, rel_tol=tol, abs_tol=tol)
    if isinstance(wanted, (list, tuple)) and isinstance(got, (list, tuple)):
        return len(got) == len(wanted) and all(_same(g, w, tol) for g, w in zip(got, wanted, strict=True))
    if isinstance(wanted, Mapping) and isinstance(got, Mapping):
        return got.keys() == wanted.keys() and all(_same(got[k], wanted[k], tol) for k in wanted)
    return _equal(got, wanted)


def _equal(got, wanted) -> bool:
    try:
        return bool(got == wanted)
    except Exception:  # an answer whose == does not give a truth value is not what was wanted
        return False


def _plain(value):
    return value.tolist() if type(value).__module__ == "numpy" and hasattr(value, "tolist") else value


def _brief(value, limit: int = 160) -> str:
    try:
        text = repr(value)
    except Exception as error:
        text = f"a {type(value).__name__} whose repr fails ({type(error).__name__})"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def run_check(name: object, answer: object, learner_globals: dict | None = None) -> Outcome:
    """Run a check on the learner's answer. Never raises for a fault in the answer or the id.

    `learner_globals` is the namespace of the learner's own code, by which their lines are told from ours.
    """
    id = exercise_id(name)
    found = find(id)
    if found is None:
        return Outcome(id, UNKNOWN, [_no_such(id)])
    if is_stub(answer):
        return Outcome(id, UNDONE, ["Replace the ... with your code, run that cell, then this one again."])
    try:
        found.check(answer)
    except CheckFailed as failure:
        return Outcome(id, NOT_YET, [str(failure)])
    except (Exception, SystemExit) as error:  # the learner's own bug is shown, never thrown at them
        return Outcome(id, NOT_YET, list(_own_lines(error, learner_globals)))
    return Outcome(id, PASSED)


def _no_such(id: str) -> str:
    there = ", ".join(exercises(id.split(".")[0]))
    return f"This lesson has {there}." if there else 'Exercises are named like "01.2".'


def _own_lines(error: BaseException, learner_globals: dict | None) -> Iterator[str]:
    """The error's last line, and the learner's own line it came from (a tool may have wrapped the error)."""
    yield f"Your code stopped with {traceback.format_exception_only(error)[-1].strip()}"
    own, chain = [], error
    while chain and not own and learner_globals is not None:
        steps = traceback.walk_tb(chain.__traceback__)
        own = [(f.f_code.co_filename, line) for f, line in steps if f.f_globals is learner_globals]
        chain = chain.__cause__
    if own:
        file, line = own[-1]
        yield f"It was in line {line} of the cell: {linecache.getline(file, line).strip()}"
