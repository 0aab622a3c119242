"""Exercises: checks, hints, solutions, progress. And running lessons without a browser.

    from labkit.course import check, hint, solution, progress, predict, needs, plot_style, alt
"""
from __future__ import annotations

from importlib import import_module

_HOME = {
    "check": "learner", "hint": "learner", "solution": "learner", "progress": "learner",
    "predict": "guess", "needs": "skipping",
    "plot_style": "plots", "alt": "plots", "HATCHES": "plots",
    "run_lesson": "running", "list_lessons": "lessons",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'labkit.course' has no attribute {name!r}")
    value = getattr(import_module(f"labkit.course.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
