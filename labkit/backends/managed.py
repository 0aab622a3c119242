"""Servers that labkit runs: started once, found again, watched, and gone when nobody wants them.

A server belongs to the processes that connected to it and ends with the last of them, even when they are
killed; one started by `labkit backend start` belongs to nobody and stays until `labkit backend stop`.
`labkit.backends.supervisor` sees to both. Each server has a folder under `home()/"servers"/NAME`, named
after what was asked for, so that the same wish finds the same server, from any process.
"""
from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from labkit.backends import supervisor
from labkit.backends.launch import Launch, OnLine, Server, read_state, tail
from labkit.errors import BackendUnavailable, BadRequest
from labkit.models.cache import home
from labkit.table import Table, size


def say(line: str) -> None:
    """Tell whoever waits: under the cell in a notebook, beside the output in a terminal."""
    print(line, file=sys.stdout if "ipykernel" in sys.modules else sys.stderr, flush=True)


def run_server(name: str, command: Sequence[str], *, health_url: str, model: str = "",
               env: Mapping[str, str] | None = None, port: int | None = None, owner: str = "me",
               ready_timeout_s: float = 300.0, on_line: OnLine | None = None) -> Server:
    """The server that `command` starts, found if it runs, started and waited for if not.

    command, health_url: "{port}" in them stands for the port: the one asked for, or, where that is
        taken or None, a free one. env: added to this process's variables.
    owner: "me": it ends with this process, and with every other that asked for it; "nobody": it stays.
    on_line: told what happens meanwhile, in short lines.

    Raises BackendUnavailable, with the end of its log, when it ends or is not ready in time. Nothing
    is left of it then but the log.
    """
    say = on_line or (lambda line: None)
    wish = json.dumps([list(command), dict(env or {})])
    folder = home() / "servers" / name / hashlib.sha256(wish.encode()).hexdigest()[:10]
    _owner_file(folder, owner).touch()
    with _lock(folder, say, ready_timeout_s):
        if (found := read_state(folder)) and (found.healthy() or found.healthy(15.0)):
            return found
        if found:
            say(f"{name} does not answer any more: starting it again" if found.alive else f"{name} had ended")
            found.stop()
        return Launch(name, model, command, health_url, env, folder, owner, ready_timeout_s, say).run(port)


def start(name: str, model: str | None = None, port: int | None = None, on_line: OnLine = print) -> Server:
    """Start the server of a backend, to stay until `stop(name)`. Raises BackendUnavailable or BadRequest."""
    from labkit.backends import registry
    kind = registry.backend_class(name)
    if not hasattr(kind, "server"):
        raise BadRequest(f"{name} has no server that labkit starts. Those that have: vllm, mlx.")
    return kind.server(model, port=port, owner=supervisor.NOBODY, on_line=on_line)


def stop(name: str) -> int:
    """Stop every server of a backend; how many there were. Again does nothing and returns 0."""
    found = list(running(name))
    for server in found:
        server.stop()
    return len(found)


def running(name: str | None = None) -> Iterator[Server]:
    """The servers that run, of one backend or of all."""
    for path in sorted((home() / "servers").glob(f"{name or '*'}/*/state.json")):
        server = read_state(path.parent)
        if server and server.alive:
            yield server
        elif server:
            path.unlink(missing_ok=True)  # it ended by itself


def status() -> Table:
    """What runs now: model, address, state, memory (of all its processes), age, and who wants it."""
    rows = tuple(_row(server) for server in running())
    return Table(("server", "model", "address", "state", "memory", "up for", "stops"), rows or (("-",) * 7,),
                 note="" if rows else "No server runs. Start one with: labkit backend start vllm")


def logs(name: str, lines: int = 50, follow: bool = False) -> Iterator[str]:
    """The last lines that a backend's newest server said; with `follow`, those to come until it ends.

    Raises BackendUnavailable when no server of that name ever ran here.
    """
    found = sorted((home() / "servers" / name).glob("*/server.log"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise BackendUnavailable(f"No server of {name} ever ran here. Start one with: labkit backend start {name}")
    yield from tail(found[-1], lines)
    if follow:
        yield from _follow(found[-1])


def _owner_file(folder: Path, owner: str) -> Path:
    owners = folder / "owners"
    owners.mkdir(parents=True, exist_ok=True)
    for path in owners.iterdir():  # of processes that ended long ago
        pid, _, at = path.name.partition("@")
        if at and not supervisor.alive(int(pid), float(at)):
            path.unlink(missing_ok=True)
    return owners / (supervisor.NOBODY if owner == supervisor.NOBODY else supervisor.owner(os.getpid()))


def _lock(folder: Path, say: OnLine, timeout_s: float):
    from filelock import FileLock, Timeout
    lock = FileLock(folder / "start.lock")
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        say("another process is starting it: waiting")
    try:
        return lock.acquire(timeout=2 * timeout_s)
    except Timeout:
        raise BackendUnavailable(f"Another process has been starting {folder.parent.name} for {2 * timeout_s:.0f} s. "
                                 f"Run: labkit backend stop {folder.parent.name}, and connect again.") from None


def _row(server: Server) -> tuple[str, ...]:
    import psutil
    memory = 0
    for process in supervisor.tree(server.pid, server.started):
        with suppress(psutil.Error):
            memory += process.memory_info().rss
    nobody = (server.log.parent / "owners" / supervisor.NOBODY).exists()
    return (server.name, server.model, server.base_url, "ready" if server.healthy(2.0) else "loading or stuck",
            size(memory), f"{(time.time() - server.started) / 60:.0f} min",
            f"on: labkit backend stop {server.name}" if nobody else "with its last user")


def _follow(log: Path) -> Iterator[str]:
    with log.open(encoding="utf-8", errors="replace") as file:
        file.seek(0, os.SEEK_END)
        while (line := file.readline()) or any(server.log == log for server in running(log.parent.parent.name)):
            if line:
                yield line.rstrip("\n")
            else:
                time.sleep(0.2)
