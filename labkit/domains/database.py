"""A desk's SQLite database: reading, transactions that happen whole or not at all, and what has changed.

Every statement opens the file anew (0.2 ms), so that tools may run in any thread and nothing stays locked.
"""
from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.errors import ToolError
from labkit.table import Shown, Table

BUSY_S = 2.0  # to wait for another program's transaction
ADDED, CHANGED, REMOVED = "added", "changed", "removed"
Row = dict[str, Any]
Snapshot = dict[str, list[Row]]


@dataclass(frozen=True)
class Change:
    """A row that was added or removed, with all its values; or changed: its key, and its new values alone."""

    table: str
    kind: str
    values: Row


@dataclass(frozen=True, repr=False)
class Changes(Shown):
    """What is different now, row by row. False when nothing is."""

    rows: tuple[Change, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Change]:
        return iter(self.rows)

    def table(self) -> Table:
        told = tuple((change.table, change.kind, ", ".join(f"{name}: {_short(value)}" for name, value in
                                                           change.values.items())) for change in self.rows)
        return Table(("table", "row", "values"), told or (("nothing changed", "", ""),))


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:59]}…"


class Transaction:
    """Statements that take effect together. Values go in as parameters, never into the SQL."""

    def __init__(self, connection: sqlite3.Connection):
        self._connection = connection

    def query(self, sql: str, *values: Any) -> list[Row]:
        """The rows of a statement; one that only writes has none."""
        return [dict(row) for row in self._connection.execute(sql, values)]

    def keep(self, table: str, **values: Any) -> None:
        """Add a row, unless the table has its key already: what is asked twice happens once."""
        self.query(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join('?' * len(values))}) "
                   "ON CONFLICT DO NOTHING", *values.values())


class Database:
    """path: the file. Raises ToolError where it is locked, read-only or damaged: then nothing was changed."""

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def query(self, sql: str, *values: Any) -> list[Row]:
        """The rows that a SELECT finds, as dicts. Only reads: for writing there is transaction()."""
        with self._open("ro") as connection:
            return Transaction(connection).query(sql, *values)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """All of it or, when anything is raised inside, nothing. One at a time: others wait for two seconds."""
        with self._open("rw") as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield Transaction(connection)
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def snapshot(self) -> Snapshot:
        """Every row of every table, as they are at one moment."""
        with self._open("ro") as connection:
            connection.execute("BEGIN")
            reader = Transaction(connection)
            return {name: reader.query(f'SELECT * FROM "{name}"') for name in keys(reader)}

    def changes(self, before: Mapping[str, list[Row]]) -> Changes:
        """What is different from a snapshot."""
        with self._open("ro") as connection:
            key = keys(Transaction(connection))
        after = self.snapshot()
        return Changes(tuple(change for table in after
                             for change in _between(table, key[table], before.get(table, []), after[table])))

    @contextmanager
    def _open(self, mode: str) -> Iterator[sqlite3.Connection]:
        uri = f"{self.path.resolve().as_uri()}?mode={mode}"
        try:
            with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)) as connection:
                connection.row_factory = sqlite3.Row
                connection.execute("PRAGMA foreign_keys = ON")
                yield connection
        except sqlite3.Error as error:
            raise ToolError(f"{_what(error)} Nothing was changed.") from error


def keys(reader: Transaction) -> dict[str, list[str]]:
    """The columns of each table's primary key, by table."""
    tables = reader.query("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    return {table["name"]: [row["name"] for row in reader.query(
        "SELECT name FROM pragma_table_info(?) WHERE pk ORDER BY pk", table["name"])] for table in tables}


def _between(table: str, key: list[str], before: list[Row], after: list[Row]) -> Iterator[Change]:
    old, new = ({tuple(row[name] for name in key): row for row in rows} for rows in (before, after))
    for at, row in new.items():
        if at not in old:
            yield Change(table, ADDED, row)
        elif row != old[at]:
            yield Change(table, CHANGED, {name: row[name] for name in row if name in key or row[name] != old[at][name]})
    yield from (Change(table, REMOVED, row) for at, row in old.items() if at not in new)


def _what(error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the extended part
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return "The database is busy: another program is writing to it. Ask again in a moment."
    if code == sqlite3.SQLITE_READONLY:
        return "The database may only be read now. Ask whoever looks after it to make its file writable."
    if code == sqlite3.SQLITE_CONSTRAINT:
        return f"The database does not take that: {error}. Check the values."
    return f"The database cannot be used: {error}. Tell whoever looks after it."
