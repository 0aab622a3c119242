"""Exercises: checks, hints, solutions, progress. And running lessons without a browser.

    from labkit.course import check, hint, solution, progress, predict, needs, plot_style, alt
"""
from __future__ import annotations

from labkit.lazy import lazy_names

_HOME = {
    "check": "learner", "hint": "learner", "solution": "learner", "progress": "learner",
    "predict": "guess", "needs": "skipping",
    "plot_style": "plots", "alt": "plots", "HATCHES": "plots",
    "run_lesson": "running", "list_lessons": "lessons",
}
__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy_names("labkit.course", _HOME)
