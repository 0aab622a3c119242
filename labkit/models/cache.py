"""Where labkit keeps what it makes, and how a file gets there whole or not at all."""
from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def shown(path: Path) -> str:
    """With ~ for the user's folder: reports are pasted where a user's name has no business."""
    own = Path.home()
    return f"~/{path.relative_to(own).as_posix()}" if path.is_relative_to(own) else str(path)


def home() -> Path:
    """Folder for caches and progress: LABKIT_HOME, else the platform's user cache folder."""
    if chosen := os.environ.get("LABKIT_HOME"):
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path
    return user_cache_path("labkit", appauthor=False)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it becomes `path` if the block succeeds, else it goes.

    A crash or a full disk leaves at worst a stray `.part` file, never a half file under the name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.part")
    part.touch(exist_ok=False)  # with the user's umask, so that a shared cache can be shared
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
