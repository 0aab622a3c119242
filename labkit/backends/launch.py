"""One server process: its state on disk, its start, and waiting until it answers."""
from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from labkit.backends import supervisor
from labkit.errors import BackendUnavailable
from labkit.models.cache import atomic_file

LOG_BYTES = 1_000_000  # of each of the two log files a server may have
_FOREIGN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "MPLBACKEND")  # of this process, wrong for another Python
_TAKEN = re.compile(r"address already in use|errno 98|errno 48|10048|port .{0,20} in use", re.IGNORECASE)
OnLine = Callable[[str], object]


@dataclass(frozen=True)
class Server:
    """A running server. `started` is the process's own start time (s since 1970), `log` what it says."""

    name: str
    model: str
    base_url: str
    health_url: str
    port: int
    pid: int
    started: float
    log: Path
    supervisor: int
    supervisor_started: float

    @property
    def alive(self) -> bool:
        """Whether the process runs; it may still be loading, or stuck."""
        return supervisor.alive(self.pid, self.started)

    def healthy(self, timeout_s: float = 5.0) -> bool:
        """Whether it answers at its health address."""
        return self.alive and _answers(self.health_url, timeout_s)

    def stop(self, grace_s: float = 10.0) -> None:
        """End it with all its children: asked first, killed after `grace_s` seconds. Again does nothing."""
        supervisor.kill_tree(self.pid, self.started, grace_s)
        supervisor.kill_tree(self.supervisor, self.supervisor_started, 2.0)
        _state(self.log.parent).unlink(missing_ok=True)
        (self.log.parent / "owners" / supervisor.NOBODY).unlink(missing_ok=True)


class Launch:
    """One start: processes, state, and waiting until the server answers."""

    def __init__(self, name, model, command, health_url, env, folder, owner, timeout_s, say):
        self.name, self.model, self.command, self.health_url = name, model, list(command), health_url
        self.folder, self.owner, self.timeout_s, self.say = folder, owner, timeout_s, say
        inherited = {key: value for key, value in os.environ.items() if key not in _FOREIGN}
        self.env = {**inherited, **(env or {})}

    def run(self, port: int | None) -> Server:
        self.say(f"starting {self.name}")
        server = self._launch(_free_port(port, self.say))
        try:
            self._wait(server)
        except BaseException as error:  # Ctrl-C too must leave nothing behind
            server.stop(grace_s=2.0)
            if isinstance(error, BackendUnavailable) and _TAKEN.search("\n".join(tail(server.log, 50))) and port != 0:
                self.say(f"port {server.port} was taken meanwhile: trying another")
                return self.run(0)
            raise
        return server

    def _launch(self, port: int) -> Server:
        for old in self.folder.glob("server.log*"):
            old.unlink(missing_ok=True)
        command = [part.replace("{port}", str(port)) for part in self.command]
        told, process = self._supervise(command)
        health_url = self.health_url.replace("{port}", str(port))
        server = Server(self.name, self.model, f"http://127.0.0.1:{port}/v1", health_url, port, told["pid"],
                        told["started"], self.folder / "server.log", process.pid, told["supervisor_started"])
        with atomic_file(_state(self.folder)) as part:
            part.write_text(json.dumps({**asdict(server), "log": ""}), encoding="utf-8")
        return server

    def _supervise(self, command: list[str]) -> tuple[dict, subprocess.Popen]:
        windows = sys.platform == "win32"
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW if windows else 0
        process = subprocess.Popen([sys.executable, "-P", supervisor.__file__], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                   start_new_session=not windows, creationflags=flags)
        mine = self.owner != supervisor.NOBODY
        spec = {"command": command, "env": self.env, "folder": str(self.folder), "log_bytes": LOG_BYTES,
                "parent": supervisor.owner(os.getpid()) if mine else ""}
        process.stdin.write(json.dumps(spec).encode() + b"\n")
        process.stdin.flush()
        with process.stdout as answers:
            told = json.loads(answers.readline() or '{"error": "its supervisor ended at once"}')
        if not mine:
            process.stdin.close()
        # Nobody else waits for it, and a process nobody waits for stays behind as a zombie.
        threading.Thread(target=process.wait, daemon=True).start()
        if "error" in told:
            raise BackendUnavailable(f"{self.name} could not be started: {told['error']}. "
                                     f"Run: labkit backend install {self.name}")
        return told, process

    def _wait(self, server: Server) -> None:
        began = said = time.monotonic()
        while not server.healthy(2.0):
            waited = time.monotonic() - began
            if not server.alive:
                raise BackendUnavailable(self._failed(server, f"ended after {waited:.0f} s, before it was ready"))
            if waited > self.timeout_s:
                raise BackendUnavailable(self._failed(server, f"was not ready after {waited:.0f} s"))
            if time.monotonic() - said >= 10:
                said = time.monotonic()
                self.say(f"{self.name} is loading, {waited:.0f} s so far")
            time.sleep(0.1)
        self.say(f"{self.name} is ready after {time.monotonic() - began:.0f} s, at {server.base_url}")

    def _failed(self, server: Server, what: str) -> str:
        said = "\n".join(f"  {line}" for line in tail(server.log, 15)) or "  (nothing)"
        return (f"{self.name} {what}. The last it said:\n{said}\nAll of it: labkit backend logs {self.name}. "
                f"When its environment is broken: labkit backend install {self.name}")


def _state(folder: Path) -> Path:
    return folder / "state.json"


def read_state(folder: Path) -> Server | None:
    try:
        known = json.loads(_state(folder).read_text(encoding="utf-8"))
        return Server(**{**known, "log": folder / "server.log"})
    except (OSError, ValueError, TypeError):  # none, or by another version of labkit
        return None


def _free_port(wanted: int | None, say: OnLine) -> int:
    for port in (wanted or 0, 0):
        with socket.socket() as probe:
            if sys.platform != "win32":  # there it means the opposite
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                say(f"port {port} is taken: using another")
                continue
            return probe.getsockname()[1]
    raise BackendUnavailable("No port is free on 127.0.0.1. Stop a program that listens on one.")


def _answers(url: str, timeout_s: float) -> bool:
    from urllib.request import ProxyHandler, build_opener
    open_directly = build_opener(ProxyHandler({})).open  # this machine is never behind a proxy
    with suppress(OSError, ValueError), open_directly(url, timeout=timeout_s) as answer:
        return answer.status == 200
    return False


def tail(log: Path, lines: int) -> list[str]:
    """The last lines of a server's log, the older file included."""
    parts = (path.read_text(encoding="utf-8", errors="replace")
             for path in (log.with_name(log.name + ".1"), log) if path.is_file())
    return "".join(parts).splitlines()[-lines:] if lines else []
