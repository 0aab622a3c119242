"""The network guard: what it refuses, what it sees after the fact, and what it lets through."""
from __future__ import annotations

import socket
import subprocess
import sys
import threading
import urllib.request

import pytest

from labkit.errors import LabkitError
from labkit.safety import NetworkGuard, NetworkUsed
from labkit.safety.network import is_local, sealed

OUT = "192.0.2.1"  # reserved for documentation: nothing answers there


@pytest.fixture
def here():
    """A server on loopback; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: [server.accept() for _ in range(2)], daemon=True).start()
        yield server.getsockname()[1]


def udp():
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


@pytest.mark.parametrize("leave", [
    lambda: socket.create_connection((OUT, 80), 1), lambda: socket.getaddrinfo("example.org", 80),
    lambda: socket.gethostbyname("example.org"), lambda: udp().sendto(b"x", (OUT, 53)),
    lambda: udp().connect_ex((OUT, 53)), lambda: udp().sendmsg([b"x"], [], 0, (OUT, 53)),
    lambda: urllib.request.urlopen("http://example.org", timeout=1), lambda: socket.getnameinfo((OUT, 80), 0)])
def test_whatever_leaves_is_refused_and_makes_the_run_fail(leave):
    with pytest.raises(NetworkUsed), NetworkGuard() as network:
        leave()
    assert len(network.outside) >= 1 and not network.outside[0].left


def test_who_swallows_the_refusal_is_told_at_the_end():
    told = f"1 times something tried to leave this machine, first getaddrinfo to {OUT}"
    with pytest.raises(NetworkUsed, match=told), NetworkGuard() as network:
        try:
            socket.create_connection((OUT, 80), 1)
        except OSError:
            pass  # as a library does that only wants to send statistics
    assert network.outside[0].by.startswith("test_network.py:")


def test_loopback_passes_and_is_in_the_list(here):
    with NetworkGuard() as network:
        socket.create_connection(("127.0.0.1", here)).close()
        socket.create_connection(("localhost", here)).close()
    assert not network.outside and f"127.0.0.1:{here}" in str(network) and "0 of " in str(network)


def test_only_watching(here):
    with NetworkGuard(fail=False) as network, pytest.raises(NetworkUsed):
        socket.create_connection((OUT, 80), 1)
    assert "refused" in str(network)
    try:  # after it nothing is refused by us
        socket.create_connection((OUT, 80), 0.01)
    except NetworkUsed:
        pytest.fail("the guard stands no more")
    except OSError:
        pass


def test_an_error_of_the_block_is_not_lost():
    with pytest.raises(ValueError, match="mine"), NetworkGuard():
        raise ValueError("mine")


@pytest.mark.parametrize("address, local", [
    (("127.0.0.1", 1), True), (("127.9.9.9", 1), True), (("::1", 1, 0, 0), True), (("localhost", 1), True),
    ((b"localhost",), True), ("/tmp/socket", True), (None, True), (("0.0.0.0", 1), True),
    (("::ffff:127.0.0.1", 1), True), (("fe80::1%eth0", 1), False), (("10.0.0.1", 1), False),
    (("localhost.example.org", 1), False), (("2130706433x", 1), False), (("::ffff:8.8.8.8", 1), False)])
def test_which_addresses_are_here(address, local):
    assert is_local(address) is local


def test_a_child_that_holds_a_connection_is_seen(monkeypatch):
    """A fake list of connections: nothing outside can be reached from where tests run."""
    import psutil
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    real = psutil.Process.net_connections

    def with_one(process, kind="inet"):
        made = psutil._ntuples.pconn(3, 2, 1, (OUT, 5), (OUT, 443), "ESTABLISHED") if hasattr(psutil, "_ntuples") else \
            psutil._common.pconn(3, 2, 1, (OUT, 5), psutil._common.addr(OUT, 443), "ESTABLISHED")
        return [made] if process.pid == child.pid and standing.is_set() else real(process, kind)

    standing = threading.Event()
    monkeypatch.setattr(psutil.Process, "net_connections", with_one)
    try:
        with pytest.raises(NetworkUsed, match=f"open connection to {OUT}:443"), NetworkGuard() as network:
            standing.set()
    finally:
        child.communicate(b"\n")
    assert network.outside[0].left and str(child.pid) in network.outside[0].by


def test_a_sealed_command_reaches_nothing(here):
    try:
        inside = sealed([sys.executable, "-c", f"import socket; socket.create_connection(('127.0.0.1', {here}), 2)"])
    except LabkitError as error:
        pytest.skip(str(error))
    told = subprocess.run(inside, capture_output=True, text=True)
    assert told.returncode == 1 and "refused" in told.stderr     # its loopback is its own
    assert subprocess.run(sealed(["true"])).returncode == 0
