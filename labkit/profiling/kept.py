"""Results on disk, by everything that they depend on: a long measurement that was interrupted goes on where it was."""
from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Generic, TypeVar

from labkit.models.cache import atomic_file, home
from labkit.models.hardware import machine

T = TypeVar("T")


class Kept(Generic[T]):
    """Results of one kind (a dataclass), each by its name, under `folder` of labkit's cache.

    facts: what they depend on beside this machine's processor, llama.cpp's version and labkit's own code.
    """

    def __init__(self, folder: str, kind: type[T], *facts: object):
        self._folder, self._kind = folder, kind
        everything = [facts, machine().cpu, version("llama-cpp-python"), _code()]
        self.key = hashlib.sha256(repr(everything).encode()).hexdigest()[:16]

    def load(self, name: str) -> T | None:
        """What was kept by that name; None where nothing was, or nothing that can be read."""
        try:
            return self._json.validate_json(self._file(name).read_bytes())
        except (OSError, ValueError):  # not there, or damaged
            return None

    def save(self, name: str, result: T) -> None:
        try:
            with atomic_file(self._file(name)) as part:
                part.write_bytes(self._json.dump_json(result))
        except OSError:  # a cache that cannot be written costs time, nothing else
            pass

    def forget(self) -> None:
        """Remove what these facts have given."""
        for file in (home() / self._folder).glob(f"{self.key}-*.json"):
            file.unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return home() / self._folder / f"{self.key}-{re.sub(r'[^A-Za-z0-9_]+', '-', name)}.json"

    @property
    def _json(self):
        from pydantic import TypeAdapter
        return TypeAdapter(self._kind)


@cache
def _code() -> str:
    package = Path(__file__).parents[1]
    files = sorted(package.rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
