"""Jobs on the disk: accepted is kept, taken once, ended once; and what a kill, a full disk or damage leaves."""
from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest

from labkit.errors import BadRequest
from labkit.serving.job_store import ATTEMPTS, JobStore
from labkit.serving.sqlite_file import StoreUnavailable

BODY = {"messages": [{"role": "user", "content": "Grüße, 😀"}]}


@pytest.fixture
def file(tmp_path):
    return tmp_path / "jobs" / "jobs.sqlite"


@pytest.fixture
def store(file):
    made = JobStore(file)
    yield made
    made.close()


def test_the_life_of_a_job(store):
    job = store.accept(BODY, client="a")
    assert (job.state, job.body, job.attempts, job.result) == ("accepted", BODY, 0, None)
    taken = store.take()
    assert taken.id == job.id and taken.state == "running" and taken.attempts == 1 and store.take() is None
    assert store.finish(job.id, {"text": "x"}) and not store.finish(job.id, {"text": "y"})
    done = store.get(job.id)
    assert done.state == "done" and done.result == {"text": "x"} and done.changed >= done.created
    assert store.get("nothing") is None and not store.fail(job.id, "late")
    assert store.counts() == {"accepted": 0, "running": 0, "done": 1, "failed": 0}


def test_the_urgent_and_the_older_come_first(store):
    ids = {name: store.accept({"n": name}, priority=p).id for name, p in (("a", 0), ("b", 5), ("c", 0))}
    assert [store.take().id for _ in range(3)] == [ids["b"], ids["a"], ids["c"]]


def test_asked_twice_with_one_key_is_one_job(store):
    first = store.accept(BODY, client="a", idempotency="k")
    assert store.accept(BODY, client="a", idempotency="k").id == first.id
    assert store.accept(BODY, client="b", idempotency="k").id != first.id, "another client's key"
    assert store.accept(BODY, client="a").id != store.accept(BODY, client="a").id
    with pytest.raises(BadRequest, match="'k' was used for another"):
        store.accept({"other": 1}, client="a", idempotency="k")


def test_many_threads_take_each_job_once(store):
    ids, taken = {store.accept({"n": n}).id for n in range(60)}, []

    def work():
        while job := store.take():
            taken.append(job.id)
            assert store.finish(job.id, {})
    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(ids) and store.counts()["done"] == 60


def test_what_was_running_is_done_again_but_not_for_ever(file):
    for attempt in range(1, ATTEMPTS + 1):
        store = JobStore(file)
        if attempt == 1:
            id = store.accept(BODY).id
        assert store.take().attempts == attempt
        store.close()  # it dies here
    store = JobStore(file)
    job = store.get(id)
    assert job.state == "failed" and f"tried {ATTEMPTS} times" in job.error and store.take() is None
    store.close()


def test_a_stop_in_good_order_costs_no_attempt(store):
    id = store.accept(BODY).id
    store.take()
    store.release(id)
    assert store.take().attempts == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_nothing_accepted_is_lost_by_a_kill_at_any_moment(file):
    code = (f"from labkit.serving.job_store import JobStore\nstore = JobStore({str(file)!r})\n"
            "for n in range(100000): print(store.accept({'n': n}).id, flush=True); store.take()")
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    told = [child.stdout.readline().strip() for _ in range(50)]
    os.kill(child.pid, signal.SIGKILL)
    told += [line for line in child.stdout.read().split("\n") if len(line) == 32]
    child.wait()
    child.stdout.close()
    store = JobStore(file)
    assert store.moved_aside is None and all(store.get(id).state == "accepted" for id in told)
    store.close()


def test_a_damaged_file_is_moved_aside_and_said(file):
    JobStore(file).close()
    file.write_bytes(b"this was a database, once" * 400)
    store = JobStore(file)
    assert store.moved_aside.read_bytes().startswith(b"this was") and store.accept(BODY).state == "accepted"
    store.close()
    again = JobStore(file)
    assert again.moved_aside is None and again.counts()["accepted"] == 1
    again.close()


def test_a_full_disk_accepts_nothing_and_keeps_what_it_has(store):
    kept = store.accept(BODY).id
    store._db.execute("PRAGMA max_page_count = 1")  # SQLite's own way to be full
    with pytest.raises(StoreUnavailable, match="full"):
        for _ in range(100):
            store.accept({"much": "x" * 100_000})
    store._db.execute("PRAGMA max_page_count = 1000000")
    assert store.get(kept).state == "accepted" and store.accept(BODY)


def test_no_place_for_a_file(tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        JobStore(tmp_path / "file" / "jobs.sqlite")
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        JobStore(tmp_path)
    assert (tmp_path / "file").read_text(encoding="utf-8") == "in the way"


def test_what_ended_long_ago_is_forgotten(store):
    ended, waits = store.accept(BODY).id, store.accept(BODY)
    store.take()
    store.fail(ended, "no")
    assert store.forget(60) == 0 and store.forget(-1) == 1 and store.get(ended) is None
    assert store.get(waits.id).state == "accepted"


def test_two_processes_do_not_tear_the_file(file):
    store, other = JobStore(file), sqlite3.connect(file)
    other.execute("BEGIN IMMEDIATE")
    store._db.execute("PRAGMA busy_timeout = 50")
    with pytest.raises(StoreUnavailable, match="locked"):
        store.accept(BODY)
    other.rollback()
    assert store.accept(BODY)
    other.close()
    store.close()
