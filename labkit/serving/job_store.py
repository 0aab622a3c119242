"""Accepted work that must not be lost: jobs in SQLite, each done once or reported as failed, whatever dies.

A job is accepted when it is on the disk. Who takes one marks it as running; a store that is opened finds what was
running when the last process ended, and puts it back, up to `ATTEMPTS` times. Knows no model and no HTTP.
"""
from __future__ import annotations

import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.errors import BadRequest
from labkit.serving.sqlite_file import StoreUnavailable, opened

ATTEMPTS = 3
ACCEPTED, RUNNING, DONE, FAILED = "accepted", "running", "done", "failed"
SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
  id TEXT PRIMARY KEY, client TEXT NOT NULL, idempotency TEXT, priority INTEGER NOT NULL, body TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('accepted', 'running', 'done', 'failed')),
  attempts INTEGER NOT NULL DEFAULT 0, result TEXT, error TEXT, created REAL NOT NULL, changed REAL NOT NULL,
  UNIQUE (client, idempotency));
CREATE INDEX IF NOT EXISTS jobs_next ON jobs (state, priority DESC, created);
"""


@dataclass(frozen=True)
class Job:
    """body: what was asked. result: of a job that is done. created, changed: seconds since 1970."""

    id: str
    client: str
    priority: int
    body: dict[str, Any]
    state: str
    attempts: int
    result: dict[str, Any] | None
    error: str | None
    created: float
    changed: float


class JobStore:
    """Safe to use from several threads of one process. `moved_aside`: a file that could not be read, where it is now.

    Raises StoreUnavailable when the file cannot be made.
    """

    def __init__(self, path: str | Path):
        self.path, self._lock = Path(path), threading.Lock()
        self._db, self.moved_aside = opened(self.path, SCHEMA)
        self.put_back("The server ended while this job was running.")

    def accept(self, body: Mapping[str, Any], *, client: str = "", priority: int = 0,
               idempotency: str | None = None) -> Job:
        """Keep a job; when this returns it is on the disk. The same client and idempotency key: the job there is."""
        now, id = time.time(), uuid.uuid4().hex
        row = (id, client, idempotency, priority, json.dumps(body), ACCEPTED, now, now)
        self._run("INSERT INTO jobs (id, client, idempotency, priority, body, state, created, changed) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (client, idempotency) DO NOTHING", row)
        if idempotency is None:
            return self.get(id)
        (there,) = self._run("SELECT id, body FROM jobs WHERE client = ? AND idempotency = ?", (client, idempotency))
        if there[1] != row[4]:
            raise BadRequest(f"The idempotency key {idempotency!r} was used for another request.")
        return self.get(there[0])

    def get(self, id: str) -> Job | None:
        found = self._run(f"SELECT {COLUMNS} FROM jobs WHERE id = ?", (id,))
        return _job(found[0]) if found else None

    def take(self) -> Job | None:
        """The next job, marked as running; None when there is none."""
        found = self._run(
            f"UPDATE jobs SET state = 'running', attempts = attempts + 1, changed = ? WHERE id = (SELECT id FROM jobs "
            f"WHERE state = 'accepted' ORDER BY priority DESC, created LIMIT 1) RETURNING {COLUMNS}", (time.time(),))
        return _job(found[0]) if found else None

    def finish(self, id: str, result: Mapping[str, Any]) -> bool:
        """Keep the result of a running job. False where it is not running any more: then nothing changes."""
        return self._end(id, DONE, json.dumps(result), None)

    def fail(self, id: str, error: str) -> bool:
        """As finish(), for a job that cannot be done."""
        return self._end(id, FAILED, None, error)

    def _end(self, id: str, state: str, result: str | None, error: str | None) -> bool:
        return bool(self._run("UPDATE jobs SET state = ?, result = ?, error = ?, changed = ? WHERE id = ? AND "
                                "state = 'running' RETURNING id", (state, result, error, time.time(), id)))

    def put_back(self, why: str) -> None:
        """What is running waits again; what was begun too often has failed, and says why."""
        now = time.time()
        self._run("UPDATE jobs SET state = 'failed', error = ?, changed = ? WHERE state = 'running' AND "
                    "attempts >= ?", (f"{why} It was tried {ATTEMPTS} times.", now, ATTEMPTS))
        self._run("UPDATE jobs SET state = 'accepted', changed = ? WHERE state = 'running'", (now,))

    def release(self, id: str) -> None:
        """A running job waits again, as if it had not been begun: the server is being stopped in good order."""
        self._run("UPDATE jobs SET state = 'accepted', attempts = attempts - 1, changed = ? WHERE id = ? AND "
                    "state = 'running'", (time.time(), id))

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state."""
        found = dict(self._run("SELECT state, count(*) FROM jobs GROUP BY state"))
        return {state: found.get(state, 0) for state in (ACCEPTED, RUNNING, DONE, FAILED)}

    def forget(self, older_than_s: float) -> int:
        """Drop what ended longer ago than that; how many."""
        return len(self._run("DELETE FROM jobs WHERE state IN ('done', 'failed') AND changed < ? RETURNING id",
                               (time.time() - older_than_s,)))

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _run(self, sql: str, values: tuple = ()) -> list[tuple]:
        try:
            with self._lock, self._db, closing(self._db.execute(sql, values)) as cursor:
                return cursor.fetchall()
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{self.path.name} does not keep jobs now: {error}. Ask again later.") from error


COLUMNS = "id, client, priority, body, state, attempts, result, error, created, changed"


def _job(row: tuple) -> Job:
    id, client, priority, body, state, attempts, result, error, created, changed = row
    return Job(id, client, priority, json.loads(body), state, attempts, json.loads(result) if result else None, error,
               created, changed)
