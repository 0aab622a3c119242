"""Backups of SQLite files while they are in use, each a folder with a manifest and checksums.

Copies are made by SQLite's own backup, so a copy is the database as it was at one moment, whoever writes it. Restoring
refuses a backup that is damaged or not labkit's, and never writes over a file.
"""
from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import time
import uuid
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from labkit.errors import LabkitError
from labkit.models.cache import atomic_file, home
from labkit.table import Shown, Table, size

KIND = "labkit backup 1"
MANIFEST = "manifest.json"


class BackupRefused(LabkitError):
    """The backup is damaged, not labkit's, or would write over something."""


@dataclass(frozen=True)
class Entry:
    """A file of a backup. name: in the backup, with / between folders. source: where it came from."""

    name: str
    source: str
    bytes: int
    sha256: str
    rows: int


@dataclass(frozen=True, repr=False)
class Backup(Shown):
    """made: seconds since 1970."""

    folder: Path
    name: str
    made: float
    files: tuple[Entry, ...]

    def table(self) -> Table:
        rows = tuple((entry.name, size(entry.bytes), str(entry.rows), entry.sha256[:12]) for entry in self.files)
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.made))
        return Table(("file", "size", "rows", "sha256"), rows, title=f"{self.name}, {at}", note=str(self.folder))


def backup(name: str, files: Mapping[str, Path], folder: Path | None = None) -> Backup:
    """Copy databases into a new folder under `folder`; None for home()/"backups"/name.

    files: name in the backup -> database. The folder gets its name when it is whole. Raises BackupRefused when there
    is nothing to copy or something cannot be read.
    """
    if not files:
        raise BackupRefused(f"{name} keeps nothing: it has neither jobs nor a history.")
    parent = folder or home() / "backups" / name
    made = time.time()
    part = parent / f".{uuid.uuid4().hex}.part"
    part.mkdir(parents=True)
    try:
        entries = tuple(_copied(source, part, inner) for inner, source in sorted(files.items()))
        told = {"kind": KIND, "name": name, "made": made, "files": [asdict(entry) for entry in entries]}
        with atomic_file(part / MANIFEST) as file:
            file.write_text(json.dumps(told, indent=1), encoding="utf-8")
        whole = parent / f"{time.strftime('%Y%m%d-%H%M%S', time.localtime(made))}-{int(made % 1 * 1e6):06d}"
        part.rename(whole)
    except (OSError, sqlite3.Error) as error:
        raise BackupRefused(f"{name} cannot be copied: {error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Backup(whole, name, made, entries)


def read(folder: Path) -> Backup:
    """A backup whose every file is what its manifest says. Raises BackupRefused."""
    try:
        told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if told["kind"] != KIND:
            raise BackupRefused(f"{folder} is no backup of this labkit: its manifest says {told['kind']!r}.")
        found = Backup(folder, told["name"], told["made"], tuple(Entry(**entry) for entry in told["files"]))
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise BackupRefused(f"{folder} is no backup of labkit's: {error}") from error
    for entry in found.files:
        _check(folder, entry)
    return found


def restore(folder: Path, into: Path) -> Backup:
    """Put the files of a backup into a folder, all or none. Raises BackupRefused where one of them is there already."""
    found = read(folder)
    for entry in found.files:
        if (into / entry.name).exists():
            raise BackupRefused(f"{into / entry.name} is there already. End what uses it, and move it away.")
    placed = []
    try:
        for entry in found.files:
            put(found, entry, into / entry.name)
            placed.append(into / entry.name)
    except BaseException:
        for path in placed:
            path.unlink(missing_ok=True)
        raise
    return found


def put(found: Backup, entry: Entry, target: Path) -> None:
    """One file of a backup, whole, at a place where no file is."""
    with atomic_file(target) as part:
        shutil.copyfile(found.folder / entry.name, part)


def newest_of(source: Path) -> tuple[Backup, Entry] | None:
    """The newest whole backup of a database; None when there is none."""
    wanted = str(source.resolve())
    for folder in sorted((home() / "backups").glob("*/[0-9]*"), key=lambda path: path.name, reverse=True):
        try:
            found = read(folder)
        except BackupRefused:
            continue
        if entry := next((e for e in found.files if e.source == wanted), None):
            return found, entry
    return None


def _copied(source: Path, part: Path, name: str) -> Entry:
    target = part / name
    target.parent.mkdir(parents=True, exist_ok=True)
    uri = f"{source.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=10)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
        new.execute("PRAGMA journal_mode = DELETE")  # one file, without a -wal beside it
        if new.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise sqlite3.DatabaseError(f"{source.name} is damaged")
        tables = [table for (table,) in new.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = sum(new.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0] for table in tables)
    with target.open("rb+") as file:
        os.fsync(file.fileno())
    return Entry(name, str(source.resolve()), target.stat().st_size, _sha256(target), rows)


def _check(folder: Path, entry: Entry) -> None:
    inner = PurePosixPath(entry.name)
    if inner.is_absolute() or ".." in inner.parts or "\\" in entry.name or ":" in entry.name:
        raise BackupRefused(f"{folder}: {entry.name!r} would be written outside of where it belongs.")
    path = folder / entry.name
    if not path.is_file() or path.stat().st_size != entry.bytes or _sha256(path) != entry.sha256:
        raise BackupRefused(f"{folder}: {entry.name} is missing or damaged. Take an older backup.")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
