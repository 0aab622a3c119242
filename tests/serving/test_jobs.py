"""Jobs over HTTP: accepted, done, found again by their client alone, and done once whatever dies."""
from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import httpx
import pytest
from asking import PARIS
from test_limits import until

import labkit as lk
from labkit.serving.background import serve_in_background
from labkit.serving.job_store import JobStore
from labkit.serving.sqlite_file import StoreUnavailable


@pytest.fixture
def served(scripted_slm, tmp_path):
    """(client, store) of a server with jobs over the scripted backend."""
    store = JobStore(tmp_path / "jobs.sqlite")
    with serve_in_background(scripted_slm, store=store) as server, httpx.Client(base_url=server.base_url) as client:
        yield client, store


def done(client, id, seconds=20.0, **headers):
    end = time.monotonic() + seconds
    while (job := client.get(f"/jobs/{id}", headers=headers).json())["state"] in ("accepted", "running"):
        assert time.monotonic() < end, job
        time.sleep(0.02)
    return job


def test_a_job_is_accepted_and_done(served, script):
    client, _ = served
    script.enqueue("Paris.")
    accepted = client.post("/jobs", json={"messages": PARIS})
    assert accepted.status_code == 202 and accepted.headers["location"] == f"/jobs/{accepted.json()['id']}"
    job = done(client, accepted.json()["id"])
    assert job["state"] == "done" and job["error"] is None and job["attempts"] == 1
    assert job["result"]["choices"][0]["message"]["content"] == "Paris."
    assert client.get("/health/why").json() == {"status": "ok", "reasons": []}


def test_one_that_cannot_be_done_has_failed_and_says_why(served, script):
    client, _ = served
    script.enqueue(lk.LabkitError("The weights are gone."))
    job = done(client, client.post("/jobs", json={"messages": PARIS}).json()["id"])
    assert (job["state"], job["error"], job["result"]) == ("failed", "The weights are gone.", None)


def test_a_backend_that_is_away_is_tried_again(served, script, monkeypatch):
    monkeypatch.setattr("labkit.serving.jobs.AGAIN_S", 0.01)
    client, _ = served
    script.enqueue(lk.BackendUnavailable("Away."))
    script.enqueue("Here again.")
    assert done(client, client.post("/jobs", json={"messages": PARIS}).json()["id"])["state"] == "done"


@pytest.mark.parametrize(("body", "words"), [
    ({"messages": PARIS, "stream": True}, "no stream"), ({"messages": 5}, "messages"),
    ({"messages": PARIS, "n": 2}, "one answer"), ({"messages": PARIS, "model": "other"}, "other"),
])
def test_what_makes_no_sense_is_refused_before_it_is_accepted(served, body, words):
    client, store = served
    refused = client.post("/jobs", json=body)
    assert refused.status_code in (400, 404) and words in refused.text and sum(store.counts().values()) == 0


def test_the_same_key_is_the_same_job(served, script):
    client, _ = served
    script.enqueue("One.").enqueue("Two.")
    ids = {client.post("/jobs", json={"messages": PARIS}, headers={"Idempotency-Key": "k"}).json()["id"]
           for _ in range(3)}
    assert len(ids) == 1
    other = client.post("/jobs", json={"messages": [*PARIS, *PARIS]}, headers={"Idempotency-Key": "k"})
    assert other.status_code == 400


def test_another_clients_job_is_not_there(scripted_slm, script, tmp_path):
    script.enqueue("Mine.")
    store = JobStore(tmp_path / "jobs.sqlite")
    with serve_in_background(scripted_slm, "key", store=store) as server:
        own = {"Authorization": "Bearer key"}
        with httpx.Client(base_url=server.base_url) as client:
            id = client.post("/jobs", json={"messages": PARIS}, headers=own).json()["id"]
            assert done(client, id, **own)["state"] == "done"
            assert client.get(f"/jobs/{id}").status_code == 401
            assert client.get("/jobs/nothing", headers=own).status_code == 404


def test_without_a_file_there_are_no_jobs(scripted_server):
    answer = httpx.post(f"{scripted_server.base_url}/jobs", json={"messages": PARIS})
    assert answer.status_code == 404 and "--jobs FILE" in answer.text


def test_a_store_that_fails_is_said_and_the_rest_goes_on(served, script, monkeypatch):
    client, store = served

    def full(*_, **__):
        raise StoreUnavailable("The disk is full.")
    monkeypatch.setattr(store, "accept", full)
    monkeypatch.setattr(store, "take", full)
    refused = client.post("/jobs", json={"messages": PARIS})
    assert refused.status_code == 503 and "disk is full" in refused.text and refused.headers["retry-after"]
    until(lambda: client.get("/health/why").json() == {"status": "degraded", "reasons": ["The disk is full."]})
    script.enqueue("Still here.")
    assert client.post("/v1/chat/completions", json={"messages": PARIS}).status_code == 200


def test_an_answer_that_the_disk_does_not_take_is_written_later(served, script, monkeypatch):
    monkeypatch.setattr("labkit.serving.jobs.AGAIN_S", 0.01)
    client, store = served
    finish, full = store.finish, [StoreUnavailable("The disk is full.")] * 3

    def sometimes(*values):
        if full:
            raise full.pop()
        return finish(*values)
    monkeypatch.setattr(store, "finish", sometimes)
    script.enqueue("One.").enqueue("Two.")
    ids = [client.post("/jobs", json={"messages": PARIS}).json()["id"] for _ in range(2)]
    assert [done(client, id)["state"] for id in ids] == ["done", "done"] and not full
    assert len(script.requests) == 2, "and it is not done twice"


def test_jobs_are_bounded_and_old_answers_forgotten(served, script, monkeypatch):
    client, store = served
    script.enqueue("One.")
    old = client.post("/jobs", json={"messages": PARIS}).json()["id"]
    assert done(client, old)["state"] == "done"
    monkeypatch.setattr("labkit.serving.jobs.WAITING", 0)
    full = client.post("/jobs", json={"messages": PARIS})
    assert full.status_code == 503 and "jobs are waiting" in full.text and full.headers["retry-after"]
    monkeypatch.setattr("labkit.serving.jobs.KEEP_S", 0.0)
    monkeypatch.setattr("labkit.serving.jobs.SWEEP_S", 0.0)
    until(lambda: client.get(f"/jobs/{old}").status_code == 404, 30)


def test_a_damaged_file_is_reported(scripted_slm, tmp_path):
    (tmp_path / "jobs.sqlite").write_bytes(b"no database at all" * 300)
    with serve_in_background(scripted_slm, store=JobStore(tmp_path / "jobs.sqlite")) as server:
        health = httpx.get(f"{server.base_url}/health/why").json()
    assert health["status"] == "degraded" and "damaged" in health["reasons"][0]


def test_a_stop_puts_back_what_was_in_the_making(script, scripted_slm, tmp_path):
    started = []

    def endless(request):
        from labkit.backends.base import Chunk
        started.append(request)
        while True:
            yield Chunk("word ")
            time.sleep(0.01)
    script.generate = endless
    with serve_in_background(scripted_slm, store=JobStore(tmp_path / "jobs.sqlite")) as server:
        id = httpx.post(f"{server.base_url}/jobs", json={"messages": PARIS}).json()["id"]
        until(lambda: started)
    again = JobStore(tmp_path / "jobs.sqlite")
    assert (again.get(id).state, again.get(id).attempts) == ("accepted", 0)
    again.close()


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_what_was_accepted_survives_a_kill(tmp_path):
    """The real service, killed while it works; the next one does every job, each once."""
    def serve():
        child = subprocess.Popen([sys.executable, "-m", "labkit", "serve", "--port", "0", "--jobs",
                                  str(tmp_path / "jobs.sqlite")], stdout=subprocess.PIPE, text=True)
        url = re.search(r"http://127\.0\.0\.1:\d+", child.stdout.readline())[0]
        return child, httpx.Client(base_url=url, timeout=30)
    child, client = serve()
    body = {"messages": PARIS, "max_tokens": 40}
    ids = [client.post("/jobs", json={**body, "seed": n}).json()["id"] for n in range(6)]
    until(lambda: client.get(f"/jobs/{ids[0]}").json()["state"] != "accepted")
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    client.close()
    child, client = serve()
    try:
        jobs = [done(client, id, 60) for id in ids]
        assert {job["state"] for job in jobs} == {"done"} and max(job["attempts"] for job in jobs) <= 2
        assert all("Paris" in job["result"]["choices"][0]["message"]["content"] for job in jobs)
    finally:
        client.close()
        child.terminate()
        child.wait(20)
        child.stdout.close()
