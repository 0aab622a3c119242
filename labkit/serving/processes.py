"""The processes of a deployment: each in a folder of its own with its state and its log, and none without an owner.

Until a deployment is complete they belong to the process that starts them, and end with it, however it ends.
"""
from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from labkit.backends import supervisor
from labkit.backends.launch import Launch, OnLine, Server, read_state, tail
from labkit.errors import BackendUnavailable, LabkitError
from labkit.serving.deployment import Deployment, Version
from labkit.table import size

READY_S = 120.0
KEY = "LABKIT_API_KEY"


class _Start(Launch):
    """A start at a port that cannot be exchanged for another."""

    def run(self, port: int) -> Server:
        server = self._launch(port)
        try:
            self._wait(server)
            return server
        except BaseException:  # Ctrl-C too must leave nothing behind
            server.stop(grace_s=2.0)
            raise

    def _failed(self, server: Server, what: str) -> str:
        said = "\n".join(f"  {line}" for line in tail(server.log, 15)) or "  (nothing)"
        return f"{self.name} {what}. The last it said:\n{said}"


@dataclass(frozen=True)
class Address:
    host: str
    port: int

    @property
    def url(self) -> str:
        """Where this machine reaches it: an open address is no address to ask."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host.strip("[]"), self.host.strip("[]"))
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def start(command: Sequence[str], folder: Path, at: Address, model: str, key: str | None, say: OnLine) -> Server:
    """Start a server and wait until it is healthy. It ends with this process, until keep() was called.

    Raises LabkitError, with the end of its log, when it ends or is not ready in time. Nothing is left of it then.
    """
    owners = folder / "owners"
    owners.mkdir(parents=True, exist_ok=True)
    for old in owners.iterdir():
        old.unlink(missing_ok=True)
    (owners / (owner := supervisor.owner(os.getpid()))).touch()
    name = f"{folder.parent.name} {folder.name}"
    command = [sys.executable, "-P", "-m", *command]
    launch = _Start(name, model, command, f"{at.url}/health", {KEY: key or ""}, folder, owner, READY_S, say)
    try:
        return launch.run(at.port)
    except BackendUnavailable as error:
        raise LabkitError(str(error)) from error


def serve_command(wanted: Deployment, version: Version, at: Address, folder: Path) -> list[str]:
    """`labkit serve` for a version. The key is not in it: other users of a machine see command lines."""
    limits = version.limits
    command = ["labkit", "serve", "--backend", version.backend, "--host", at.host, "--port", str(at.port),
               "--at-once", str(limits.at_once), "--waiting", str(limits.waiting), "--deadline", str(limits.deadline)]
    options = {"--model": version.model, "--rate": limits.rate, "--agent": wanted.agent, "--alerts": wanted.alerts,
               "--history": folder / "history.sqlite" if wanted.history else None,
               "--jobs": folder / "jobs.sqlite" if wanted.jobs else None}
    for option, value in options.items():
        command += [option, str(value)] if value else []
    return command


@dataclass(frozen=True)
class Place:
    """A replica: its version, "stable" or "canary", the folder of its state, and its address."""

    version: str
    folder: str
    at: Address

    def version_of(self, wanted: Deployment) -> Version:
        return wanted.canary if self.version == "canary" else wanted


def ports(wanted: Deployment) -> list[int]:
    """The ports it takes: the clients' first, then, behind a gateway, those of the replicas, the canary's last."""
    replicas = wanted.replicas + (wanted.canary.replicas if wanted.canary else 0)
    return [wanted.port + i for i in range(replicas + 1 if wanted.gateway else 1)]


def plan(wanted: Deployment) -> list[Place]:
    """Where its replicas are."""
    if not wanted.gateway:
        return [Place("stable", "replica-1", Address(wanted.host, wanted.port))]
    versions = ["stable"] * wanted.replicas + ["canary"] * (wanted.canary.replicas if wanted.canary else 0)
    return [Place(version, f"{'replica' if version == 'stable' else version}-{i}", Address("127.0.0.1", port))
            for i, (version, port) in enumerate(zip(versions, ports(wanted)[1:], strict=True), start=1)]


def start_replica(wanted: Deployment, place: Place, folder: Path, key: str | None, say: OnLine) -> Server:
    """Start a replica of the deployment in `folder`. Raises LabkitError when it does not start or is too large."""
    version, own = place.version_of(wanted), folder / place.folder
    model = wanted.agent or version.model or f"{version.backend}'s own"
    own.mkdir(parents=True, exist_ok=True)
    server = start(serve_command(wanted, version, place.at, own), own, place.at, Path(model).name, key, say)
    taken = memory(server)
    if version.memory_mb and taken > version.memory_mb * 1e6:
        server.stop(2.0)
        raise LabkitError(f"{server.name} takes {size(taken)}, and memory_mb allows {version.memory_mb:g}. Give it "
                          "more, or a smaller model.")
    return server


def keep(server: Server) -> None:
    """It belongs to nobody from now on, and stays when this process ends."""
    (server.log.parent / "owners" / supervisor.NOBODY).touch()


def found(folder: Path) -> list[Server]:
    """The processes of a deployment that run: the gateway first, then the replicas."""
    servers = (read_state(path.parent) for path in sorted(folder.glob("*/state.json")))
    return sorted((server for server in servers if server and server.alive), key=lambda s: (s.model != "", s.port))


def memory(server: Server) -> int:
    """Bytes in memory (RSS) of a server's processes; of a gateway, without the replicas that it started again."""
    import psutil
    own = supervisor.tree(server.pid, server.started)
    total = 0
    for process in own if server.model else own[:1]:
        with suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def age_s(server: Server) -> float:
    return max(0.0, time.time() - server.started)


