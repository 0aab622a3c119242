"""The learner's side of an exercise: `check`, `hint`, `solution`, `progress`."""
from __future__ import annotations

import sys
from functools import cache

from labkit.course import checking, lessons
from labkit.course.card import CHECK_MIME, Card, Table, show
from labkit.course.checking import NOT_YET, PASSED, UNDONE, UNKNOWN, run_check
from labkit.course.record import Record, today

_TITLES = {PASSED: "✓ {id} passed.", NOT_YET: "✗ {id} not yet.", UNDONE: "… {id} not done yet.",
           UNKNOWN: "? There is no exercise {id}."}


@cache
def _record() -> Record:
    return Record()  # one a kernel, so that a trouble with the file is told once


def check(name: str, answer: object = None) -> None:
    """Check an exercise, as `check("01.2", my_function)`, and show what came of it."""
    outcome = run_check(name, answer, sys._getframe(1).f_globals)
    id, status, lines = outcome.id, outcome.status, list(outcome.lines)
    if status in (PASSED, NOT_YET):
        _record().note(id, tries=1, **({"passed": today()} if status == PASSED else {}))
    if status == NOT_YET:
        lines.append(f'Stuck? hint("{id}")')
    data = {CHECK_MIME: {"exercise": id, "status": status}}
    _show(Card(_TITLES[status].format(id=id), lines, data=data))


def hint(name: str) -> None:
    """Show the hint of an exercise."""
    found = _find(name)
    if found:
        _record().note(found.id, hints=1)
        _show(Card(f"Hint for {found.id}, {found.title}", [found.hint]))


def solution(name: str) -> None:
    """Show the solution of an exercise, read from the course's notebooks."""
    found = _find(name)
    if not found:
        return
    code = lessons.solution_code(found.id)
    if code is None:
        _show(Card(f"The solution of {found.id} is not here.", [lessons.WHERE]))
        return
    _record().note(found.id, solution=True)
    _show(Card(f"A solution of {found.id}, {found.title}", ["Yours may differ and be as good."], code=code))


def progress() -> None:
    """Show which exercises of which lessons are done."""
    entries = _record().entries()
    numbers = sorted({*lessons.exercise_lessons(), *(id.split(".")[0] for id in entries)})
    rows = [[n, *_row(n, entries)] for n in numbers if checking.exercises(n)]
    done = sum("passed" in entry for entry in entries.values())
    width = max([len(row) for row in rows], default=1)
    rows = [row + [""] * (width - len(row)) for row in rows]
    heads = ["Lesson", *(f"Exercise {i}" for i in range(1, width))]
    _show(Table(f"Your progress: {done} passed", heads, rows))


def _row(lesson: str, entries: dict[str, dict]) -> list[str]:
    return [_state(entries.get(id, {})) for id in checking.exercises(lesson)]


def _state(entry: dict) -> str:
    if "passed" in entry:
        return f"✓ passed {entry['passed']}"
    tries = entry.get("tries", 0)
    return f"tried {tries}×" if tries else "–"


def _find(name: object):
    found = checking.find(name)
    if not found:
        outcome = run_check(name, None)
        _show(Card(_TITLES[UNKNOWN].format(id=outcome.id), outcome.lines))
    return found


def _show(item: Card | Table) -> None:
    show(item)
    if warning := _record().take_warning():
        show(Card("Progress is not being saved.", [warning]))
