"""Refuse and count what Python code tries to send off this machine, while a block of code runs."""
from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager


class Refused(OSError):
    """A connection off this machine was tried while the network was closed."""


@contextmanager
def no_network() -> Iterator[list[str]]:
    """Yield the list of addresses that were tried and refused; loopback and local sockets still work.

    It sees Python's own sockets and name look-ups in this process. It does not see a C library that
    opens its own, nor other programs.
    """
    tried: list[str] = []
    kept = {name: getattr(socket.socket, name) for name in ("connect", "connect_ex", "sendto")}
    look_up = socket.getaddrinfo

    def guard(name):
        def method(self, *args):
            address = args[-1] if name == "sendto" else args[0]
            if isinstance(address, tuple):
                _refuse_unless_local(address[0], tried)
            return kept[name](self, *args)
        return method

    def guarded_look_up(host, *args, **kwargs):
        _refuse_unless_local(host, tried)
        return look_up(host, *args, **kwargs)

    for name in kept:
        setattr(socket.socket, name, guard(name))
    socket.getaddrinfo = guarded_look_up
    try:
        yield tried
    finally:
        for name, original in kept.items():
            setattr(socket.socket, name, original)
        socket.getaddrinfo = look_up


def bytes_sent() -> int:
    """Bytes that all programs together have sent through this machine's network cards, loopback apart."""
    import psutil

    local = {name for name, addresses in psutil.net_if_addrs().items()
             if any(address.address in ("127.0.0.1", "::1") for address in addresses)}
    cards = psutil.net_io_counters(pernic=True)
    return sum(count.bytes_sent for name, count in cards.items() if name not in local)


def _refuse_unless_local(host, tried: list[str]) -> None:
    if not _local(host):
        tried.append(str(host))
        raise Refused(f"The network is closed in this block; {host} was not contacted.")


def _local(host) -> bool:
    if host in (None, "", "localhost", b"localhost"):
        return True
    try:
        return ipaddress.ip_address(host if isinstance(host, str) else host.decode()).is_loopback
    except ValueError:
        return False
