"""A guard that makes a run fail if anything tries to leave this machine, and the proof: a list of all that was tried.

    with NetworkGuard() as network:
        agent.run("…")
    network                    # every connection and look-up that was tried; raises NetworkUsed at the end if any left

Three witnesses. Python's own audit events (PEP 578) see every connect, send and look-up of Python code in this process
before it happens, and refuse what is not loopback. The system's list of open connections, read every 50 ms, sees C
libraries and child programs, after the fact. And the network cards count what all programs sent together.

What they cannot see: a C library's single datagram between two looks; a child that has ended, or that another program
started for us (a daemon); and a proxy on loopback that passes things on. `sealed(command)` leaves nothing to see: on
Linux it runs a command in a network namespace that has no way out.
"""
from __future__ import annotations

import ipaddress
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from labkit.errors import LabkitError
from labkit.table import Shown, Table

LOOK_S = 0.05
_ADDRESSED = {"socket.connect", "socket.sendto", "socket.sendmsg"}   # (socket, address)
_LOOKED_UP = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"}  # (host, …)
_HERE = {"", "localhost", "localhost.localdomain", "ip6-localhost"}


class NetworkUsed(LabkitError, OSError):
    """Something tried to leave this machine while a NetworkGuard stood."""


@dataclass(frozen=True)
class Attempt:
    """after_s: since the guard stood. by: the witness, or the file and line. left: whether it got out."""

    after_s: float
    what: str
    target: str
    by: str
    local: bool
    left: bool = False

    @property
    def verdict(self) -> str:
        return "here" if self.local else "LEFT" if self.left else "refused"


class NetworkGuard(Shown):
    """`attempts`, in their order. fail=False only watches and refuses, and raises nothing at the end."""

    def __init__(self, fail: bool = True):
        self.fail, self.attempts = fail, []
        self.sent_bytes = 0  # by all programs of this machine, through its cards, while the guard stood
        self._seen: set[tuple] = set()
        self._began, self._ended = 0.0, threading.Event()

    @property
    def outside(self) -> list[Attempt]:
        """Those whose target is not this machine."""
        return [attempt for attempt in self.attempts if not attempt.local]

    def __enter__(self) -> NetworkGuard:
        _install()
        self._began, self._sent = time.monotonic(), _sent()
        self._look(note=False)  # what was open before is not this run's
        self._looking = threading.Thread(target=self._look_on, daemon=True, name="network guard")
        self._looking.start()
        _standing.append(self)
        return self

    def __exit__(self, kind, error, trace) -> None:
        _standing.remove(self)
        self._ended.set()
        self._looking.join()
        self._look()
        self.sent_bytes = _sent() - self._sent
        if self.fail and self.outside and not isinstance(error, NetworkUsed):
            first = self.outside[0]
            raise NetworkUsed(f"{len(self.outside)} times something tried to leave this machine, first {first.what} "
                              f"to {first.target} ({first.by}).") from error

    def table(self) -> Table:
        rows = tuple((f"{a.after_s:.2f}", a.what, a.target, a.by, a.verdict) for a in self.attempts)
        note = (f"{len(self.outside)} of {len(self.attempts)} outside this machine. The network cards of the whole "
                f"machine sent {self.sent_bytes} bytes meanwhile.")
        return Table(("after, s", "what", "to", "by", "verdict"), rows, note=note)

    def see(self, what: str, target: str, local: bool) -> None:
        """An event of Python's own, before it happens. Raises NetworkUsed for one that leaves."""
        self._note(what, target, _where(), local)
        if not local:
            raise NetworkUsed(f"{what} to {target} was refused: the network guard lets nothing leave this machine.")

    def _note(self, what: str, target: str, by: str, local: bool, left: bool = False) -> None:
        self.attempts.append(Attempt(time.monotonic() - self._began, what, target, by, local, left))

    def _look_on(self) -> None:
        while not self._ended.wait(LOOK_S):
            self._look()

    def _look(self, note: bool = True) -> None:
        for program, address in _connections():
            if (program, address) not in self._seen:
                self._seen.add((program, address))
                if note:
                    self._note("open connection", f"{address[0]}:{address[1]}", program, False, left=True)


_standing: list[NetworkGuard] = []


@cache
def _install() -> None:
    """One hook for the life of the process: Python cannot take one back. It does nothing while no guard stands."""
    sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple) -> None:
    if not _standing or not event.startswith("socket."):
        return
    if event in _ADDRESSED:
        address = arguments[1]
    elif event in _LOOKED_UP:
        address = arguments[0] if event == "socket.getnameinfo" else (arguments[0],)
        address = address[0] if isinstance(address[0], tuple) else address
    else:
        return
    local, target = is_local(address), _shown(address)
    for guard in tuple(_standing):
        guard.see(event.removeprefix("socket."), target, local)


def is_local(address: Any) -> bool:
    """Whether a socket's address can be reached without leaving: loopback, a local socket, no address at all."""
    if not isinstance(address, tuple):
        return True  # a path: AF_UNIX; None: a socket that is connected, which was seen then
    host = address[0].decode("ascii", "replace") if isinstance(address[0], bytes) else str(address[0] or "")
    if host.lower().rstrip(".") in _HERE:
        return True
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return ip.is_loopback or ip.is_unspecified or bool(getattr(ip, "ipv4_mapped", None) and ip.ipv4_mapped.is_loopback)


def sealed(command: Sequence[str]) -> list[str]:
    """The command, to be run with no network but a loopback of its own. Raises LabkitError where that cannot be."""
    unshare = shutil.which("unshare")
    inside = [unshare or "", "--map-root-user", "--net", "--"]
    if not unshare or subprocess.run([*inside, "true"], capture_output=True).returncode:
        raise LabkitError("This machine cannot seal a command: it needs Linux, unshare, and user namespaces. Take a "
                          "container without a network (docker run --network none) instead.")
    up = 'ip link set lo up 2>/dev/null; exec "$@"'
    return [*inside, "sh", "-c", up, "sh", *command]


def _connections() -> set[tuple[str, tuple[str, int]]]:
    """(program, remote address) of this process and its children, where that is not this machine."""
    import psutil
    found = set()
    try:
        mine = psutil.Process()
        for process in (mine, *mine.children(recursive=True)):
            try:
                found |= {(f"{process.name()} ({process.pid})", tuple(c.raddr))
                          for c in process.net_connections("inet") if c.raddr and not is_local(tuple(c.raddr))}
            except psutil.Error:  # it has ended, or is another user's
                continue
    except psutil.Error:
        return found
    return found


def _sent() -> int:
    """Bytes that left through the cards, loopback apart, of all programs."""
    import psutil
    local = {name for name, addresses in psutil.net_if_addrs().items()
             if any(address.address in ("127.0.0.1", "::1") for address in addresses)}
    return sum(card.bytes_sent for name, card in psutil.net_io_counters(pernic=True).items() if name not in local)


def _where() -> str:
    """The file and line, outside Python's own library, that an event came from."""
    frame, library = sys._getframe(3), str(Path(threading.__file__).parent)
    while frame.f_back and frame.f_code.co_filename.startswith(library) \
            and "site-packages" not in frame.f_code.co_filename:
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def _shown(address: Any) -> str:
    if not isinstance(address, tuple):
        return str(address)
    return ":".join(str(part.decode() if isinstance(part, bytes) else part) for part in address[:2])
