"""Servers that labkit runs, on a tiny web server: started once, shared, and never left behind."""
from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

import labkit as lk
from labkit.backends import launch, managed, supervisor

SERVER = textwrap.dedent("""
    import http.server, os, subprocess, sys, time
    port, mode = int(sys.argv[1]), sys.argv[2]
    print("hello from the server", mode, flush=True)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    if mode == "crash":
        print("cannot load the weights", flush=True)
        sys.exit(3)
    if mode == "hang":
        time.sleep(600)
    if mode == "stubborn":
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if mode == "talk":
        for number in range(4000):
            print(number, "x" * 1000)
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200); self.end_headers(); self.wfile.write(b"ok")
        def log_message(self, *_): pass
    time.sleep(0.3)
    http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
""")


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    yield tmp_path
    managed.stop("tiny")
    assert gone(lambda: not processes(tmp_path)), processes(tmp_path)


@pytest.fixture
def script(tmp_path) -> Path:
    path = tmp_path / "server_script.py"
    path.write_text(SERVER, encoding="utf-8")
    return path


def run(script: Path, mode: str = "serve", **options) -> launch.Server:
    return managed.run_server("tiny", [sys.executable, str(script), "{port}", mode], model="a tiny one",
                              health_url="http://127.0.0.1:{port}/health", **{"ready_timeout_s": 20, **options})


def processes(folder: Path) -> list[psutil.Process]:
    """All that runs from this test's folder: the servers, and by their working folder also their children."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid() and (
                    str(folder) in " ".join(process.cmdline()) or process.cwd().startswith(str(folder))):
                found.append(process)
        except psutil.Error:
            continue
    return found


def gone(check, within_s: float = 8.0) -> bool:
    end = time.monotonic() + within_s
    while not (done := check()) and time.monotonic() < end:
        time.sleep(0.05)
    return done


def another_process(folder: Path, script: Path, then: str = "time.sleep(600)", **options) -> subprocess.Popen:
    """A Python of its own that starts the same server, says its pid, and goes on with `then`."""
    code = textwrap.dedent(f"""
        import sys, time
        from labkit.backends import managed
        server = managed.run_server("tiny", {[sys.executable, str(script), "{port}", "serve"]!r}, model="a tiny one",
                                    health_url="http://127.0.0.1:{{port}}/health", ready_timeout_s=20, **{options!r})
        print(server.pid, flush=True)
        {then}
    """)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True,
                            env={**os.environ, "LABKIT_HOME": str(folder)})


def test_it_starts_answers_and_stops_with_its_children(script, own_home):
    said = []
    server = run(script, on_line=said.append)
    assert server.healthy() and len(processes(own_home)) >= 2
    assert said[0] == "starting tiny" and "ready after" in said[-1]
    assert "hello from the server serve" in managed.logs("tiny")
    assert managed.stop("tiny") == 1 and not server.alive and not server.healthy()
    assert gone(lambda: not processes(own_home))
    assert managed.stop("tiny") == 0
    server.stop()  # again does nothing


def test_a_second_wish_finds_the_same_server_and_another_wish_another(script):
    first = run(script)
    assert run(script) == first
    assert run(script, "talk").pid != first.pid
    assert {server.pid for server in managed.running("tiny")} > {first.pid}
    assert managed.stop("tiny") == 2


def test_a_port_that_is_taken_is_not_used(script):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port, said = taken.getsockname()[1], []
        server = run(script, port=port, on_line=said.append)
        assert server.port != port and server.healthy() and f"port {port} is taken: using another" in said


def test_a_wanted_port_is_used(script):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert run(script, port=port).port == port


def test_a_crash_at_the_start_says_why_and_leaves_nothing(script, own_home):
    with pytest.raises(lk.BackendUnavailable, match="(?s)ended after .*cannot load the weights.*backend install"):
        run(script, "crash")
    assert gone(lambda: not processes(own_home)) and list(managed.running()) == []
    assert not list(own_home.glob("servers/**/state.json"))


def test_a_start_that_hangs_is_given_up(script, own_home):
    with pytest.raises(lk.BackendUnavailable, match=r"(?s)not ready after \d+ s.*hello from the server hang"):
        run(script, "hang", ready_timeout_s=4)
    assert gone(lambda: not processes(own_home))


def test_a_command_that_does_not_exist(script):
    with pytest.raises(lk.BackendUnavailable, match="could not be started.*backend install tiny"):
        managed.run_server("tiny", ["/no/such/program"], health_url="http://127.0.0.1:{port}/")


def test_a_server_that_does_not_want_to_stop_is_killed(script):
    server = run(script, "stubborn")
    server.stop(grace_s=0.5)
    assert not server.alive


def test_a_server_killed_from_outside_is_noticed_and_started_again(script, own_home):
    first = run(script)
    psutil.Process(first.pid).kill()
    assert gone(lambda: not processes(own_home)), "its child must go too"
    assert list(managed.running()) == []
    second = run(script)
    assert second.pid != first.pid and second.healthy()


def test_a_number_that_belongs_to_another_process_now_is_left_alone(script):
    server = run(script)
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        state = server.log.parent / "state.json"
        known, earlier = json.loads(state.read_text(encoding="utf-8")), server.started - 60
        state.write_text(json.dumps({**known, "pid": stranger.pid, "started": earlier}), encoding="utf-8")
        assert managed.stop("tiny") == 0
        supervisor.kill_tree(stranger.pid, earlier, 0.2)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
        server.stop()


@pytest.mark.parametrize("end", ["kill", "terminate", "exit"])
def test_it_ends_with_the_process_that_started_it(script, own_home, end):
    other = another_process(own_home, script, then="pass" if end == "exit" else "time.sleep(600)")
    assert int(other.stdout.readline()) in {process.pid for process in processes(own_home)}
    if end != "exit":
        getattr(other, end)()
    other.wait()
    assert gone(lambda: not processes(own_home))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_it_ends_even_with_its_supervisor(script, own_home):
    server = run(script)
    os.kill(server.supervisor, signal.SIGKILL)
    assert gone(lambda: not server.alive)
    managed.stop("tiny")
    assert list(managed.running()) == []
    for left in processes(own_home):  # the tiny server's child watches nobody; what is left of a session can be found
        assert os.getsid(left.pid) == server.pid
    supervisor.kill_tree(server.pid, server.started)
    assert gone(lambda: not processes(own_home))


def test_it_stays_while_anybody_wants_it(script, own_home):
    other = another_process(own_home, script)
    pid = int(other.stdout.readline())
    mine = run(script)
    assert mine.pid == pid
    other.kill()
    other.wait()
    time.sleep(1.0)
    assert mine.healthy()


def test_started_for_nobody_it_stays_until_it_is_stopped(script, own_home):
    other = another_process(own_home, script, then="pass", owner="nobody")
    other.wait()
    time.sleep(1.0)
    server, = managed.running("tiny")
    assert server.healthy() and "labkit backend stop tiny" in str(managed.status())
    assert run(script).pid == server.pid
    managed.stop("tiny")
    assert not server.alive and "No server runs" in str(managed.status())


def test_two_processes_at_once_start_one(script, own_home):
    both = [another_process(own_home, script) for _ in range(2)]
    assert len({int(process.stdout.readline()) for process in both}) == 1
    for process in both:
        process.kill()
        process.wait()


def test_a_talkative_servers_log_does_not_grow_without_end(script):
    server = run(script, "talk")
    assert gone(lambda: managed.logs("tiny", 1) and "3999" in list(managed.logs("tiny", 1))[0])
    sizes = [path.stat().st_size for path in server.log.parent.glob("server.log*")]
    assert len(sizes) == 2 and all(size < launch.LOG_BYTES + 100_000 for size in sizes)


def test_logs_of_a_server_that_never_ran():
    with pytest.raises(lk.BackendUnavailable, match="ever ran here"):
        list(managed.logs("tiny"))


def test_a_backend_without_a_server_says_so():
    with pytest.raises(lk.BadRequest, match="has no server that labkit starts"):
        managed.start("llama.cpp")
