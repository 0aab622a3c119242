"""Deployments of real processes: up, seen, down; refused where they must be, and never left behind."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from labkit.errors import BadRequest, LabkitError
from labkit.serving import deploy, deployment, processes
from labkit.serving.app import listen

FILE = "name: desk\nport: {port}\n"


def free_port() -> int:
    """A port such that it and the next few are free now."""
    while True:
        with listen("127.0.0.1", 0) as first:
            port = first.getsockname()[1]
        try:
            for near in range(port, port + 4):
                listen("127.0.0.1", near).close()
            return port
        except LabkitError:
            continue


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A home of its own, with the model's form of the real one; whatever is left up is ended."""
    from labkit.models import cache, embedded
    embedded.default_model()
    (tmp_path / "home").mkdir()
    with suppress(OSError):  # Windows may forbid it: then the form is made anew
        (tmp_path / "home" / "models").symlink_to(cache.home() / "models", target_is_directory=True)
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    yield tmp_path
    for name in deploy.names():
        deploy.down(name)


def write(place: Path, text: str) -> Path:
    (place / "desk.yaml").write_text(text, encoding="utf-8")
    return place / "desk.yaml"


def servers_of(place: Path) -> list[psutil.Process]:
    """Every process with this test's home, whoever started it."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("LABKIT_HOME") == str(place / "home"):
                found.append(process)
        except psutil.Error:
            continue
    return [p for p in found if p.status() != psutil.STATUS_ZOMBIE]


def gone(place: Path, seconds: float = 15.0) -> bool:
    end = time.monotonic() + seconds
    while servers_of(place) and time.monotonic() < end:
        time.sleep(0.05)
    return not servers_of(place)


# -- the file ------------------------------------------------------------------------------


@pytest.mark.parametrize("text, said", [
    ("name: desk\nlimits:\n  at_once: 4\n  rat: 1\n", "desk.yaml, line 4, limits.rat: "),
    ("name: desk\nlimits:\n  rate: often\n", "desk.yaml, line 2, limits: .*60/minute"),
    ("name: desk\napi_key: secret\n", "desk.yaml, line 2, api_key: "),
    ("name: Desk 1\n", "desk.yaml, line 1, name: "),
    ("name: desk\nhost: 0.0.0.0\n", "name a key's variable in key_env"),
    ("name: desk\nkind: distributed\n", "has nodes"),
    ("name: desk\nnodes:\n- name: a\n", "for kind: distributed"),
    ("name: desk\nreplicas: 2\njobs: true\n", "jobs are kept by one replica"),
    ("name: desk\ncanary:\n  share: 95\n", "line 3, canary.share: "),
    ("- desk\n", "names and values"),
])
def test_a_wrong_file_is_told_with_line_and_field(place, text, said):
    with pytest.raises(BadRequest, match=said):
        deploy.up(write(place, text))


def test_a_models_path_is_beside_its_file(place):
    (place / "small.gguf").touch()
    assert deployment.read(write(place, "name: desk\nmodel: small.gguf\n")).model == str(place / "small.gguf")


@pytest.mark.parametrize("file", sorted(Path(__file__).parents[2].glob("data/deploy/*.yaml")), ids=lambda f: f.stem)
def test_the_examples_are_right(file):
    wanted = deployment.read(file)
    assert len(processes.plan(wanted)) == wanted.replicas + (1 if wanted.canary else 0)


# -- up, status, down ----------------------------------------------------------------------


def test_up_in_one_command_and_down_in_another(place):
    port = free_port()
    file = write(place, FILE.format(port=port) + "key_env: DESK_KEY\nmemory_mb: 2000\njobs: true\n")
    told = subprocess.run([sys.executable, "-m", "labkit", "deploy", "up", str(file), "--json"], text=True,
                          capture_output=True, env={**os.environ, "DESK_KEY": "open sesame"}, timeout=120)
    assert told.returncode == 0, told.stderr
    (process,) = json.loads(told.stdout)["processes"]
    body = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "max_tokens": 12}
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    assert httpx.post(url, json=body).status_code == 401
    answer = httpx.post(url, json=body, headers={"authorization": "Bearer open sesame"}, timeout=60).json()
    assert "Paris" in answer["choices"][0]["message"]["content"]
    status = deploy.status(file)
    assert status.ok and status.processes[0].pid == process["pid"] and status.processes[0].memory_bytes > 50e6
    assert "desk replica-1" in str(status) and f":{port}/v1" in str(status) and "ready" in str(status)
    assert "open sesame" not in "".join(p.read_text(encoding="utf-8") for p in (place / "home/deployments").rglob("*")
                                        if p.is_file() and p.suffix in (".json", ".log"))
    with pytest.raises(LabkitError, match="desk is up already. End it first: labkit deploy down desk"):
        deploy.up(file)
    os.kill(process["pid"], signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
    assert gone(place) and not deploy.status("desk").ok and "1 processes have ended" in str(deploy.status("desk"))
    assert deploy.down(file) == 0 and deploy.names() == []


def test_a_port_that_is_taken(place):
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LabkitError, match=rf"desk wants port {port}, and it is taken.*another `port`"):
            deploy.up(write(place, FILE.format(port=port)))
    assert deploy.names() == [] and gone(place)


@pytest.mark.parametrize("text, error, said", [
    ("model: none.gguf\n", LabkitError, "desk replica-1 ended after .*none.gguf"),
    ("memory_mb: 40\n", LabkitError, "replica-1 takes .* memory_mb allows 40"),
    ("memory_mb: 90000000\n", LabkitError, "may take .* are free"),
    ("key_env: NO_SUCH_KEY\n", BadRequest, "the variable NO_SUCH_KEY is not set"),
])
def test_what_cannot_be_up_leaves_nothing(place, text, error, said):
    with pytest.raises(error, match=f"(?s){said}"):
        deploy.up(write(place, FILE.format(port=free_port()) + text))
    assert deploy.names() == [] and gone(place)


@pytest.mark.skipif(os.name == "nt", reason="the signal is POSIX's")
def test_up_that_is_killed_in_the_middle_leaves_nothing(place):
    file = write(place, FILE.format(port=free_port()) + "replicas: 3\n")
    with subprocess.Popen([sys.executable, "-m", "labkit", "deploy", "up", str(file)], text=True,
                          stderr=subprocess.PIPE) as command:
        for line in command.stderr:
            if "replica-1 is ready" in line:
                break
        assert len(deploy.running("desk")) >= 1
        command.kill()
    assert gone(place) and deploy.running("desk") == [] and deploy.names() == []


def test_a_number_that_is_another_process_now_is_not_ended(place):
    """A state file whose pid lives on, started at another time: the system has given the number out again."""
    folder = place / "home" / "deployments" / "desk" / "replica-1"
    folder.mkdir(parents=True)
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    state = dict(name="desk replica-1", model="m", base_url="", health_url="http://127.0.0.1:9/health", port=9,
                 pid=other.pid, started=psutil.Process(other.pid).create_time() - 100, log="", supervisor=other.pid,
                 supervisor_started=1.0)
    (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")
    (folder.parent / "deployment.json").write_text('{"name": "desk"}', encoding="utf-8")
    assert deploy.down("desk") == 0 and other.poll() is None and processes.found(folder.parent) == []
    other.communicate(b"\n")


def test_neither_a_file_nor_a_name(place):
    with pytest.raises(BadRequest, match="no file 'nothing', and no deployment .* Up: none"):
        deploy.status("nothing")


# -- several replicas ----------------------------------------------------------------------


def ask(port: int, **fields) -> httpx.Response:
    body = {"model": "desk", "messages": [{"role": "user", "content": "What is the capital of France?"}],
            "max_tokens": 8, **fields}
    return httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body, timeout=60)


@pytest.mark.skipif(os.name == "nt", reason="the signal is POSIX's")
def test_a_replica_that_is_killed_is_started_again_and_no_request_is_lost(place, in_thread):
    port = free_port()
    deploy.up(write(place, FILE.format(port=port) + "replicas: 2\n"))
    front, victim, _ = deploy.running("desk")
    results = [in_thread(lambda: [ask(port).status_code for _ in range(8)]) for _ in range(3)]
    time.sleep(0.5)
    os.kill(victim.pid, signal.SIGKILL)
    assert [status for result in results for status in result()] == [200] * 24
    end = time.monotonic() + 30
    while len(deploy.running("desk")) < 3 and time.monotonic() < end:
        time.sleep(0.1)
    again = next(server for server in deploy.running("desk") if server.port == victim.port)
    assert again.pid != victim.pid and deploy.status("desk").ok
    assert deploy.down("desk") == 3 and gone(place)


def test_a_canary_that_fails_is_rolled_back_in_a_deployment(place):
    """The new version of the test: the same model with a deadline that no answer can keep."""
    port = free_port()
    canary = "canary:\n  share: 50\n  at_least: 5\n  limits:\n    deadline: 0.1\n"
    deploy.up(write(place, FILE.format(port=port) + canary))
    story = {"messages": [{"role": "user", "content": "Tell me a story about a dragon."}], "max_tokens": 60}
    seen = [ask(port, **story) for _ in range(12)]
    assert {answer.headers["x-labkit-version"] for answer in seen} == {"stable", "canary"}
    assert [a.status_code for a in seen if a.headers["x-labkit-version"] == "canary"] == [504] * 5
    time.sleep(1.5)
    told = str(deploy.status("desk"))
    assert "rolled back: it fails too often. New: 5 of 5 failed (100.0%" in told and "desk canary-2" in told
