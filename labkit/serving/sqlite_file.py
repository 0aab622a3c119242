"""A SQLite file that is whole when it is opened: a damaged one is moved aside, and what is written is on the disk.

In its place comes the newest backup of it, where there is one (see backup); the log says so.
"""
from __future__ import annotations

import logging
import sqlite3
import time
from pathlib import Path

from labkit.errors import LabkitError

_log = logging.getLogger("labkit.serving")


class StoreUnavailable(LabkitError):
    """The disk does not keep what it is given."""


def opened(path: Path, schema: str) -> tuple[sqlite3.Connection, Path | None]:
    """(database, where a damaged one was moved to, or None). Raises StoreUnavailable when no file can be made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _whole(path, schema)
    except (OSError, sqlite3.Error) as error:
        raise StoreUnavailable(f"{path} cannot be used: {error}") from error


def _whole(path: Path, schema: str) -> tuple[sqlite3.Connection, Path | None]:
    try:
        return _connected(path, schema), None
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) or not path.is_file():
            raise
    aside = path.with_name(f"{path.name}.damaged-{int(time.time())}")
    path.replace(aside)
    for rest in ("-wal", "-shm"):
        path.with_name(path.name + rest).unlink(missing_ok=True)
    _put_back(path, aside)
    return _connected(path, schema), aside


def _put_back(path: Path, aside: Path) -> None:
    from labkit.serving import backup
    found = backup.newest_of(path)
    if found:
        backup.put(*found, path)
    what = f"It is as in the backup {found[0].folder.name} now" if found else "It begins anew: there is no backup of it"
    _log.warning("%s was damaged, and is now %s. %s.", path.name, aside.name, what)


def _connected(path: Path, schema: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, check_same_thread=False, timeout=10)
    try:
        if db.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("it is damaged")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")  # written means on the disk, also after a power cut
        db.executescript(schema)
    except BaseException:
        db.close()
        raise
    return db


def opened_to_read(path: Path) -> sqlite3.Connection:
    """The database in a file that is there, whoever writes it; nothing can be changed. Raises StoreUnavailable."""
    try:
        return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False, timeout=10)
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{path} cannot be read: {error}") from error
