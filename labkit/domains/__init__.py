"""Seven desks: agents with tools over a real database, requests to judge them by, and the judge.

    with domains.open_desk("support") as desk:
        run = desk.agent(lk.connect()).run("Where is order ORD-48213?")

A desk's tools read and write a SQLite database of its own, seeded from data/desks, in transactions. What they refuse
is a ToolError that says what to do; nothing is changed then.
"""
from __future__ import annotations

from labkit.lazy import lazy_names

NAMES = ("support", "technical", "office", "assistant", "finance", "kiosk", "clinic")
_HOME = {"Desk": "desk", "open_desk": "opening", "Database": "database", "Change": "database", "Changes": "database",
         "Scenario": "scenario", "scenarios": "scenario", "Verdict": "judging", "judge": "judging"}
__all__ = sorted([*_HOME, "NAMES"])
__getattr__, __dir__ = lazy_names("labkit.domains", _HOME)
