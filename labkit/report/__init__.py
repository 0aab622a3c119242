"""An agent's report card: how often it does its job, how fast, at what cost, and what happens when something breaks.

    from labkit import report
    card = report.make(report.subject("desk.yaml"))     # or a desk's name, or a Python file with agent(slm)
    card                                                # its figures in a table
    report.write(card, "desk.html")                     # the page that a manager reads, and desk.json beside it

Parts load on first use.
"""
from __future__ import annotations

from labkit.lazy import lazy_names

_HOME = {
    "make": "card", "Card": "card", "write": "page", "html": "page",
    "subject": "subjects", "own": "subjects", "Subject": "subjects",
    "grade": "rubric", "read_rubric": "rubric", "read_prices": "cost", "pictures": "figures",
}
__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy_names("labkit.report", _HOME)
