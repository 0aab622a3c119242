"""A small SQLite file for what safety must remember: tokens that were revoked, accounts, records of persons."""
from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

from labkit.errors import LabkitError


class Store:
    """Safe to use from several threads and processes. Raises LabkitError where the file cannot be used.

    What is deleted is overwritten, so that it is not in the file any more.
    """

    def __init__(self, path: str | Path, schema: str):
        self.path, self._lock = Path(path), threading.Lock()
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, timeout=10)
            self._db.executescript(f"PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON; {schema}")
        except sqlite3.Error as error:
            raise LabkitError(f"{self.path} cannot be used: {error}. Name another file.") from error

    def run(self, sql: str, *values: Any) -> list[tuple]:
        """One statement in a transaction of its own; its rows."""
        try:
            with self._lock, self._db, closing(self._db.execute(sql, values)) as cursor:
                return cursor.fetchall()
        except sqlite3.Error as error:
            raise LabkitError(f"{self.path.name} cannot be used now: {error}. Try again later.") from error

    def close(self) -> None:
        with self._lock:
            self._db.close()
