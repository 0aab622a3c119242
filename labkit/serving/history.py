"""What was measured, kept: figures with their time in SQLite, dropped when they are old. Knows no service.

A history that cannot be written loses figures, and says so in `trouble`; nothing else stops for it.
"""
from __future__ import annotations

import sqlite3
import statistics
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from labkit.intervals import p95
from labkit.serving.sqlite_file import opened
from labkit.table import Shown, Table

SCHEMA = """
CREATE TABLE IF NOT EXISTS figures (at REAL NOT NULL, name TEXT NOT NULL, value REAL NOT NULL);
CREATE INDEX IF NOT EXISTS figures_by_name ON figures (name, at);
"""
KEEP_S = 7 * 24 * 3600.0
SWEEP_S = 60.0  # between two looks for what is too old


@dataclass(frozen=True, repr=False)
class Summary(Shown):
    """Of the last `minutes`: name -> its values, the oldest first."""

    minutes: float
    figures: Mapping[str, tuple[float, ...]]

    def table(self) -> Table:
        rows = [(name, str(len(v)), *(f"{x:.4g}" for x in (v[-1], statistics.fmean(v), p95(v), max(v))))
                for name, v in sorted(self.figures.items()) if v]
        return Table(("figure", "n", "now", "mean", "95 % within", "most"), tuple(rows),
                     note=f"The last {self.minutes:g} minutes.")


class History:
    """Safe to use from several threads. keep_s: how long a figure is kept. now: the clock, seconds since 1970."""

    def __init__(self, path: str | Path, keep_s: float = KEEP_S, now=time.time):
        self.keep_s, self._now, self.trouble = keep_s, now, ""
        self._lock, self._swept = threading.Lock(), 0.0
        self._db, self.moved_aside = opened(Path(path), SCHEMA)

    def add(self, figures: Mapping[str, float]) -> None:
        """Keep what was measured now."""
        at = self._now()
        try:
            with self._lock, self._db:
                self._db.executemany("INSERT INTO figures VALUES (?, ?, ?)",
                                     [(at, name, float(value)) for name, value in figures.items()])
                if abs(at - self._swept) > SWEEP_S:  # also after a clock that was set back
                    self._db.execute("DELETE FROM figures WHERE at < ? OR at > ?", (at - self.keep_s, at + SWEEP_S))
                    self._swept = at
            self.trouble = ""
        except sqlite3.Error as error:
            self.trouble = f"the history is not kept: {error}"

    def of(self, name: str, seconds: float) -> list[tuple[float, float]]:
        """(time, value) of the last seconds, the oldest first."""
        with self._lock:
            return self._db.execute("SELECT at, value FROM figures WHERE name = ? AND at >= ? ORDER BY at, rowid",
                                    (name, self._now() - seconds)).fetchall()

    def names(self) -> list[str]:
        with self._lock:
            return [name for (name,) in self._db.execute("SELECT DISTINCT name FROM figures ORDER BY name")]

    def summary(self, minutes: float = 5.0) -> Summary:
        """What the last minutes were like."""
        return Summary(minutes, {name: tuple(value for _, value in self.of(name, 60 * minutes))
                                 for name in self.names()})

    def close(self) -> None:
        with self._lock:
            self._db.close()
