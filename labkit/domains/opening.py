"""Opening a desk: a fresh database with the course's data, made in a tenth of a second, never half made."""
from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from labkit.data import data_folder
from labkit.domains import NAMES
from labkit.domains.database import Database
from labkit.domains.desk import Desk
from labkit.errors import BadRequest, LabkitError


def open_desk(name: str, path: str | Path | None = None, user: str | None = None) -> Desk:
    """A desk with a fresh database: at `path`, where no file may be yet, or in a folder that close() removes.

    user: who asks; None for the desk's usual one. Raises BadRequest for an unknown desk or a file that is there.
    """
    if name not in NAMES:
        raise BadRequest(f"There is no desk {name!r}. Use one of {', '.join(NAMES)}.")
    folder = None if path else TemporaryDirectory(prefix="labkit-desk-", ignore_cleanup_errors=True)
    file = Path(path) if path else Path(folder.name, f"{name}.sqlite")
    if file.exists():
        raise BadRequest(f"{file} is there already. Name a file that is not, or remove it: nothing is overwritten.")
    fill(file)
    return getattr(import_module(f"labkit.domains.{name}"), name.capitalize())(Database(file), user, folder)


def fill(path: Path) -> None:
    """Make the database at `path`: written beside it and moved there when it is whole."""
    source, part = data_folder("desks"), path.with_name(f".{path.name}.{os.getpid()}.part")
    rows = json.loads((source / "rows.json").read_text(encoding="utf-8"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(part)) as db:
            db.execute("PRAGMA foreign_keys = ON")
            db.executescript(f"BEGIN; {(source / 'schema.sql').read_text(encoding='utf-8')} COMMIT;")
            with db:
                for table, given in rows.items():
                    marks = ", ".join("?" * len(given[0]))
                    db.executemany(f"INSERT INTO {table} VALUES ({marks})", given)
        part.replace(path)
    except (OSError, sqlite3.Error) as error:
        raise LabkitError(f"No database can be made at {path}: {error}. Name another path.") from error
    finally:
        part.unlink(missing_ok=True)
