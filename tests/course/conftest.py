"""A small lesson of our own, so that the mechanism is tested without the course's lessons."""
from __future__ import annotations

from pathlib import Path

import pytest

SOURCE = '''\
# %% [markdown]
# # An example
# One question.

# %%
import example_checks
from labkit.course import check, hint, needs, predict, solution
print("ready")

# %%
def double(x):
    """Twice x."""
    # solution
    return 2 * x
    # end
    #~ ...  # twice x

# %%
check("90.1", double)

# %% [markdown]
# A value instead of a function.

# %% tags=["exercise"]
given = [3, 1, 2]
# solution
ordered = sorted(given)
# end
#~ ordered = ...

# %%
check("90.2", ordered)
'''

CHECKS = '''\
from labkit.course.checking import exercise, expect

@exercise("90.1", title="Double", hint="Multiply by two.")
def check_double(answer):
    expect(answer(2), 4, "x = 2")
    expect(answer(0.1), 0.2, "x = 0.1")

@exercise("90.2", title="Order", hint="There is a built-in for it.")
def check_order(answer):
    expect(answer, [1, 2, 3], "the list 3, 1, 2 in order")
'''


@pytest.fixture
def write_lesson(tmp_path, monkeypatch):
    """Write a lesson's source into a notebooks folder of its own; give its Lesson."""
    def write(source: str = SOURCE, name: str = "90_example"):
        from labkit.course.lessons import find_lesson
        folder = tmp_path / "notebooks"
        (folder / "source").mkdir(parents=True, exist_ok=True)
        (folder / "source" / f"{name}.py").write_text(source, encoding="utf-8")
        (tmp_path / "example_checks.py").write_text(CHECKS, encoding="utf-8")
        monkeypatch.setenv("LABKIT_NOTEBOOKS", str(folder))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # for the kernels
        return find_lesson(name)
    return write


@pytest.fixture
def lesson(write_lesson):
    return write_lesson()


@pytest.fixture
def example_exercises(monkeypatch):
    """The example's exercises in this process, gone afterwards."""
    from labkit.course import checking
    from labkit.course.lessons import exercise_lessons
    for number in exercise_lessons():  # a module registers once, when imported: not into what is thrown away here
        checking.exercises(number)
    monkeypatch.setattr(checking, "_EXERCISES", {})
    exec(compile(CHECKS, "example_checks.py", "exec"), {"__name__": "example_checks"})
    return checking


@pytest.fixture(autouse=True)
def own_progress(tmp_path: Path, monkeypatch):
    """Each test has a progress file of its own, and none touches the one of who runs the tests."""
    from labkit.course import learner
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LABKIT_PROGRESS", raising=False)
    learner._record.cache_clear()
    yield tmp_path / "home" / "progress.json"
    learner._record.cache_clear()
