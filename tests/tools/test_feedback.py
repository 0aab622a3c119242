"""Corrections in a file: kept at once, grouped for training, whole after a crash."""
from __future__ import annotations

import pytest

import labkit as lk
from labkit.tools.call import ToolCall
from labkit.tools.feedback import Feedback


@lk.tool
def ping(host: str) -> str:
    """Is a machine up?"""
    return "up"


@lk.tool
def reboot(host: str) -> str:
    """Start a machine again."""
    return "done"


def test_corrections_are_kept_and_come_back_in_groups(tmp_path):
    book = Feedback(tmp_path / "deep" / "mine.jsonl")
    assert len(book) == 0 and book.examples() == []
    for n in range(11):
        book.add(f"Is host{n} up?", [ping, reboot], [ToolCall("ping", {"host": f"host{n}"})])
    book.add("Hello!", [ping], [])
    again = Feedback(book.path)
    assert len(again) == 12
    assert [(len(group.tools), len(group.asked)) for group in again.examples()] == [(2, 8), (2, 3), (1, 1)]
    assert again.examples()[0].asked[3].calls == ({"name": "ping", "arguments": {"host": "host3"}},)
    assert again.examples()[2].asked[0].calls == ()


def test_a_wrong_correction_is_refused_and_nothing_is_kept(tmp_path):
    book = Feedback(tmp_path / "mine.jsonl")
    for calls in ([{"name": "pong", "arguments": {}}], [{"name": "ping"}], ["ping"],
                  [ToolCall("ping", {"host": 3})], [ToolCall("ping", {"hots": "a"})]):
        with pytest.raises(lk.BadRequest):
            book.add("Is a up?", [ping], calls)
    with pytest.raises(lk.BadRequest):
        book.add(" ", [ping], [])
    assert len(book) == 0 and not book.path.exists()


def test_a_line_that_a_crash_cut_off_is_taken_away(tmp_path):
    book = Feedback(tmp_path / "mine.jsonl")
    book.add("Is a up?", [ping], [ToolCall("ping", {"host": "a"})])
    whole = book.path.read_bytes()
    book.path.write_bytes(whole + whole[:40])
    assert len(book) == 1
    book.add("Is b up?", [ping], [ToolCall("ping", {"host": "b"})])
    assert len(book) == 2 and book.path.read_bytes().startswith(whole)
