"""Headless runs: what they report, and that they leave the notebook alone."""
from __future__ import annotations

import pytest

from labkit.course.build import build
from labkit.course.lessons import find_lesson, list_lessons, notebooks_dir
from labkit.course.running import run_lesson
from labkit.errors import BadRequest


def test_learner_and_solved(lesson):
    build(lesson)
    before, seen = lesson.path.read_bytes(), []
    run = run_lesson("90", on_cell=seen.append)
    assert run.ok and run.checks == {"90.1": "not done", "90.2": "not done"}
    assert [c.number for c in seen] == [1, 2, 3, 4, 5] and {c.of for c in seen} == {5} and seen == run.cells
    assert seen[1].line == "def double(x):" and run.seconds >= sum(c.seconds for c in seen)
    assert lesson.path.read_bytes() == before
    solved = run_lesson("90", solved=True)
    assert solved.ok and solved.checks == {"90.1": "passed", "90.2": "passed"}
    assert run_lesson(str(lesson.path), solved=True).checks == solved.checks


def test_a_run_is_not_the_learners_work(lesson, own_progress):
    build(lesson)
    assert run_lesson("90", solved=True).checks["90.1"] == "passed"
    assert not own_progress.exists()


def test_an_error_is_reported_with_its_cell_and_stops_the_run(write_lesson):
    build(write_lesson("# %% [markdown]\n# text\n\n# %%\nx = 1\n\n# %%\n# divide\nx / 0\n\n# %%\nx = 2\n"))
    run = run_lesson("90")
    assert not run.ok and len(run.cells) == 1
    assert (run.error.cell, run.error.line) == (2, "# divide")
    assert run.error.message == "ZeroDivisionError: division by zero"
    assert "cell 2 failed" in str(run)


def test_time_runs_out_for_the_whole_lesson(write_lesson):
    build(write_lesson("# %%\nimport time\ntime.sleep(1)\n\n# %%\ntime.sleep(60)\n"))
    run = run_lesson("90", timeout_s=4)
    assert run.error.cell == 2 and "longer than 4 s" in run.error.message and run.seconds < 30


def test_a_kernel_that_dies(write_lesson):
    build(write_lesson("# %%\nimport os\nos._exit(1)\n"))
    assert "kernel died" in run_lesson("90").error.message


def test_no_lesson_and_no_notebook(lesson, tmp_path):
    with pytest.raises(BadRequest, match="There are 90"):
        run_lesson("7")
    with pytest.raises(BadRequest, match="Build it with"):
        run_lesson("90")
    broken = tmp_path / "broken.ipynb"
    broken.write_text("{", encoding="utf-8")
    with pytest.raises(BadRequest, match="is not a notebook"):
        run_lesson(str(broken))


def test_where_lessons_are_found(lesson, monkeypatch):
    folder = lesson.folder
    monkeypatch.delenv("LABKIT_NOTEBOOKS")
    for here in (folder, folder.parent, folder / "source"):
        monkeypatch.chdir(here)
        assert notebooks_dir() == folder
    assert [found.name for found in list_lessons()] == ["90_example"]
    assert find_lesson(90) == find_lesson("90_example")


def test_a_folder_of_other_notebooks_is_not_taken_for_ours(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "01_mine.ipynb").write_text("{}", encoding="utf-8")
    monkeypatch.delenv("LABKIT_NOTEBOOKS", raising=False)
    monkeypatch.chdir(tmp_path)
    assert notebooks_dir() != tmp_path / "notebooks"


def test_a_title_is_the_first_heading(lesson):
    assert lesson.title == "90_example"
    build(lesson)
    assert lesson.title == "An example"
