"""Lesson 18, Agents at work: act once, ask a person, judge by what has changed."""
from __future__ import annotations

import sqlite3

from labkit.course.checking import exercise, expect


@exercise("18.1", title="Twice asked, once done",
          hint="The table has a key over seat and day. INSERT … ON CONFLICT DO NOTHING adds a row only where none has "
               "that key; a SELECT afterwards says whose it is. Values go in as ? parameters.")
def check_reserve(answer):
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE seats (seat TEXT, day TEXT, person TEXT NOT NULL, PRIMARY KEY (seat, day))")
    expect(answer(db, "12A", "2026-03-09", "Ada"), "Ada", "a free seat")
    expect(answer(db, "12A", "2026-03-09", "Ada"), "Ada", "the same request again")
    expect(answer(db, "12A", "2026-03-09", "Bela"), "Ada", "a seat that somebody has: who has it")
    expect(answer(db, "12A", "2026-03-10", "Bela"), "Bela", "the same seat on another day")
    text = "x'); DROP TABLE seats; --"
    expect(answer(db, text, "2026-03-09", "Ada"), "Ada", "SQL in an argument is a text like any other")
    expect(db.execute("SELECT count(*) FROM seats").fetchone()[0], 3, "rows in the table at the end")


@exercise("18.2", title="A person's yes",
          hint="Compare approve(name, arguments) with True itself, and only for names in irreversible. Return what "
               "act(name, arguments) returns, or a text with the tool's name where the answer was no.")
def check_with_approval(answer):
    done, asked = [], []

    def act(name, arguments):
        done.append(name)
        return f"{name} is done"

    def say(said):
        return lambda name, arguments: asked.append((name, arguments)) or said
    keep = {"refund"}
    expect(answer("status", {}, keep, say(False), act), "status is done", "a tool that needs nobody's yes")
    expect(asked, [], "nobody is asked for it")
    expect(answer("refund", {"order": "A"}, keep, say(True), act), "refund is done", "the answer was yes")
    expect(asked, [("refund", {"order": "A"})], "what the person was asked")
    for said in (False, None, "yes", 1):
        told = answer("refund", {"order": "B"}, keep, say(said), act)
        expect(isinstance(told, str) and "refund" in told and told != "refund is done", True,
               f"the answer was {said!r}: only True is a yes, and the text names the tool")
    expect(done, ["status", "refund"], "what ran in all")


@exercise("18.3", title="Judged by what has changed",
          hint="Make a dict from key to row of both. A key only in after was added, one only in before was removed, "
               "one in both with different rows was changed. Sort each list.")
def check_changes(answer):
    before = [{"id": 1, "status": "open"}, {"id": 2, "status": "open"}, {"id": 3, "status": "done"}]
    after = [{"id": 4, "status": "open"}, {"id": 2, "status": "done"}, {"id": 1, "status": "open"}]
    expect(answer(before, after, "id"), {"added": [4], "changed": [2], "removed": [3]}, "one of each")
    expect(answer(before, list(reversed(before)), "id"), {"added": [], "changed": [], "removed": []},
           "the same rows in another order")
    expect(answer([], [{"name": "b"}, {"name": "a"}], "name"), {"added": ["a", "b"], "changed": [], "removed": []},
           "a table that was empty")
