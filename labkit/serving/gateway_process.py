"""The gateway of a deployment in a process of its own: it also starts replicas again that have died.

What it knows of the canary is in rollout.json beside its log, for `labkit deploy status`.
"""
from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from pathlib import Path

from labkit.backends.launch import OnLine, Server, read_state
from labkit.errors import LabkitError
from labkit.models.cache import atomic_file
from labkit.serving import processes
from labkit.serving.app import listen
from labkit.serving.deployment import Deployment
from labkit.serving.gateway import Gateway, make_server
from labkit.serving.processes import KEY, Address, Place
from labkit.serving.replica_pool import FALLBACK, Replica
from labkit.serving.rollout import Rollout

LOOK_S = 1.0
REST_S = 10.0  # after a replica that would not start
_log = logging.getLogger("labkit.serving.gateway")


def start(wanted: Deployment, folder: Path, key: str | None, say: OnLine) -> Server:
    """Start the gateway of replicas that run. Raises LabkitError."""
    own = folder / "gateway"
    own.mkdir(parents=True, exist_ok=True)
    with atomic_file(own / "wanted.json") as part:
        part.write_text(wanted.model_dump_json(), encoding="utf-8")
    at = Address(wanted.host, wanted.port)
    return processes.start(["labkit.serving.gateway_process", str(own / "wanted.json")], own, at, "", key, say)


def made(wanted: Deployment, key: str | None) -> Gateway:
    """The gateway of a deployment. The keys of its fallbacks come from their variables."""
    own = [Replica(place.at.url, place.version) for place in processes.plan(wanted)]
    others = [Replica(other.url.rstrip("/").removesuffix("/v1"), FALLBACK, other.model,
                      os.environ.get(other.key_env or "")) for other in wanted.fallback]
    return Gateway([*own, *others], Rollout(wanted.canary), [wanted.name], key, wanted.limits.deadline + 5)


class Caretaker(threading.Thread):
    """Keeps rollout.json, and starts replicas again that have died."""

    def __init__(self, wanted: Deployment, gateway: Gateway, folder: Path):
        super().__init__(daemon=True, name="labkit caretaker")
        self.wanted, self.gateway, self.folder = wanted, gateway, folder
        self._told, self._not_before = "", {}

    def run(self) -> None:
        while True:
            self._tell()
            for place in processes.plan(self.wanted):
                if self._dead(place):
                    self._restart(place)
            time.sleep(LOOK_S)

    def _tell(self) -> None:
        told = json.dumps(self.gateway.shown())
        if told != self._told:
            try:
                with atomic_file(self.folder / "gateway" / "rollout.json") as part:
                    part.write_text(told, encoding="utf-8")
                self._told = told
            except OSError as error:  # a full disk, or on Windows a reader; the next look tries again
                _log.warning("rollout.json is not written: %s", error)

    def _dead(self, place: Place) -> bool:
        if place.version not in self.gateway.rollout.usable():
            return False
        server = read_state(self.folder / place.folder)
        return (server is None or not server.alive) and time.monotonic() >= self._not_before.get(place.folder, 0.0)

    def _restart(self, place: Place) -> None:
        _log.warning("%s has ended: starting it again", place.folder)
        try:
            server = processes.start_replica(self.wanted, place, self.folder, self.gateway.key, _log.warning)
            processes.keep(server)  # it outlives the gateway, like the others
        except LabkitError as error:
            _log.warning("%s", error)
            self._not_before[place.folder] = time.monotonic() + REST_S


def main(file: Path) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    wanted = Deployment.model_validate_json(file.read_text(encoding="utf-8"))
    gateway = made(wanted, os.environ.get(KEY) or None)
    with listen(wanted.host, wanted.port) as listening:
        Caretaker(wanted, gateway, file.parents[1]).start()
        make_server(gateway).run(sockets=[listening])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
