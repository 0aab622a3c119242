"""Is an audit log whole? The first entry that is wrong, and why."""
from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from labkit.errors import BadRequest
from labkit.safety.audit import START, Hasher, Head, head_of, part_of, read_entry, read_head
from labkit.table import Shown, Table


@dataclass(frozen=True, repr=False)
class Verified(Shown):
    """entries: good ones, up to the first that is wrong. wrong: what is wrong there, or "". what: entries by kind."""

    path: Path
    parts: int
    entries: int
    wrong: str
    what: dict[str, int]

    @property
    def ok(self) -> bool:
        return not self.wrong

    def table(self) -> Table:
        rows = (("parts", str(self.parts)), ("good entries", str(self.entries)),
                *((f"  {what}", str(count)) for what, count in sorted(self.what.items())),
                ("verdict", self.wrong or "whole"))
        return Table((self.path.name, "found"), rows)


def verify(path: str | Path, key: str | bytes | None = None, anchor: str = "") -> Verified:
    """Check every entry of a log, part by part, then its head, then an anchor ("42:9f3c…") kept elsewhere.

    Raises BadRequest where there is no log, or for an anchor that is none.
    """
    path, hasher = Path(path), Hasher(key)
    wanted, digest = _anchor(anchor)
    parts = _parts(path, hasher)
    n, last = begin = _begin(parts[0], hasher)
    good, what, seen, dropped = 0, Counter(), wanted <= n, n == 0
    for where, line in _lines(parts):
        if wrong := _wrong(read := read_entry(hasher, line), n, last, line):
            return Verified(path, len(parts), good, f"{where} (entry {n + 1}): {wrong}", dict(what))
        n, last, good = n + 1, read["hash"], good + 1
        what[read["what"]] += 1
        seen = seen or (n == wanted and hmac.compare_digest(last, digest))
        dropped = dropped or (read["what"] == "dropped" and begin == (read["data"].get("entries_to"),
                                                                      read["data"].get("hash")))
    wrong = _end(path, hasher, n, last)
    if not dropped:
        wrong = f"the {begin[0]} entries before {parts[0].name} are missing, and no entry says that they were dropped"
    elif not seen:
        wrong = f"the entry {wanted} of the anchor is not in this log: it was cut off, or the log was written anew"
    return Verified(path, len(parts), good, wrong, dict(what))


def _parts(path: Path, hasher: Hasher) -> list[Path]:
    """The parts that are there, from the first to the first gap."""
    head = _head(path, hasher)
    first = next((part for part in range(1, (head.part if head else 1) + 1) if part_of(path, part).is_file()), None)
    if first is None:
        raise BadRequest(f"There is no audit log {path}. Name its first file, like audit.jsonl.")
    parts = []
    while (file := part_of(path, first + len(parts))).is_file():
        parts.append(file)
    return parts


def _lines(parts: list[Path]) -> Iterator[tuple[str, bytes]]:
    for file in parts:
        with file.open("rb") as lines:
            yield from ((f"{file.name}, line {number}", line) for number, line in enumerate(lines, 1))


def _begin(file: Path, hasher: Hasher) -> tuple[int, str]:
    """(number, hash) of the entry before a part, as its first entry tells."""
    with file.open("rb") as lines:
        read = read_entry(hasher, lines.readline())
    return (read["n"] - 1, read["prev"]) if read else (0, START)


def _head(path: Path, hasher: Hasher) -> Head | None:
    file = head_of(path)
    return read_head(hasher, file.read_bytes()) if file.is_file() else None


def _wrong(read, n: int, last: str, line: bytes) -> str:
    if read is None:
        return "its end is missing" if not line.endswith(b"\n") else "it was changed, or made with another key"
    if read["n"] != n + 1 or read["prev"] != last:
        return f"it is the entry {read['n']} of some log, but does not follow on entry {n}"
    return ""


def _end(path: Path, hasher: Hasher, n: int, last: str) -> str:
    """What is wrong with the log's end, by its head."""
    head = _head(path, hasher)
    if head is None:
        return (f"{head_of(path).name} is missing, damaged or made with another key, so the log's end may have been "
                "cut off")
    if head.n > n:
        return f"the end was cut off: the head tells of {head.n} entries, {n} are there"
    if head.n == n and head.hash != last:
        return f"the head and entry {n} do not fit"
    return ""


def _anchor(anchor: str) -> tuple[int, str]:
    number, _, digest = anchor.partition(":")
    if anchor and not (number.isdigit() and len(digest) == 64):
        raise BadRequest(f"anchor={anchor!r}: it looks like 42: and 64 hexadecimal digits.")
    return int(number or 0), digest
