"""Backups: whole while others write, refused when they are not, and never over a file."""
from __future__ import annotations

import json
import sqlite3
import threading

import pytest

from labkit.errors import LabkitError
from labkit.serving import backup, deploy
from labkit.serving.job_store import DONE, JobStore


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def store(place):
    made = JobStore(place / "jobs.sqlite")
    yield made
    made.close()


@pytest.fixture
def saved(store):
    """A backup of a store with three jobs."""
    for n in range(3):
        store.accept({"n": n})
    return backup.backup("desk", {"replica-1/jobs.sqlite": store.path})


def jobs_in(path) -> int:
    with sqlite3.connect(path) as db:
        return db.execute("SELECT count(*) FROM jobs").fetchone()[0]


def test_what_is_restored_is_what_was_there(saved, store, place):
    store.accept({"n": "after the backup"})
    assert "replica-1/jobs.sqlite" in str(saved) and saved.files[0].rows == 3
    backup.restore(saved.folder, place / "new")
    restored = JobStore(place / "new" / "replica-1" / "jobs.sqlite")
    assert restored.counts()["accepted"] == 3 and restored.take().body == {"n": 0}
    restored.close()


def test_a_backup_while_others_write_is_one_moment(store, place):
    """Each write is a pair of jobs in one transaction: no backup may hold half of one."""
    stop = threading.Event()

    def write():
        with sqlite3.connect(store.path, timeout=10) as db:
            while not stop.is_set():
                with db:
                    for _ in range(2):
                        db.execute("INSERT INTO jobs (id, client, priority, body, state, created, changed) VALUES "
                                   "(hex(randomblob(16)), '', 0, '{}', 'accepted', 0, 0)")
    writer = threading.Thread(target=write)
    writer.start()
    try:
        made = [backup.backup("desk", {"jobs.sqlite": store.path}) for _ in range(5)]
    finally:
        stop.set()
        writer.join()
    rows = [jobs_in(b.folder / "jobs.sqlite") for b in made]
    assert all(n % 2 == 0 for n in rows) and rows == sorted(rows) and jobs_in(store.path) >= rows[-1]
    assert len({b.folder for b in made}) == 5 and not list((place / "home" / "backups" / "desk").glob(".*"))


@pytest.mark.parametrize("harm, said", [
    (lambda f: (f / "replica-1/jobs.sqlite").write_bytes(b"x"), "missing or damaged"),
    (lambda f: (f / "replica-1/jobs.sqlite").unlink(), "missing or damaged"),
    (lambda f: (f / "manifest.json").unlink(), "no backup of labkit's"),
    (lambda f: (f / "manifest.json").write_text("{}", encoding="utf-8"), "no backup of labkit's"),
    (lambda f: change(f, kind="someone else's 7"), "no backup of this labkit: .*someone else's 7"),
    (lambda f: change(f, file={"name": "../../evil.sqlite"}), "outside of where it belongs"),
    (lambda f: change(f, file={"sha256": "0" * 64}), "missing or damaged"),
])
def test_a_damaged_or_foreign_backup_is_refused(saved, place, harm, said):
    harm(saved.folder)
    with pytest.raises(backup.BackupRefused, match=said):
        backup.restore(saved.folder, place / "new")
    assert not (place / "new").exists()


def change(folder, file=(), **fields):
    told = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    told["files"][0].update(file)
    (folder / "manifest.json").write_text(json.dumps({**told, **fields}), encoding="utf-8")


def test_nothing_is_written_over(saved, place):
    (place / "new" / "replica-1").mkdir(parents=True)
    (place / "new" / "replica-1" / "jobs.sqlite").write_text("mine", encoding="utf-8")
    with pytest.raises(backup.BackupRefused, match="is there already"):
        backup.restore(saved.folder, place / "new")
    assert (place / "new" / "replica-1" / "jobs.sqlite").read_text(encoding="utf-8") == "mine"


def test_nothing_to_keep(place):
    with pytest.raises(backup.BackupRefused, match="keeps nothing"):
        backup.backup("desk", {})


def test_a_database_that_is_damaged_already_is_not_copied(place):
    (place / "bad.sqlite").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    with pytest.raises(backup.BackupRefused, match="cannot be copied"):
        backup.backup("desk", {"bad.sqlite": place / "bad.sqlite"})
    assert not list((place / "home" / "backups" / "desk").iterdir())


def test_a_store_that_is_damaged_comes_back_from_its_newest_backup(saved, store, place, caplog):
    job = store.take()
    store.finish(job.id, {"answer": 42})
    backup.backup("desk", {"replica-1/jobs.sqlite": store.path})
    store.close()
    store.path.write_bytes(b"\xff" * 5000)
    again = JobStore(store.path)
    assert again.moved_aside and again.get(job.id).state == DONE and again.counts()["accepted"] == 2
    assert "jobs.sqlite was damaged" in caplog.text and "as in the backup" in caplog.text
    again.close()


def test_a_deployment_that_is_down_gets_its_jobs_back(place):
    own = place / "home" / "deployments" / "desk"
    store = JobStore(own / "replica-1" / "jobs.sqlite")
    job = store.accept({"n": 1})
    (own / "deployment.json").write_text('{"name": "desk"}', encoding="utf-8")
    saved = deploy.backup("desk", place / "elsewhere")
    store.accept({"n": 2})
    store.close()
    assert saved.folder.parent == place / "elsewhere"
    deploy.restore(saved.folder)
    again = JobStore(own / "replica-1" / "jobs.sqlite")
    assert again.counts()["accepted"] == 1 and again.get(job.id).body == {"n": 1}
    again.close()
    (aside,) = (own / "replica-1").glob("jobs.sqlite.before-*")
    assert jobs_in(aside) == 2


def test_a_deployment_that_is_up_is_left_alone(place, saved, monkeypatch):
    monkeypatch.setattr(deploy, "running", lambda name: ["a process"])
    with pytest.raises(LabkitError, match="desk is up. End it first"):
        deploy.restore(saved.folder)
