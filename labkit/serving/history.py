"""What was measured, kept: figures, ends of requests and alerts with their time in SQLite, dropped when they are old.

A history that cannot be written loses what it is given, and says so in `trouble`; nothing else stops for it. Knows no
service, and nothing of what was asked or answered.
"""
from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from labkit.serving.alerts import Event
from labkit.serving.metrics import Ended
from labkit.serving.sqlite_file import StoreUnavailable, opened, opened_to_read

SCHEMA = """
CREATE TABLE IF NOT EXISTS figures (at REAL NOT NULL, name TEXT NOT NULL, value REAL NOT NULL);
CREATE INDEX IF NOT EXISTS figures_by_name ON figures (name, at);
CREATE INDEX IF NOT EXISTS figures_by_time ON figures (at);
CREATE TABLE IF NOT EXISTS requests (at REAL NOT NULL, outcome TEXT NOT NULL, status INTEGER NOT NULL, queued_s REAL,
  ttft_s REAL, total_s REAL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS requests_by_time ON requests (at);
CREATE TABLE IF NOT EXISTS events (at REAL NOT NULL, alert TEXT NOT NULL, began INTEGER NOT NULL, told TEXT NOT NULL);
"""
NAMES = """
WITH RECURSIVE n (name) AS (
  SELECT min(name) FROM figures UNION ALL
  SELECT (SELECT min(name) FROM figures WHERE name > n.name) FROM n WHERE name NOTNULL)
SELECT name FROM n WHERE name NOTNULL ORDER BY name
"""  # from one name to the next in the index: SELECT DISTINCT reads every row
KEEP_S = 7 * 24 * 3600.0
IN_MEMORY, KEEP_IN_MEMORY_S = ":memory:", 3600.0
SWEEP_S = 60.0  # between two looks for what is too old


def steady_clock() -> Callable[[], float]:
    """Seconds since 1970 by this machine's clock as it is now, from here on by the monotonic clock.

    A clock that is set while the service runs then neither drops a history nor puts holes into it.
    """
    began, start = time.time(), time.monotonic()
    return lambda: began + time.monotonic() - start


class Recorded:
    """What a history holds. Safe to use from several threads. Times are seconds since 1970, the oldest first."""

    def __init__(self, db: sqlite3.Connection, now: Callable[[], float] | None = None):
        self._db, self._clock, self._lock = db, now, threading.Lock()

    def now(self) -> float:
        """Where the last seconds end: now, or with the last figure where nobody writes."""
        return self._clock() if self._clock else self._rows("SELECT max(at) FROM figures")[0][0] or 0.0

    def of(self, name: str, seconds: float) -> list[tuple[float, float]]:
        """(time, value) of the last seconds."""
        return self._rows("SELECT at, value FROM figures WHERE name = ? AND at >= ? ORDER BY at, rowid",
                          name, self.now() - seconds)

    def names(self) -> list[str]:
        return [name for (name,) in self._rows(NAMES)]

    def requests(self, seconds: float) -> list[Ended]:
        """Those that ended in the last seconds."""
        return [Ended(*row) for row in self._rows(
            "SELECT at, outcome, status, queued_s, ttft_s, total_s, input_tokens, output_tokens FROM requests "
            "WHERE at >= ? ORDER BY at, rowid", self.now() - seconds)]

    def events(self, seconds: float) -> list[tuple[float, str]]:
        """(time, what was told) of the alerts that began or ended in the last seconds."""
        return self._rows("SELECT at, told FROM events WHERE at >= ? ORDER BY at, rowid", self.now() - seconds)

    def span_s(self, seconds: float) -> float:
        """How much of the last seconds the history covers."""
        ((first,),) = self._rows("SELECT min(at) FROM figures WHERE at >= ?", self.now() - seconds)
        return 0.0 if first is None else self.now() - first

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _rows(self, sql: str, *values) -> list[tuple]:
        try:
            with self._lock:
                return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise StoreUnavailable(f"The history cannot be read: {error}") from error


class History(Recorded):
    """A history that is written. keep_s: how long something is kept. now: the clock, seconds since 1970.

    `moved_aside`: a file that could not be read, where it is now. Raises StoreUnavailable when no file can be made.
    """

    def __init__(self, path: str | Path = IN_MEMORY, keep_s: float | None = None,
                 now: Callable[[], float] | None = None):
        db, self.moved_aside = opened(Path(path), SCHEMA)
        super().__init__(db, now or steady_clock())
        self.keep_s = keep_s or (KEEP_IN_MEMORY_S if str(path) == IN_MEMORY else KEEP_S)
        self._swept, self.trouble = 0.0, ""

    def add(self, figures: Mapping[str, float], ended: Iterable[Ended] = (), events: Iterable[Event] = ()) -> None:
        """Keep what was measured now, the requests that ended since the last time, and what alerts did now."""
        at, ago = self.now(), self.now() - time.monotonic()
        requests = [(ago + e.at, e.outcome, e.status, e.queued_s, e.ttft_s, e.total_s, e.input_tokens, e.output_tokens)
                    for e in ended]
        try:
            with self._lock, self._db:
                self._db.executemany("INSERT INTO figures VALUES (?, ?, ?)",
                                     [(at, name, float(value)) for name, value in figures.items()])
                self._db.executemany("INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?)", requests)
                self._db.executemany("INSERT INTO events VALUES (?, ?, ?, ?)",
                                     [(at, event.rule.name, event.began, str(event)) for event in events])
                if abs(at - self._swept) > SWEEP_S:  # also after a clock that was set back
                    self._sweep(at)
            self.trouble = ""
        except sqlite3.Error as error:
            self.trouble = f"the history is not kept: {error}"

    def _sweep(self, at: float) -> None:
        for table in ("figures", "requests", "events"):
            self._db.execute(f"DELETE FROM {table} WHERE at < ? OR at > ?", (at - self.keep_s, at + SWEEP_S))
        self._swept = at


def recorded(path: str | Path) -> Recorded:
    """The history in a file, to read; a service may be writing it. Its last minutes end with the last figure in it.

    Raises StoreUnavailable for a file that is none.
    """
    history = Recorded(opened_to_read(Path(path)))
    try:
        history.names()
    except StoreUnavailable:
        history.close()
        raise
    return history
