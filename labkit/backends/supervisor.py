"""Stands between a server and the processes that want it, so that none is ever left behind.

Run as a script of its own, by labkit.backends.managed. The first line on stdin says what to run; after
that stdin is a pipe that the starting process holds open, so its end, even by kill -9, is seen at once.
The server goes, with all its children, when nobody wants it any more. Knows no labkit: the standard
library and psutil only.

Who wants a server is a folder of empty files, one for each process, named `pid@started`; the file `nobody`
stands for whoever said `labkit backend start`.
"""
from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

NOBODY = "nobody"
POLL_S = 0.25


def same(pid: int, started: float) -> bool:
    """Whether a number still stands for this very process: the system gives numbers out again."""
    try:
        return abs(psutil.Process(pid).create_time() - started) < 0.5
    except psutil.Error:
        return False


def alive(pid: int, started: float) -> bool:
    """Whether this very process runs."""
    try:
        return same(pid, started) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def owner(pid: int) -> str:
    """The name under which a process stands in the folder of owners."""
    return f"{pid}@{psutil.Process(pid).create_time():.2f}"


def wanted(owners: Path, gone: str = "") -> bool:
    """Whether anybody still wants the server; `gone` has said that it does not."""
    names = {path.name for path in owners.iterdir()} - {gone}
    return NOBODY in names or any(alive(int(pid), float(at)) for pid, _, at in
                                  (name.partition("@") for name in names if "@" in name))


def tree(pid: int, started: float) -> list[psutil.Process]:
    """The process, its children, and what else is left of its session when it has itself gone."""
    found = []
    if alive(pid, started):
        process = psutil.Process(pid)
        found = [process, *process.children(recursive=True)]
    elif psutil.pid_exists(pid) and not same(pid, started):
        return []  # the number is somebody else's now, and so may the session be
    if hasattr(os, "getsid"):
        found += [p for p in psutil.process_iter() if p not in found and _session(p.pid) == pid]
    return found


def kill_tree(pid: int, started: float, grace_s: float = 5.0) -> None:
    """End a process and all below it: asked first, killed after `grace_s` seconds. Again does nothing."""
    for send in ("terminate", "kill"):
        for process in (left := _tree_or_none(pid, started)):
            try:
                getattr(process, send)()
            except psutil.Error:
                pass
        end = time.monotonic() + grace_s
        # Not psutil.wait_procs: in a container nobody may collect the orphans, and a zombie is gone enough.
        while any(map(_runs, left)) and time.monotonic() < end:
            time.sleep(0.02)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _tree_or_none(pid: int, started: float) -> list[psutil.Process]:
    try:
        return tree(pid, started)
    except psutil.Error:  # it ended while we looked
        return []


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _die_with_parent() -> None:
    """Linux: be killed when the supervisor is, whatever kills it."""
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG


class _Log(threading.Thread):
    """What the server says, into a file; one older file is kept, and neither grows beyond `limit` bytes."""

    def __init__(self, source, path: Path, limit: int):
        super().__init__(daemon=True)
        self.source, self.path, self.limit = source, path, limit
        self.start()

    def run(self) -> None:
        file = self.path.open("ab")
        while data := self.source.read1(65536):
            if file.tell() > self.limit:
                file.close()
                try:
                    os.replace(self.path, self.path.with_name(self.path.name + ".1"))
                except OSError:  # Windows: somebody reads it. Start over rather than grow.
                    os.truncate(self.path, 0)
                file = self.path.open("ab")
            file.write(data)
            file.flush()
        file.close()


def _start(spec: dict) -> subprocess.Popen:
    windows = sys.platform == "win32"
    flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW if windows else 0
    return subprocess.Popen(
        spec["command"], env=spec["env"], cwd=spec["folder"], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=not windows, creationflags=flags,
        preexec_fn=_die_with_parent if sys.platform == "linux" else None)


def main() -> None:
    spec = json.loads(sys.stdin.buffer.readline())
    try:
        server = _start(spec)
    except OSError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return
    started = psutil.Process(server.pid).create_time()
    print(json.dumps({"pid": server.pid, "started": started,
                      "supervisor_started": psutil.Process().create_time()}), flush=True)
    folder, look, gone = Path(spec["folder"]), threading.Event(), []
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: (stopped.set(), look.set()))

    def until_the_parent_ends() -> None:
        while os.read(0, 4096):
            pass
        gone.append(spec["parent"])
        look.set()

    _Log(server.stdout, folder / "server.log", spec["log_bytes"])
    if spec["parent"]:
        threading.Thread(target=until_the_parent_ends, daemon=True).start()
    while server.poll() is None and not stopped.is_set() and wanted(folder / "owners", *gone):
        look.wait(POLL_S)
        look.clear()
    kill_tree(server.pid, started)
    server.wait()


if __name__ == "__main__":
    main()
