"""The log of requests in a file: a line of JSON for each that ended. Nothing of what was asked or answered is in it."""
from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

from labkit.errors import LabkitError

BYTES, OLD = 10_000_000, 3  # of a file, and how many older ones are kept beside it


@contextmanager
def logged(path: str | Path | None) -> Iterator[None]:
    """Append to this file while the block lasts; None logs nothing. Raises LabkitError where it cannot be written."""
    if path is None:
        yield
        return
    log = logging.getLogger("labkit.serving.requests")
    try:
        handler = RotatingFileHandler(path, maxBytes=BYTES, backupCount=OLD, encoding="utf-8")
    except OSError as error:
        raise LabkitError(f"{path} cannot be written: {error.strerror or error}. Name another --log.") from error
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(logging.NOTSET)
        handler.close()
