"""A service under watch: what it measures, what its alerts do, and that no fault of the watching stops it."""
from __future__ import annotations

import gc
import json
import logging
import os
import threading
import time
import weakref

import httpx
import pytest
from asking import MODEL, PARIS, STORY
from test_limits import ask, gated, until  # noqa: F401  fixtures

import labkit as lk
from labkit.errors import BadRequest
from labkit.serving.alert_rules import Entry, load, parse
from labkit.serving.background import serve_in_background
from labkit.serving.history import History, recorded
from labkit.serving.metrics import Ended
from labkit.serving.summary import summary
from labkit.serving.tickets import Limits
from labkit.serving.watch import Watch, watch_of_files

QUEUE = Entry(name="long queue", figure="requests_waiting", above=0, action="stop taking work")


@pytest.fixture
def watched(gated):  # noqa: F811
    """watched(watch, limits) -> a server over the gated model whose watch is looked with by hand."""
    servers = []

    def start(watch: Watch, limits: Limits | None = None, key: str | None = None):
        servers.append(serve_in_background(lk.Chat(gated), key, limits=limits, watch=watch))
        return servers[-1]
    yield start
    gated.gate.set()
    for server in servers:
        server.stop()


def post(server, **fields):
    return httpx.post(f"{server.base_url}/v1/chat/completions", json={"messages": PARIS, **fields}, timeout=30)


def get(server, path: str, **arguments):
    return httpx.get(f"{server.base_url}{path}", timeout=10, **arguments)


def test_figures_of_the_last_minutes_behind_the_key(watched, gated):  # noqa: F811
    gated.gate.set()
    watch = Watch(every_s=3600)
    server = watched(watch, key="secret")
    key = {"authorization": "Bearer secret"}
    for _ in range(3):
        httpx.post(f"{server.base_url}/v1/chat/completions", json={"messages": PARIS}, headers=key, timeout=30)
    watch.look()
    assert get(server, "/figures").status_code == 401
    found = get(server, "/figures?minutes=2.5", headers=key).json()
    assert found["count"] == 3 and found["outcomes"] == {"ok": 3} and found["latency"]["n"] == 3
    assert found["minutes"] == 2.5 and found["output_tokens"] == 3 and found["error_share"] == 0
    assert found["figures"]["rss_bytes"]["now"] > 10e6 and len(found["lines"]["requests_per_s"]) == 1
    assert set(found["figures"]) | set(found["missing"]) >= {"gpu_percent", "battery_percent", "celsius"}
    for wrong in ("0", "-1", "x", "nan", "999999"):
        assert get(server, f"/figures?minutes={wrong}", headers=key).status_code == 400


def test_without_requests_nothing_is_said_of_their_times(scripted_server):
    found = get(scripted_server, "/figures").json()
    assert found["count"] == 0 and found["latency"] is None and found["error_share"] is None


def test_an_alert_stops_the_taking_of_work_until_it_is_over(watched, gated, caplog):  # noqa: F811
    watch = Watch(alerts=[QUEUE], every_s=3600)
    server = watched(watch, Limits(at_once=1))
    with caplog.at_level(logging.WARNING), httpx.Client() as client:
        waiting = [client.build_request("POST", f"{server.base_url}/v1/chat/completions", json={"messages": PARIS})
                   for _ in range(2)]
        threads = [_sent(request) for request in waiting]
        until(lambda: b"labkit_requests_waiting 1.0" in get(server, "/metrics").content)
        watch.look()
        refused = post(server)
        assert refused.status_code == 503 and "the alert 'long queue' is on" in refused.json()["error"]["message"]
        assert refused.headers["retry-after"] == "5"
        told = get(server, "/health/why").json()
        assert told["status"] == "degraded" and told["reasons"] == [
            "alert 'long queue': requests_waiting has been above 0"]
        gated.gate.set()
        assert [thread() for thread in threads] == [200, 200]  # who waited was served
        watch.look()
        assert post(server).status_code == 200 and get(server, "/health").json() == {"status": "ok"}
    assert "Alert: long queue began: requests_waiting is 1" in caplog.text
    assert [text for _, text in watch.history.events(60)] == [
        "long queue began: requests_waiting is 1", "long queue is over: requests_waiting is 0"]
    found = get(server, "/figures").json()
    assert found["outcomes"]["paused"] == 1 and found["error_share"] == 0  # it was meant


def test_jobs_wait_while_no_work_is_taken(gated, tmp_path):  # noqa: F811
    from labkit.serving.job_store import JobStore
    gated.gate.set()
    with serve_in_background(lk.Chat(gated), store=JobStore(tmp_path / "jobs.sqlite")) as server:
        service = server._server.config.app.state.service
        service.admission.pauses.add("a test")
        accepted = httpx.post(f"{server.base_url}/jobs", json={"messages": PARIS}, timeout=30)
        time.sleep(0.3)
        where = accepted.headers["location"]
        assert accepted.status_code == 202 and get(server, where).json()["state"] == "accepted"
        assert get(server, where).json()["attempts"] == 0
        service.admission.pauses.clear()
        until(lambda: get(server, where).json()["state"] == "done")


def _sent(request):
    """Send it in a thread; what is returned waits for the status."""
    found = []

    def work():
        with httpx.Client(timeout=30) as client:
            found.append(client.send(request).status_code)
    thread = threading.Thread(target=work)
    thread.start()

    def status():
        thread.join()
        return found[0]
    return status


def test_a_service_that_rests_because_it_was_slow_works_again(scripted_slm):
    """Its latency is not measured meanwhile. A clock of the test's own, and a service that nobody asks."""
    from labkit.serving.generation import Service
    now = [100.0]
    watch = Watch(alerts=[Entry(name="slow", figure="latency_p95_s", above=5, action="stop taking work")],
                  clock=lambda: now[0])
    service = Service(scripted_slm)
    watch.bind(service)
    service.metrics._recent.append(Ended(100.0, "ok", 200, 0.0, 1.0, 9.0, 1, 1))
    watch.look()
    assert service.admission.pauses
    for _ in range(12):
        now[0] += 10
        service.metrics._recent.append(Ended(now[0], "paused", 503))
        watch.look()
    assert not service.admission.pauses and watch.alerts.on == [] and watch.reasons() == []
    watch.close()


def test_a_full_disk_and_a_damaged_file_leave_the_service_going(watched, gated, tmp_path):  # noqa: F811
    gated.gate.set()
    (tmp_path / "h.sqlite").write_bytes(b"not a database " * 300)
    watch = Watch(History(tmp_path / "h.sqlite"), every_s=3600)
    server = watched(watch)
    assert get(server, "/health").json() == {"status": "degraded"}
    assert get(server, "/health/why").json()["reasons"][0].startswith("the history's file was damaged; it is now")
    watch.history._db.execute("PRAGMA max_page_count = 1")
    until(lambda: watch.look() or watch.history.trouble)
    assert post(server).status_code == 200
    assert "the history is not kept: database or disk is full" in get(server, "/health/why").json()["reasons"]
    watch.history._db.execute("PRAGMA max_page_count = 1000000")
    watch.look()
    assert len(get(server, "/health/why").json()["reasons"]) == 1


def test_a_place_where_no_file_can_be_made_is_told(watched, gated, tmp_path):  # noqa: F811
    gated.gate.set()
    (tmp_path / "file").write_text("")
    server = watched(watch_of_files(tmp_path / "file" / "h.sqlite", None))
    assert "kept in memory only" in get(server, "/health/why").json()["reasons"][0]
    assert post(server).status_code == 200 and get(server, "/figures").status_code == 200


def test_a_watch_that_cannot_look_is_told_and_looks_again(watched, monkeypatch, caplog):
    watch = Watch(every_s=3600)
    server, read = watched(watch), watch._sensors.read
    monkeypatch.setattr(watch._sensors, "read", lambda: 1 / 0)
    watch.look()
    assert get(server, "/health/why").json()["reasons"] == [
        "the watch could not look: ZeroDivisionError: division by zero"]
    monkeypatch.setattr(watch._sensors, "read", read)
    watch.look()
    assert get(server, "/health").json() == {"status": "ok"}


def test_it_looks_by_itself_and_a_last_time_at_the_end(watched, gated, tmp_path):  # noqa: F811
    gated.gate.set()
    server = watched(Watch(History(tmp_path / "h.sqlite"), every_s=0.05))
    until(lambda: get(server, "/figures").json()["figures"].get("uptime_s"))
    post(server)
    server.stop()
    reading = recorded(tmp_path / "h.sqlite")
    found = summary(reading, 5)
    assert found.count == 1 and len(reading.of("uptime_s", 60)) > 2 and "uptime_s" in str(found)
    reading.close()


def test_the_model_is_shrunk_while_it_answers(slm_of_its_own):
    """What is being answered ends on the model it began with; the old name still works."""
    memory = Entry(name="memory", figure="rss_bytes", above=1, action="shrink the model")
    watch = Watch(alerts=[memory], every_s=3600)
    with serve_in_background(slm_of_its_own, watch=watch) as server:
        alone = post(server, messages=STORY, max_tokens=30).json()["choices"][0]["message"]["content"]
        body = {"messages": STORY, "max_tokens": 30, "stream": True}
        with httpx.stream("POST", f"{server.base_url}/v1/chat/completions", json=body, timeout=60) as stream:
            lines = stream.iter_lines()
            first = next(lines)
            watch.look()
            assert slm_of_its_own.model == "SmolLM2-135M-Instruct Q4_0"
            rest = list(lines)
        assert _text([first, *rest]) == alone
        reply = post(server, model=MODEL, max_tokens=4).json()
        assert "Q4_0" in reply["model"] and "Q4_0" in get(server, "/v1/models").json()["data"][0]["id"]
        assert post(server, model="gpt-4").status_code == 404


def test_the_model_is_unloaded_while_it_answers_and_loaded_again(slm_of_its_own):
    quiet = Entry(name="quiet", figure="requests_waiting", below=1, action="unload the model")
    watch = Watch(alerts=[quiet], every_s=3600)
    with serve_in_background(slm_of_its_own, watch=watch) as server:
        alone = post(server, messages=STORY, max_tokens=30).json()["choices"][0]["message"]["content"]
        loaded = weakref.ref(slm_of_its_own.backend.engine)
        body = {"messages": STORY, "max_tokens": 30, "stream": True}
        with httpx.stream("POST", f"{server.base_url}/v1/chat/completions", json=body, timeout=60) as stream:
            lines = stream.iter_lines()
            first = next(lines)
            watch.look()
            assert _text([first, *lines]) == alone
        until(lambda: gc.collect() is not None and loaded() is None)
        assert post(server, messages=STORY, max_tokens=30).json()["choices"][0]["message"]["content"] == alone


def _text(lines: list[str]) -> str:
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    return "".join(event["choices"][0]["delta"].get("content") or "" for event in events if event["choices"])


@pytest.fixture
def slm_of_its_own():
    with lk.connect(context_length=512) as slm:
        yield slm


@pytest.mark.parametrize("action, cannot", [("shrink the model", "change"), ("unload the model", "unload")])
def test_a_runtime_that_cannot_says_so(watched, action, cannot):
    watch = Watch(alerts=[Entry(name="memory", figure="rss_bytes", above=1, action=action)], every_s=3600)
    watched(watch)
    watch.look()
    ((_, told),) = watch.history.events(60)
    assert told.endswith(f"(its action failed: BadRequest: gated cannot {cannot} its model while it runs: only "
                         "llama.cpp can.)")


FILE = """
alerts:
  - name: long queue
    figure: requests_waiting
    above: 20
    until: 5
    for_s: 10
    action: stop taking work
  - {name: battery, figure: battery_percent, below: 20, until: 30}
"""


def test_alerts_from_a_file(tmp_path):
    (tmp_path / "alerts.yaml").write_text(FILE, encoding="utf-8")
    first, second = (entry.rule(None) for entry in load(tmp_path / "alerts.yaml"))
    assert (first.limit, first.above, first.until, first.for_s) == (20, True, 5, 10) and first.action and first.undo
    assert (second.limit, second.above, second.action) == (20, False, None)


@pytest.mark.parametrize("change, said", [
    (("requests_waiting", "request_waiting"), "line 3, alerts.0: .*no figure 'request_waiting'. Use one of: requests_"),
    (("above: 20", "above: 20\n    below: 3"), "either above: or below:"),
    (("until: 5", "until: 25"), "would end at 25"),
    (("stop taking work", "run rm -rf /"), "line 8, alerts.0.action"),
    (("for_s: 10", "for_s: -1"), "line 7, alerts.0.for_s"),
    (("name: battery", "name: long queue"), "Two alerts are called 'long queue'"),
    (("name: battery", "shell: ls"), "alerts.1"),
])
def test_a_wrong_file_is_refused_with_its_line(change, said):
    with pytest.raises(BadRequest, match=said):
        parse(FILE.replace(*change))


def test_the_command_line_keeps_a_history(tmp_path):
    """As a user starts it, in a process of its own; what ends it leaves a whole file."""
    from labkit.profiling.served import serving
    with serving("--history", str(tmp_path / "h.sqlite")) as running:
        body = {"messages": PARIS, "max_tokens": 2}
        assert httpx.post(f"{running.url}/v1/chat/completions", json=body, timeout=60).status_code == 200
    reading = recorded(tmp_path / "h.sqlite")
    found = summary(reading, 5)
    reading.close()
    # where there are no signals, a process that is ended has no last look
    assert os.name == "nt" or (found.count == 1 and found.output_tokens == 2 and "rss_bytes" in found.figures)


def test_the_command_line_takes_alerts(tmp_path):
    from typer.testing import CliRunner

    from labkit.cli import app
    (tmp_path / "alerts.yaml").write_text(FILE.replace("above", "over"), encoding="utf-8")
    done = CliRunner().invoke(app, ["serve", "--port", "0", "--alerts", str(tmp_path / "alerts.yaml")])
    assert done.exit_code == 2 and "alerts.0.over" in done.output
