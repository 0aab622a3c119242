"""Results that are kept: what comes back, what does not, and a long measurement that was interrupted."""
from __future__ import annotations

from dataclasses import dataclass

import pytest

from labkit.profiling import kept, tool_calls


@dataclass(frozen=True)
class Found:
    share: float
    outcomes: tuple[bool | None, ...]


@pytest.fixture(autouse=True)
def empty(monkeypatch, tmp_path):
    monkeypatch.setattr(kept, "home", lambda: tmp_path)
    return tmp_path


def test_what_was_kept_comes_back_for_the_same_facts_only(monkeypatch):
    keep, found = kept.Kept("here", Found, "model", 3), Found(0.5, (True, None, False))
    keep.save("BFCL multiple, auto", found)
    assert kept.Kept("here", Found, "model", 3).load("BFCL multiple, auto") == found
    assert keep.load("BFCL simple, auto") is None
    assert kept.Kept("here", Found, "model", 4).load("BFCL multiple, auto") is None
    monkeypatch.setattr(kept, "_code", lambda: "another labkit")
    assert kept.Kept("here", Found, "model", 3).load("BFCL multiple, auto") is None


def test_half_a_file_is_no_result(empty):
    keep = kept.Kept("here", Found)
    keep.save("one", Found(1.0, ()))
    (file,) = (empty / "here").iterdir()
    file.write_text("half a fi", encoding="utf-8")
    assert keep.load("one") is None


def test_where_nothing_can_be_written_nothing_is_kept(monkeypatch, empty):
    (empty / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setattr(kept, "home", lambda: empty / "file" / "home")
    keep = kept.Kept("here", Found)
    keep.save("one", Found(1.0, ()))
    assert keep.load("one") is None


def test_only_ones_own_is_forgotten():
    mine, other = kept.Kept("here", Found, 1), kept.Kept("here", Found, 2)
    for keep in (mine, other):
        keep.save("one", Found(1.0, ()))
    mine.forget()
    assert mine.load("one") is None and other.load("one")


def test_tool_calls_go_on_with_the_row_that_was_interrupted(monkeypatch, empty):
    """Rows of two cases; the model is not asked here, the order of the questions is what matters."""
    rows = tuple(tool_calls.Row(name, "auto", lambda _, name=name: [name, name]) for name in ("a", "b", "c"))
    asked = []
    monkeypatch.setattr(tool_calls, "ROWS", rows)
    monkeypatch.setattr(tool_calls, "_embedded", lambda adapter: {"plain": type("Chat", (), {"model": "M"})})
    monkeypatch.setattr(tool_calls, "ask", lambda chat, mode, case: (asked.append(case), (True, 0.1, None))[1])

    def stopped(done, total, what):
        if done == 3:
            raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        tool_calls.run(cases=2, progress=stopped)
    assert asked == ["a", "a", "b"] and len(list(empty.rglob("*.json"))) == 1
    steps = []
    report = tool_calls.run(cases=2, progress=lambda done, total, what: steps.append(done))
    assert asked[3:] == ["b", "b", "c", "c"] and steps == [3, 4, 5, 6]
    assert [result.row for result in report.results] == ["a", "b", "c"] and report.results[0].outcomes == (True, True)
    assert not list(empty.rglob("*.json")), "what is whole is measured anew the next time"
