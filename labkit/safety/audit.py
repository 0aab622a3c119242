"""An audit log that shows when it was changed: JSON Lines, each with the hash of the one before.

    log = Audit("audit.jsonl", key=…)          # with a key the hashes are HMACs, which nobody else can make
    log.append("call", who="anna", tool="refund")
    log.anchor()                               # "42:9f3c…": keep it elsewhere, and the end cannot be cut off unseen
    verify("audit.jsonl", key=…)               # names the first entry that is wrong; also: labkit audit verify

What is kept is what the system has taken: it outlives this process, also a kill -9. With sync=True every entry is on
the disk before append() returns, so that it outlives a power cut, and that takes a disk's time. Several processes may
write. A disk that is full loses nothing at first: entries wait in memory, `trouble` says so, and the log says
afterwards how many came late or were lost.

Beside the log stands its head (`audit.jsonl.head`): how far the log goes, with a hash. Who can write both, and has the
key or needs none, can write a new history: only an anchor kept elsewhere shows that.
"""
from __future__ import annotations

import hashlib
import hmac
import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.errors import BadRequest, LabkitError
from labkit.safety.file_lock import locked

START = "0" * 64           # the hash before the first entry
TAIL = len(',"hash":""}') + 64
HEAD_BYTES = 256
KEEP_WAITING = 10_000      # entries in memory while the disk takes none
MAX_BYTES = 64 * 2**20
_JSON = json.JSONEncoder(ensure_ascii=False, default=str, separators=(",", ":")).encode


@dataclass(frozen=True)
class Head:
    """How far a log goes: the part that is written (1 is the log's own file), its size, the last entry."""

    part: int = 1
    size: int = 0
    n: int = 0
    hash: str = START


class Hasher:
    """SHA-256, or HMAC-SHA-256 with a key."""

    def __init__(self, key: str | bytes | None = None):
        self._key = key.encode() if isinstance(key, str) else key
        if self._key is not None and len(self._key) < 16:
            raise BadRequest("A key for the audit log needs at least 16 bytes, as secrets.token_bytes(32) gives.")

    def __call__(self, data: bytes) -> str:
        return hmac.digest(self._key, data, "sha256").hex() if self._key else hashlib.sha256(data).hexdigest()


class Audit:
    """A log to append to. max_bytes: where a part ends and the next begins. Safe for threads and for processes.

    Raises LabkitError for a log that cannot be opened, or whose end does not fit its head.
    """

    def __init__(self, path: str | Path, *, key: str | bytes | None = None, max_bytes: int = MAX_BYTES,
                 sync: bool = False, now: Callable[[], float] = time.time):
        self.path, self.max_bytes, self.sync, self._now = Path(path), max_bytes, sync, now
        self._hash, self.trouble = Hasher(key), ""
        self._waiting: deque[tuple[str, dict[str, Any], float]] = deque()
        self._lost, self._last, self._head_line = 0, Head(), None
        self._threads, self._log, self._head_file, self._process = threading.Lock(), None, None, 0
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._open()
        except OSError as error:
            raise LabkitError(f"The audit log {self.path} cannot be opened: {error}") from error

    def append(self, what: str, **data: Any) -> None:
        """Add one entry. Never raises for a disk (see `trouble`), but LabkitError for a log that somebody cut."""
        with self._threads:
            if self._log is None:
                raise LabkitError(f"{self.path.name} is closed. Open it again with Audit({str(self.path)!r}).")
            self._waiting.append((what, data, self._now()))
            try:
                self._write_waiting()
                self.trouble = ""
            except OSError as error:
                self._degrade(error)

    def anchor(self) -> str:
        """The last entry's number and hash, to be kept where who writes the log cannot write."""
        return f"{self._last.n}:{self._last.hash}"

    def drop(self, older_than_s: float) -> int:
        """Delete the parts whose last entry is older; how many. The log says what went, so that it stays whole.

        The part that is being written stays. A locked or full disk raises OSError, and nothing is deleted.
        """
        with self._threads, locked(self._head_file):
            self._catch_up()
            parts = [part for part in range(1, self._last.part) if part_of(self.path, part).exists()]
            old = [part for part in parts if self._end_of(part)["at"] < self._now() - older_than_s]
            if old:
                end = self._end_of(old[-1])
                self._write("dropped", {"entries_to": end["n"], "hash": end["hash"]}, self._now())
            for part in old:
                part_of(self.path, part).unlink()
            return len(old)

    def close(self) -> None:
        with self._threads:
            for file in (self._log, self._head_file):
                if file is not None:
                    os.close(file)
            self._log = self._head_file = None

    def __enter__(self) -> Audit:
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    # -- under both locks: this object's, for threads, and the head's, for processes ----------

    def _write_waiting(self) -> None:
        late = len(self._waiting) - 1
        if self._process != os.getpid():  # a fork shares its parent's files, and so its lock
            self._open()
        with locked(self._head_file):
            self._catch_up()
            if late or self._lost:
                self._write("late", {"late": late, "lost": self._lost}, self._now())
                self._lost = 0
            while self._waiting:
                self._write(*self._waiting[0])
                self._waiting.popleft()

    def _write(self, what: str, data: dict[str, Any], at: float) -> None:
        if self._last.size >= self.max_bytes:
            self._next_part()
        line, digest = entry(self._hash, self._last.n + 1, at, what, data, self._last.hash)
        try:
            written = os.write(self._log, line)
            if written < len(line):
                raise OSError(f"only {written} of {len(line)} bytes were taken")
        except OSError:
            os.ftruncate(self._log, self._last.size)  # half a line is none
            raise
        if self.sync:
            os.fsync(self._log)
        last = self._last
        self._write_head(Head(last.part, last.size + len(line), last.n + 1, digest))

    def _write_head(self, head: Head) -> None:
        self._head_line = head_line(self._hash, head)
        os.lseek(self._head_file, 0, os.SEEK_SET)
        os.write(self._head_file, self._head_line)
        self._last = head

    def _next_part(self) -> None:
        os.close(self._log)
        self._log = _opened(part_of(self.path, self._last.part + 1))
        self._write_head(Head(self._last.part + 1, os.fstat(self._log).st_size, self._last.n, self._last.hash))

    def _open(self) -> None:
        self._head_file, self._process = _opened(head_of(self.path)), os.getpid()
        with locked(self._head_file):
            if not self.path.exists() and not os.fstat(self._head_file).st_size:
                self._write_head(Head())
            self._catch_up()

    def _catch_up(self) -> None:
        """Take in what other processes wrote, and what a process that was killed had not finished."""
        os.lseek(self._head_file, 0, os.SEEK_SET)
        line = os.read(self._head_file, HEAD_BYTES)
        told = self._last if line == self._head_line else read_head(self._hash, line)  # nobody else wrote
        if told is None:
            raise LabkitError(f"{head_of(self.path).name} is damaged, missing, or made with another key. See what is "
                              f"left with: labkit audit verify {self.path}")
        if told.part != self._last.part or self._log is None:
            if self._log is not None:
                os.close(self._log)
            self._log = _opened(part_of(self.path, told.part))
        self._head_line, self._last, size = line, told, os.fstat(self._log).st_size
        if size < told.size:
            raise LabkitError(f"{part_of(self.path, told.part).name} is {told.size - size} bytes shorter than its head "
                              f"says: its end was cut off. Look with: labkit audit verify {self.path}")
        if size > told.size:
            self._recover(size)

    def _recover(self, size: int) -> None:
        """Lines that were written when their writer died before the head: whole ones count, a torn one is cut off."""
        with part_of(self.path, self._last.part).open("rb") as file:
            file.seek(self._last.size)
            rest = file.read(size - self._last.size)
        for line in rest.splitlines(keepends=True):
            read = read_entry(self._hash, line)
            if read is None or read["n"] != self._last.n + 1 or read["prev"] != self._last.hash:
                break
            self._write_head(Head(self._last.part, self._last.size + len(line), read["n"], read["hash"]))
        torn = rest[len(rest) - (size - self._last.size):]
        os.ftruncate(self._log, self._last.size)
        self._write("recovered", {"torn": torn.decode("utf-8", "replace")[:1000], "bytes": len(torn)}, self._now())

    def _end_of(self, part: int) -> dict[str, Any]:
        """The last entry of a part. Raises LabkitError where it was changed."""
        file = part_of(self.path, part)
        with file.open("rb") as lines:
            last = deque(lines, maxlen=1)
        read = read_entry(self._hash, last[0]) if last else None
        if read is None:
            raise LabkitError(f"The end of {file.name} was changed. Look with: labkit audit verify {self.path}")
        return read

    def _degrade(self, error: OSError) -> None:
        while len(self._waiting) > KEEP_WAITING:
            self._waiting.popleft()
            self._lost += 1
        self.trouble = (f"the audit log cannot be written ({error}); {len(self._waiting)} entries wait in memory, "
                        f"{self._lost} are lost. Make room on the disk.")


def entry(hasher: Hasher, n: int, at: float, what: str, data: dict[str, Any], before: str) -> tuple[bytes, str]:
    """(line, its hash). The hash is over the line's own bytes up to it, so that no byte can change unseen."""
    value = {"n": n, "at": round(at, 6), "what": what, "data": data, "prev": before}
    body = _JSON(value).encode("utf-8", "backslashreplace")
    digest = hasher(body)
    return body[:-1] + b',"hash":"' + digest.encode() + b'"}\n', digest


def read_entry(hasher: Hasher, line: bytes) -> dict[str, Any] | None:
    """An entry whose hash is that of its bytes; None for any other line."""
    body, end = line[:-TAIL - 1], line[-TAIL - 1:]
    if not hmac.compare_digest(end, b',"hash":"' + hasher(body + b"}").encode() + b'"}\n'):
        return None
    try:
        return json.loads(line)
    except ValueError:
        return None


def head_line(hasher: Hasher, head: Head) -> bytes:
    text = f"{head.part} {head.size} {head.n} {head.hash}"
    return f"{text} {hasher(text.encode())}".ljust(HEAD_BYTES - 1).encode() + b"\n"


def read_head(hasher: Hasher, line: bytes) -> Head | None:
    """A head whose hash fits; None for any other."""
    text, _, digest = line.strip().rpartition(b" ")
    if not hmac.compare_digest(digest, hasher(text).encode()):
        return None
    part, size, n, last = text.split()
    return Head(int(part), int(size), int(n), last.decode())


def part_of(path: Path, part: int) -> Path:
    """audit.jsonl, audit.2.jsonl, audit.3.jsonl, …"""
    return path if part == 1 else path.with_name(f"{path.stem}.{part}{path.suffix}")


def head_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.head")


def _opened(path: Path) -> int:
    """Only for who runs this, at the file's end where it is a log; binary on Windows too."""
    log = os.O_APPEND if path.suffix != ".head" else 0
    return os.open(path, os.O_RDWR | os.O_CREAT | log | getattr(os, "O_BINARY", 0), 0o600)
