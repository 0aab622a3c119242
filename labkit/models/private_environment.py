"""One private virtual environment: made whole or not at all, and found broken when it is.

A folder under `home()/"envs"`. A marker is written into it last of all, so an install that was killed is never
taken for a whole one. Which environments there are: labkit.models.environments.
"""
from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from labkit.errors import BackendUnavailable
from labkit.models.cache import home
from labkit.table import size

HERE = Path(__file__).resolve().parent
Step = tuple[str, ...]  # arguments for the environment's own interpreter
OnLine = Callable[[str], object]
FULL = ("No space left", "Errno 28", "not enough space", "Disk quota exceeded")
OFFLINE = ("No matching distribution", "Could not fetch", "Connection", "connection", "timed out")  # pip's words


@dataclass(frozen=True)
class Environment:
    """A virtual environment of labkit's own, made by `steps` in their order.

    folders: what must lie in its site-packages; found gone, the environment is broken.
    disk_bytes: room it takes when whole, as measured.
    impossible: why it cannot exist on this machine, or None.
    note: a line for the user before the install begins.
    """

    name: str
    steps: tuple[Step, ...]
    folders: tuple[str, ...] = ()
    disk_bytes: int = 0
    impossible: str | None = None
    note: str = ""

    @property
    def folder(self) -> Path:
        return home() / "envs" / self.name

    @property
    def log(self) -> Path:
        """What pip said, kept beside the folder so that it survives a failed install."""
        return home() / "envs" / f"{self.name}.log"

    @property
    def python(self) -> Path:
        """Its interpreter, there or not."""
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def site_packages(self) -> Path:
        if os.name == "nt":
            return self.folder / "Lib" / "site-packages"
        return next(self.folder.glob("lib/python3*/site-packages"), self.folder / "lib")

    def why_not(self) -> str | None:
        """None when it is whole, else one line that says what would make it so. Starts no process."""
        if self.impossible:
            return self.impossible
        command = f"Run: labkit backend install {self.name}"
        if not self._marker.is_file():
            return f"the {self.name} environment is not installed. {command}"
        fault = self._fault()
        return f"the {self.name} environment {fault}. {command}" if fault else None

    def require(self) -> Path:
        """Its interpreter. Raises BackendUnavailable when it is not whole."""
        if reason := self.why_not():
            raise BackendUnavailable(f"{reason[0].upper()}{reason[1:]}")
        return self.python

    def command(self, *arguments: str | Path) -> list[str]:
        """The command line that runs `-m MODULE ...` or `FILE ...` in it and ends when its stdin closes.

        A FILE without a folder is one of labkit's own. Isolated: the learner's PYTHONPATH and user packages
        stay outside.
        """
        first, *rest = arguments
        script = HERE / first
        return [str(part) for part in (self.python, "-I", "-X", "utf8", "-u", HERE / "tethered.py",
                                       script if script.is_file() else first, *rest)]

    def install(self, on_line: OnLine = print) -> Path:
        """Make it if it is not whole, from scratch, and return its interpreter.

        Of two processes one builds; the other waits and uses the result. `on_line` gets each line pip
        says but its warnings; the log has them all. Raises BackendUnavailable when it cannot be made,
        and leaves nothing behind then but the log.
        """
        if self.why_not() is None:
            return self.python
        if self.impossible:
            raise BackendUnavailable(self.impossible)
        with self._lock():
            if self.why_not() is not None:  # else: another process made it while this one waited
                self._build(on_line)
        return self.python

    def remove(self) -> None:
        """Delete it. Raises BackendUnavailable when a program still runs in it and holds its files."""
        with self._lock():
            self._marker.unlink(missing_ok=True)  # first: half removed must not pass for whole
            shutil.rmtree(self.folder, ignore_errors=True)
            if self.folder.exists():
                raise BackendUnavailable(f"Could not remove {self.folder}: a program in it still runs. "
                                         f"Run: labkit backend stop {self.name}")

    @property
    def _marker(self) -> Path:
        return self.folder / "labkit-whole.txt"

    def fingerprint(self) -> str:
        """Changes with the steps, and with the text of a script of labkit's that a step runs."""
        digest = hashlib.sha256()
        for argument in (argument for step in self.steps for argument in step):
            script = HERE / argument
            digest.update(script.read_bytes() if script.is_file() else argument.encode())
        return digest.hexdigest()

    def _fault(self) -> str | None:
        if self._marker.read_text(encoding="utf-8", errors="replace") != self.fingerprint():
            return "was made by another version of labkit"
        if not self.python.is_file():
            return "is broken: its interpreter is gone"
        gone = [name for name in self.folders if not (self.site_packages / name).is_dir()]
        return f"is broken: {gone[0]} is gone from it" if gone else None

    def _lock(self):
        from filelock import FileLock
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BackendUnavailable(f"Cannot write in {home()}: {error.strerror}. Set LABKIT_HOME to "
                                     "a folder of yours.") from error
        return FileLock(self.folder.parent / f"{self.name}.lock")

    def _build(self, on_line: OnLine) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self._check_room()
        started = time.monotonic()
        try:
            with self.log.open("w", encoding="utf-8") as log:
                self._run_all(lambda line: _tell(line, log, on_line))
            self._marker.write_text(self.fingerprint(), encoding="utf-8")
        except BaseException as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            if isinstance(error, OSError):
                raise BackendUnavailable(self._no_room(error.strerror or str(error))) from error
            raise
        on_line(f"The {self.name} environment is ready ({time.monotonic() - started:.0f} s).")

    def _check_room(self) -> None:
        free = shutil.disk_usage(self.folder.parent).free
        if free < self.disk_bytes:
            raise BackendUnavailable(self._no_room(f"{size(free)} free"))

    def _no_room(self, found: str) -> str:
        return (f"No room for the {self.name} environment in {self.folder.parent} ({found}): it takes "
                f"{size(self.disk_bytes)}. Free that much, or set LABKIT_HOME to a folder with room.")

    def _run_all(self, say: OnLine) -> None:
        if self.note:
            say(self.note)
        say(f"Making the {self.name} environment in {self.folder}")
        options = [] if any("pip" in step for step in self.steps) else ["--without-pip"]
        venv = [HERE / "tethered.py", "-m", "venv", self.folder, *options]
        self._step([sys.executable, "-I", "-u", *map(str, venv)], say)
        for step in self.steps:
            self._step(self.command(*step), say)

    def _step(self, command: list[str], say: OnLine) -> None:
        code, tail = stream(command, say)
        if not code:
            return
        if any(sign in line for sign in FULL for line in tail):
            raise BackendUnavailable(self._no_room("the disk is full"))
        said = "\n".join(tail) or f"it ended with exit code {code} and said nothing"
        hint = "Is the network up? " if any(sign in said for sign in OFFLINE) else ""
        raise BackendUnavailable(f"The {self.name} environment could not be made. {hint}The last lines:\n"
                                 f"{said}\nAll of it: {self.log}")


def stream(command: list[str], say: OnLine, env: dict[str, str] | None = None) -> tuple[int, list[str]]:
    """Run a tethered command; `say` gets each line. Returns its exit code and its last lines.

    An exception, Ctrl-C included, ends the command and all it started before it goes on upwards.
    """
    tail: deque[str] = deque(maxlen=8)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, encoding="utf-8", errors="replace", start_new_session=True,
                          env=env) as process:
        try:
            for line in process.stdout:
                if not line.startswith("WARNING: "):
                    tail.append(line.rstrip())
                say(line.rstrip())
            return process.wait(), [line for line in tail if line]
        except BaseException:
            process.stdin.close()  # the tether
            process.wait()
            raise


def _tell(line: str, log, on_line: OnLine) -> None:
    log.write(f"{line}\n")
    log.flush()
    if line and not line.startswith("WARNING: "):
        on_line(line)


def pip_install(*packages: str) -> Step:
    return ("-m", "pip", "install", "--progress-bar", "off", *packages)
