"""What is kept of persons, by person: to give them a copy, to erase it, and to drop what is old.

The audit log holds no names: a person stands in it under a pseudonym, an HMAC of the name with a salt that only this
file has. Erasing a person throws the salt away. The log's chain stays whole, and its entries are nobody's any more.
"""
from __future__ import annotations

import hmac
import json
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labkit.safety.modes import Mode
from labkit.safety.refusal import Refused
from labkit.safety.store import Store

DAY_S = 24 * 3600.0
SCHEMA = """
CREATE TABLE IF NOT EXISTS persons (person TEXT PRIMARY KEY, salt BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS records (person TEXT NOT NULL REFERENCES persons ON DELETE CASCADE, purpose TEXT NOT NULL,
  at REAL NOT NULL, data TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS records_by_person ON records (person, at);
CREATE INDEX IF NOT EXISTS records_by_time ON records (at);
"""


class Records:
    """Safe to use from several threads. now: the clock, seconds since 1970. Raises LabkitError where a disk fails."""

    def __init__(self, path: str | Path, mode: Mode, now: Callable[[], float] = time.time):
        self.mode, self._now, self._store = mode, now, Store(path, SCHEMA)

    def keep(self, person: str, purpose: str, data: dict[str, Any]) -> None:
        """Keep something of a person. Drops what is older than the mode allows, of everybody."""
        self.pseudonym(person)  # makes the person, if they are new
        row = (person, purpose, self._now(), json.dumps(data, default=str))
        self._store.run("INSERT INTO records VALUES (?, ?, ?, ?)", *row)
        self.sweep()

    def pseudonym(self, person: str) -> str:
        """How a person is called in the log: 16 hexadecimal digits, another one after an erasure."""
        self._store.run("INSERT OR IGNORE INTO persons VALUES (?, ?)", person, secrets.token_bytes(32))
        ((salt,),) = self._store.run("SELECT salt FROM persons WHERE person = ?", person)
        return hmac.digest(salt, person.encode(), "sha256").hex()[:16]

    def export(self, person: str) -> dict[str, Any]:
        """All that is kept of a person, fit for JSON. No records is an answer too."""
        rows = self._store.run("SELECT purpose, at, data FROM records WHERE person = ? ORDER BY at, rowid", person)
        return {"person": person, "mode": self.mode.name, "kept_days": self.mode.keep_days,
                "records": [{"purpose": purpose, "at": at, "data": json.loads(data)} for purpose, at, data in rows]}

    def erase(self, person: str, audit: Any = None) -> int:
        """Forget a person; how many records that were. Raises Refused where the mode knows no erasure."""
        if not self.mode.erasure:
            raise Refused("role", f"Nothing was erased: {self.mode.why_not}.")
        was = self.pseudonym(person)
        ((count,),) = self._store.run("SELECT count(*) FROM records WHERE person = ?", person)
        self._store.run("DELETE FROM persons WHERE person = ?", person)
        if audit is not None:
            audit.append("erased", who=was, records=count)
        return count

    def sweep(self) -> int:
        """Drop what is older than the mode keeps; how many records that were."""
        return len(self._store.run("DELETE FROM records WHERE at < ? RETURNING rowid",
                             self._now() - self.mode.keep_days * DAY_S))

    def close(self) -> None:
        self._store.close()
