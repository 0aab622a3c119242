"""What the learner has done, kept in one small JSON file. Never stops a learner: at worst it forgets."""
from __future__ import annotations

import json
import os
import time
from pathlib import Path

from labkit.models.cache import atomic_file


def record_path() -> Path:
    """LABKIT_HOME/progress.json, else in the platform's user data folder (a cache may be emptied)."""
    if chosen := os.environ.get("LABKIT_HOME"):
        return Path(chosen).expanduser() / "progress.json"
    from platformdirs import user_data_path
    return user_data_path("labkit", appauthor=False) / "progress.json"


class Record:
    """Exercise id -> {"tries", "hints", "passed" (ISO date), "solution"}. Read again before each change.

    LABKIT_PROGRESS=memory keeps it in memory: what a test or a headless run does is not the learner's work.
    """

    def __init__(self, path: Path | None = None):
        self.in_memory = path is None and os.environ.get("LABKIT_PROGRESS") == "memory"
        self.path = path or record_path()
        self._entries: dict[str, dict] = {}
        self.warning = ""  # set when keeping a file has failed; `take_warning` hands it out once

    def entries(self) -> dict[str, dict]:
        if not self.in_memory:
            try:
                self._entries = self._read()
            except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
                self._give_up(f"could not be read ({type(error).__name__})")
        return self._entries

    def note(self, id: str, **changes) -> None:
        """Count or set: `tries=1` adds one, a string or True is set (the first date stays)."""
        entry = self.entries().setdefault(id, {})
        for key, value in changes.items():
            if type(value) is int:
                entry[key] = entry.get(key, 0) + value
            else:
                entry.setdefault(key, value)
        self._write()

    def take_warning(self) -> str:
        warning, self.warning = self.warning, ""
        return warning

    def _read(self) -> dict[str, dict]:
        if not self.path.exists():
            return {}
        entries = json.loads(self.path.read_text(encoding="utf-8"))["exercises"]
        if not all(type(entry) is dict for entry in entries.values()):
            raise ValueError("an exercise's entry is not an object")
        counts = [entry.get(key, 0) for entry in entries.values() for key in ("tries", "hints")]
        if not all(type(count) is int for count in counts):
            raise ValueError("a count is not a number")
        return entries

    def _write(self) -> None:
        if self.in_memory:
            return
        try:
            text = json.dumps({"version": 1, "exercises": self._entries}, indent=1)
            with atomic_file(self.path) as part:
                part.write_text(text, encoding="utf-8")
        except OSError as error:
            self._give_up(f"could not be written ({type(error).__name__})")

    def _give_up(self, why: str) -> None:
        self.in_memory = True  # and the file stays as it is: someone may want to mend it
        self.warning = (
            f"Your progress file {why}, so progress is kept only until this kernel stops. "
            f"To start a new one, delete {self.path}"
        )


def today() -> str:
    return time.strftime("%Y-%m-%d")
