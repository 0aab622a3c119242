"""A missing need: one line, a skip that every runner sees, no traceback, and no later cell runs."""
from __future__ import annotations

import os
import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from labkit.course.build import build
from labkit.course.running import run_lesson
from labkit.course.skipping import needs

SKIPS = '''\
# %%
from labkit.course import needs
print("before")

# %%
needs("no_such_module_here", how="pip install it")
raise RuntimeError("this cell goes no further")

# %%
raise RuntimeError("and this one never starts")

# %%
# %%bash
exit 1
'''


@pytest.fixture
def skipping(write_lesson):
    lesson = write_lesson(SKIPS)
    build(lesson)
    return lesson


def test_headless(skipping):
    run = run_lesson("90")
    assert run.ok and len(run.cells) == 4
    assert [c.resting for c in run.cells] == [False, False, True, True]
    (skip,) = run.skips
    assert skip.cell == 2 and skip.needs == ["no_such_module_here"] and skip.stop
    assert "cell 2 skipped: no_such_module_here (not installed)" in str(run)


def test_plain_nbclient_sees_one_line_and_no_error(skipping):
    notebook = nbformat.read(skipping.path, as_version=4)
    NotebookClient(notebook).execute()
    outputs = [output for cell in notebook.cells for output in cell.outputs]
    assert [o.output_type for o in outputs] == ["stream", "display_data"]
    text = outputs[1].data["text/plain"]
    assert text == ("Skipped the rest of this notebook. Not on this machine: "
                    "no_such_module_here (not installed). pip install it")


def test_it_goes_on_once_the_need_is_met(write_lesson):
    build(write_lesson('''\
# %%
from labkit.course import needs
there = []

# %%
needs(service=lambda: bool(there))

# %%
there.append(1)
print("put to rest")

# %%
there = [1]; needs(service=lambda: bool(there))

# %%
print("awake")
'''))
    notebook = nbformat.read(os.environ["LABKIT_NOTEBOOKS"] + "/90_example.ipynb", as_version=4)
    NotebookClient(notebook).execute()
    assert [len(cell.outputs) for cell in notebook.cells] == [0, 1, 0, 0, 1]
    assert notebook.cells[4].outputs[0].text == "awake\n"


def test_part_of_a_lesson_can_be_left_out(write_lesson):
    build(write_lesson('# %%\nfrom labkit.course import needs\n'
                       'if needs("nowhere_x", stop=False):\n    1 / 0\n\n# %%\nassert 1 / 0 == 0\n'))
    run = run_lesson("90")
    assert not run.skips[0].stop and run.error.cell == 2


def _raises():
    raise ConnectionError("nothing listens at port 1\nsecond line")


@pytest.mark.parametrize("probe, why", [
    (lambda: False, "not available"), (lambda: None, "not available"), (lambda: "too old", "too old"),
    (_raises, "second line"),
])
def test_probes_say_why(probe, why, capsys):
    assert needs(server=probe, stop=False) is False
    assert f"server ({why})" in capsys.readouterr().out


def test_what_is_there_says_nothing(capsys):
    assert needs("json", "os.path", server=lambda: True, stop=False) is True
    assert needs("json") is None  # nothing for a notebook to print
    assert needs("json.nothing", "nowhere_x.y", stop=False) is False
    assert capsys.readouterr().out.count("\n") == 1


def test_a_plain_script_ends_with_the_status_for_skipped(tmp_path):
    script = tmp_path / "lesson.py"
    code = 'from labkit.course import needs\nneeds("nowhere_x")\nprint("after")\n'
    script.write_text(code, encoding="utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 77 and "after" not in done.stdout and not done.stderr
    assert done.stdout.count("\n") == 1 and "nowhere_x (not installed)" in done.stdout


def _nbval(folder, **env):
    """A run of pytest with nbval as CI does it."""
    ours = ("CI", "LABKIT_EXPECTED_SKIPS", "PYTEST_ADDOPTS")
    clean = {k: v for k, v in os.environ.items() if k not in ours and not k.startswith("PYTEST_XDIST")}
    command = [sys.executable, "-m", "pytest", "-p", "labkit.course.nbval_plugin", "--nbval-lax",
               "--nbval-current-env", "--nbval-cell-timeout=60", "-p", "no:cacheprovider", "--color=no",
               "--rootdir", str(folder), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, env=clean | env, cwd=folder)
    return done.returncode, done.stdout


@pytest.mark.parametrize("env, code", [
    ({}, 0), ({"CI": "1"}, 1), ({"LABKIT_EXPECTED_SKIPS": ""}, 1),
    ({"LABKIT_EXPECTED_SKIPS": "x,no_such_module_here"}, 0),
])
def test_nbval_prints_every_skip_and_fails_on_an_unexpected_one(skipping, env, code):
    skipping.solved.unlink()
    got, out = _nbval(skipping.folder, **env)
    assert got == code, out
    assert "skipped by needs()" in out and "no_such_module_here (not installed)" in out
    assert ("1 failed, 1 passed, 2 skipped" if code else "2 passed, 2 skipped") in out


def test_nbval_holds_checks_to_their_form(lesson):
    build(lesson)
    got, out = _nbval(lesson.folder)
    assert got == 0 and "10 passed" in out, out
    learner, solved = lesson.path.read_bytes(), lesson.solved.read_bytes()
    lesson.path.write_bytes(solved)
    lesson.solved.write_bytes(learner)
    got, out = _nbval(lesson.folder)
    assert got == 1 and "4 failed" in out, out
    assert "check 90.1 says 'not done' in the solved form" in out
    assert "check 90.2 says 'passed' in the learner's form" in out


@pytest.fixture
def counting(lesson):
    """The small lesson; whoever imports its checks leaves a mark. counting() tells how often that was."""
    checks = lesson.folder.parent / "example_checks.py"
    marks = lesson.folder.parent / "marks"
    with open(checks, "a", encoding="utf-8") as file:
        file.write(f"\nopen({str(marks)!r}, 'a').write('x')\n")
    build(lesson)
    return lambda: len(marks.read_text(encoding="utf-8"))


def test_the_solved_form_goes_on_in_the_lessons_kernel_and_alone_runs_whole(counting, lesson):
    got, out = _nbval(lesson.folder)
    assert got == 0 and "10 passed" in out and counting() == 1, out
    lesson.path.unlink()
    got, out = _nbval(lesson.folder)
    assert got == 0 and "5 passed" in out and counting() == 2, out


def test_where_the_lessons_kernel_died_the_solved_form_runs_whole(counting, lesson):
    notebook = nbformat.read(lesson.path, as_version=4)
    notebook.cells[-1].source = "import os; os._exit(1)"
    nbformat.write(notebook, lesson.path)
    got, out = _nbval(lesson.folder)
    assert got == 1 and "1 failed, 9 passed" in out and counting() == 2, out
