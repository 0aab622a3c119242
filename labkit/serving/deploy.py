"""Deployments on this machine: `labkit serve` processes that outlive the command that started them.

Everything about one is in `home()/"deployments"/NAME`: what was wanted (deployment.json, written last: with it the
deployment is up), and a folder for each process with its state and its log.
"""
from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from labkit.backends.launch import OnLine, Server
from labkit.errors import BadRequest, LabkitError
from labkit.models.cache import atomic_file, home, shown
from labkit.serving import backup as backups
from labkit.serving import deployment as data
from labkit.serving import processes
from labkit.serving.app import listen
from labkit.serving.backup import Backup
from labkit.serving.deployment import Deployment
from labkit.serving.processes import Address, plan, ports, start_replica
from labkit.table import Shown, Table, size

STOP_S = 10.0


def up(path: str | Path, say: OnLine = print) -> Status:
    """Start what the file wants, and wait until all of it is healthy.

    Raises BadRequest for a file that is wrong, LabkitError when it is up already, a port is taken, the memory does
    not suffice or a process does not start. Then nothing of it runs.
    """
    wanted = data.read(path)
    folder = folder_of(wanted.name)
    with _lock(folder):
        if running(wanted.name):
            raise LabkitError(f"{wanted.name} is up already. End it first: labkit deploy down {wanted.name}")
        if wanted.kind == "distributed":
            from labkit.serving import ray_deploy
            ray_deploy.up(wanted, _key(wanted), say)
        else:
            for port in ports(wanted):
                _free(wanted, port)
            _check_room(wanted)
            _forget(folder)
            _start(wanted, folder, _key(wanted), say)
        _write(folder / "deployment.json", {**wanted.model_dump(mode="json"), "since": time.time()})
        for server in processes.found(folder):
            processes.keep(server)
    return status(wanted.name)


def down(target: str | Path, say: OnLine = print) -> int:
    """End a deployment, given by its file or its name, in good order; how many processes there were."""
    name = name_of(target)
    with _lock(folder_of(name)):
        known = known_as(name)
        if known and known.kind == "distributed":
            from labkit.serving import ray_deploy
            ended = ray_deploy.down(known)
        else:
            ended = len(running(name))
            for server in (one for _ in range(2) for one in running(name)):  # again, for what was just being started
                say(f"ending {server.name}")
                server.stop(STOP_S)
        (folder_of(name) / "deployment.json").unlink(missing_ok=True)
    return ended


def backup(target: str | Path, folder: Path | None = None) -> Backup:
    """Copy what a deployment keeps, its jobs and history, while it runs or not. Raises BackupRefused."""
    own = folder_of(name := name_of(target))
    kept = {path.relative_to(own).as_posix(): path for path in own.glob("*/*.sqlite")}
    return backups.backup(name, kept, folder)


def restore(folder: Path) -> Backup:
    """Give a deployment that is down what a backup holds; what it kept until now is moved aside.

    Raises BackupRefused for a backup that is not whole, LabkitError for a deployment that is up.
    """
    found = backups.read(folder)
    with _lock(own := folder_of(found.name)):
        if running(found.name):
            raise LabkitError(f"{found.name} is up. End it first: labkit deploy down {found.name}")
        for entry in found.files:
            for old in own.glob(f"{entry.name}*"):  # with its -wal and -shm, which belong to it
                if ".before-" not in old.name:
                    old.rename(old.with_name(f"{old.name}.before-{int(time.time())}"))
        return backups.restore(folder, own)


def running(name: str) -> list[Server]:
    """The processes of a deployment that run, the gateway first: it starts the others again when they end."""
    return processes.found(folder_of(name))


def known_as(name: str) -> Deployment | None:
    """What was wanted of a deployment that is up; None when it is not."""
    try:
        told = json.loads((folder_of(name) / "deployment.json").read_text(encoding="utf-8"))
        told.pop("since", None)
        return Deployment.model_validate(told)
    except (OSError, ValueError):  # none, or by another version of labkit
        return None


def names() -> list[str]:
    """Deployments of which something runs, or shall run."""
    folders = sorted((home() / "deployments").glob("*/"))
    return [f.name for f in folders if (f / "deployment.json").exists() or processes.found(f)]


def name_of(target: str | Path) -> str:
    """A deployment's name from its file or its name. Raises BadRequest."""
    if Path(target).is_file():
        return data.read(target).name
    if str(target) in names():
        return str(target)
    there = ", ".join(names()) or "none"
    raise BadRequest(f"There is no file {str(target)!r}, and no deployment of that name is up. Up: {there}.")


def folder_of(name: str) -> Path:
    return home() / "deployments" / name


# -- up ------------------------------------------------------------------------------------


def _lock(folder: Path):
    from filelock import FileLock, Timeout
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return FileLock(folder / "lock").acquire(timeout=0)
    except Timeout:
        raise LabkitError(f"Another command is at work on {folder.name}. Wait until it has ended.") from None


def _forget(folder: Path) -> None:
    """What an earlier deployment of this name left: it would be taken for this one's."""
    for name in ("deployment.json", "gateway/rollout.json"):
        (folder / name).unlink(missing_ok=True)


def _key(wanted: Deployment) -> str | None:
    if not wanted.key_env:
        return None
    if key := os.environ.get(wanted.key_env):
        return key
    raise BadRequest(f"key_env: the variable {wanted.key_env} is not set. Put the key into it, not into the file.")


def _free(wanted: Deployment, port: int) -> None:
    try:
        listen(wanted.host if port == wanted.port else "127.0.0.1", port).close()
    except LabkitError as error:
        last = f" to {ports(wanted)[-1]}" if wanted.gateway else ""
        raise LabkitError(f"{wanted.name} wants port {port}, and it is taken. It needs {wanted.port}{last}: give "
                          "another `port` in its file, or end what listens there.") from error


def _check_room(wanted: Deployment) -> None:
    from labkit.models.hardware import usable_memory
    need = sum(v.replicas * (v.memory_mb or 0) * 1e6 for v in (wanted, wanted.canary) if v)
    if need > (free := usable_memory()):
        raise LabkitError(f"{wanted.name} may take {size(need)} and {size(free)} are free. Take fewer replicas, or a "
                          "smaller memory_mb.")


def _start(wanted: Deployment, folder: Path, key: str | None, say: OnLine) -> None:
    started: list[Server] = []
    try:
        for place in plan(wanted):
            started.append(start_replica(wanted, place, folder, key, say))
        if wanted.gateway:
            from labkit.serving import gateway_process
            started.append(gateway_process.start(wanted, folder, key, say))
    except BaseException:  # Ctrl-C too
        for server in reversed(started):
            server.stop(2.0)
        raise


def _write(path: Path, value: Any) -> None:
    with atomic_file(path) as part:
        part.write_text(json.dumps(value), encoding="utf-8")


# -- status --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Process:
    """state: "ready", "no answer" or "ended". memory_bytes: RSS of all its processes."""

    name: str
    model: str
    url: str
    state: str
    memory_bytes: int
    up_s: float
    pid: int
    log: str


@dataclass(frozen=True, repr=False)
class Status(Shown):
    """A deployment as it is now. url: for clients. rollout: what the gateway says of the canary."""

    name: str
    url: str
    processes: tuple[Process, ...]
    rollout: str = ""
    missing: int = 0

    @property
    def ok(self) -> bool:
        return bool(self.processes) and not self.missing and all(p.state == "ready" for p in self.processes)

    def to_dict(self) -> dict[str, Any]:
        return {"ok": self.ok, **asdict(self)}

    def table(self) -> Table:
        rows = tuple((p.name, p.model, p.url, p.state, size(p.memory_bytes), f"{p.up_s / 60:.0f} min")
                     for p in self.processes)
        notes = [f"Clients use {self.url}/v1" if rows else f"{self.name} is not up.", self.rollout,
                 f"{self.missing} processes have ended." if self.missing else "",
                 f"Logs: {shown(Path(self.processes[0].log).parents[1])}" if rows else ""]
        return Table(("process", "model", "address", "state", "memory", "up for"), rows or (("-",) * 6,),
                     title=self.name, note="\n".join(filter(None, notes)))


def status(target: str | Path) -> Status:
    """How a deployment is, given by its file or its name."""
    name = name_of(target)
    wanted = known_as(name)
    if wanted and wanted.kind == "distributed":
        from labkit.serving import ray_deploy
        return ray_deploy.status(wanted)
    servers = running(name)
    rollout = folder_of(name) / "gateway" / "rollout.json"
    told = json.loads(rollout.read_text(encoding="utf-8"))["said"] if rollout.is_file() and servers else ""
    expected = (len(ports(wanted)) if wanted else 0)
    return Status(name, Address(wanted.host, wanted.port).url if wanted else "", tuple(map(_process, servers)), told,
                  max(0, expected - len(servers)))


def _process(server: Server) -> Process:
    return Process(server.name, server.model or "-", server.health_url.removesuffix("/health"),
                   "ready" if server.healthy(2.0) else "no answer", processes.memory(server),
                   processes.age_s(server), server.pid, str(server.log))
