"""What holds for every lesson as it is stored. nbval runs them: `pytest --nbval-lax tests notebooks`."""
from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from labkit.course import checking
from labkit.course.build import differences
from labkit.course.card import CHECK_MIME
from labkit.course.lessons import Lesson, exercise_lessons
from labkit.course.source import read_source
from labkit.course.stored import machine_paths

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
LESSONS = [Lesson(f.stem[:2], f.stem, FOLDER) for f in sorted((FOLDER / "source").glob("[0-9][0-9]_*.py"))]

every_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)


def code_cells(path: Path) -> list:
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code" and c.source.strip()]


def test_there_are_lessons_and_no_strays():
    assert LESSONS
    names = {lesson.name for lesson in LESSONS}
    assert {f.stem for f in FOLDER.glob("*.ipynb")} == names
    assert {f.stem for f in (FOLDER / "solved").glob("*.ipynb")} == names
    assert {lesson.number for lesson in LESSONS} == set(exercise_lessons())


@every_lesson
def test_notebooks_are_what_the_source_gives(lesson):
    assert differences(lesson) == []


@every_lesson
def test_stored_outputs_are_of_a_whole_clean_run(lesson):
    cells = code_cells(lesson.path)
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1))
    assert not any(o.output_type == "error" for c in cells for o in c.outputs)
    assert any(c.outputs for c in cells)
    assert not any(c.outputs for c in code_cells(lesson.solved))


@every_lesson
def test_no_output_names_a_path_of_a_machine(lesson):
    notebook = nbformat.read(lesson.path, as_version=4)
    assert machine_paths(notebook, ("/home", "/Users", "/root", "/tmp", "C:\\Users")) == []


@every_lesson
def test_cells_are_short(lesson):
    lengths = [c.source.count("\n") + 1 for path in (lesson.path, lesson.solved) for c in code_cells(path)]
    assert max(lengths) <= 30
    assert sum(n > 25 for n in lengths) <= 2, "25 lines is the rule"


@every_lesson
def test_three_exercises_each_with_check_hint_and_solution(lesson):
    cells = {c.exercise: c for c in read_source(lesson.source).cells if c.exercise}
    registered = checking.exercises(lesson.number)
    assert list(registered) == sorted(cells) == [f"{lesson.number}.{n}" for n in (1, 2, 3)]
    for id, exercise in registered.items():
        assert exercise.title.strip() and len(exercise.hint) > 10, id
        assert "..." in cells[id].learner and cells[id].solved.strip(), id


@every_lesson
def test_no_stored_check_has_passed(lesson):
    """That a solution passes where the stub does not is seen when nbval runs both forms (nbval_plugin)."""
    outputs = [output.get("data", {}) for cell in code_cells(lesson.path) for output in cell.outputs]
    found = [data[CHECK_MIME] for data in outputs if CHECK_MIME in data]
    assert sorted(f["exercise"] for f in found) == [f"{lesson.number}.{n}" for n in (1, 2, 3)]
    assert {f["status"] for f in found} <= {checking.UNDONE, checking.NOT_YET}


def test_a_figure_in_a_lesson_has_words():
    for lesson in LESSONS:
        images = [o for c in code_cells(lesson.path) for o in c.outputs if "image/png" in o.get("data", {})]
        assert all(len(o.metadata.get("image/png", {}).get("alt", "")) > 20 for o in images), lesson.name
