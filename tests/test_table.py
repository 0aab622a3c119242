"""How a table is written as text: its note is broken between words, as wide as the table."""
from __future__ import annotations

from labkit.table import NOTE_WIDTH, Table

WORDS = "one two three four " * 20


def note_of(text: str, columns=("a", "b")) -> list[str]:
    return str(Table(columns, (), note=text)).splitlines()[2:]


def test_a_long_note_breaks_between_words():
    lines = note_of(WORDS)
    assert len(lines) > 1 and max(map(len, lines)) <= NOTE_WIDTH
    assert " ".join(lines) == WORDS.strip()


def test_a_wide_table_has_a_note_as_wide():
    assert max(map(len, note_of(WORDS, ("a" * 150, "b")))) > NOTE_WIDTH


def test_lines_and_long_words_of_a_note_stay_whole():
    path = "/" + "folder/" * 30
    assert note_of(f"\nIn:\n  {path}\nfour-part-long-name") == ["", "In:", f"  {path}", "four-part-long-name"]
