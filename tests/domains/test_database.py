"""What a desk's database keeps: whole transactions, clear refusals, and an exact account of what is different."""
from __future__ import annotations

import os
import sqlite3
import stat
import threading
from contextlib import closing

import pytest

from labkit import domains
from labkit.domains.database import Change
from labkit.errors import BadRequest, LabkitError, ToolError


@pytest.fixture
def desk(tmp_path):
    with domains.open_desk("support", tmp_path / "desk.sqlite") as opened:
        yield opened


def test_the_data_obey_their_own_keys_and_constraints(desk):
    assert desk.database.query("PRAGMA foreign_key_check") == []
    assert desk.database.query("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
    assert all(len(rows) >= 1 for table, rows in desk.database.snapshot().items() if table in ("customers", "patients"))


@pytest.mark.parametrize("sql", [
    "INSERT INTO orders VALUES ('ORD-00001', 'C-0000', '2026-03-01', 100, 'paid')",        # a customer there is not
    "INSERT INTO customers VALUES ('X-1', 'A', 'a@b.test', '1', 'basic')",                  # no such number
    "UPDATE orders SET status = 'lost'", "UPDATE stock SET pieces = -1", "UPDATE tasks SET due = 'soon'"])
def test_the_schema_refuses_what_makes_no_sense(desk, sql):
    before = desk.database.snapshot()
    with pytest.raises(ToolError, match="does not take that.*Nothing was changed"), desk.database.transaction() as now:
        now.query(sql)
    assert not desk.database.changes(before)


def test_a_transaction_that_breaks_off_leaves_nothing(desk):
    before = desk.database.snapshot()
    with pytest.raises(ZeroDivisionError), desk.database.transaction() as now:
        now.query("DELETE FROM tickets")
        raise ZeroDivisionError
    assert not desk.database.changes(before)


def test_changes_name_what_was_added_changed_and_removed(desk):
    before = desk.database.snapshot()
    with desk.database.transaction() as now:
        now.query("UPDATE tickets SET status = 'open' WHERE id = 1")
        now.query("DELETE FROM tickets WHERE id = 2")
        now.keep("systems", name="door bell")
        now.keep("systems", name="door bell")
    assert list(desk.database.changes(before))[0] == Change("systems", "added", {"name": "door bell"})
    assert {(c.kind, c.values["id"]) for c in desk.database.changes(before) if c.table == "tickets"} == {
        ("changed", 1), ("removed", 2)}
    assert "door bell" in str(desk.database.changes(before))


def test_a_query_cannot_write(desk):
    with pytest.raises(ToolError, match="may only be read"):
        desk.database.query("DELETE FROM tickets")


def test_a_busy_database_says_so_and_loses_nothing(desk, monkeypatch):
    monkeypatch.setattr("labkit.domains.database.BUSY_S", 0.1)
    before = desk.database.snapshot()
    with closing(sqlite3.connect(desk.database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ToolError, match="busy.*Nothing was changed"):
            desk.escalate_to_human("a colleague is needed")
        other.execute("ROLLBACK")
    assert not desk.database.changes(before)
    desk.escalate_to_human("a colleague is needed")
    assert len(desk.database.changes(before)) == 1


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write every file")
def test_a_read_only_file_is_told(desk):
    desk.database.path.chmod(stat.S_IREAD)
    with pytest.raises(ToolError, match="may only be read now.*Nothing was changed"):
        desk.escalate_to_human("a colleague is needed")


def test_a_removed_file_is_told_and_not_made_anew(desk):
    desk.database.path.unlink()
    with pytest.raises(ToolError, match="cannot be used"):
        desk.order_status("ORD-10000")
    assert not desk.database.path.exists()


def test_writers_at_the_same_time_all_get_through(desk):
    before = desk.database.snapshot()
    threads = [threading.Thread(target=desk.escalate_to_human, args=(f"reason {i % 4}",)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(desk.database.changes(before)) == 4  # the same reason on the same day is one


def test_a_desk_is_never_half_made_and_never_overwritten(tmp_path, monkeypatch):
    path = tmp_path / "desk.sqlite"
    rows = {"about": [["today", "2026-03-02"]], "orders": [["ORD-1", "nobody", "2026-03-01", 1, "paid"]]}
    monkeypatch.setattr("labkit.domains.opening.json.loads", lambda text: rows)
    with pytest.raises(LabkitError, match="No database can be made"):
        domains.open_desk("support", path)
    assert list(tmp_path.iterdir()) == []
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(BadRequest, match="nothing is overwritten"):
        domains.open_desk("support", path)
    assert path.read_text(encoding="utf-8") == "mine"
    with pytest.raises(BadRequest, match="support, technical"):
        domains.open_desk("bakery")


def test_a_desk_in_a_folder_of_its_own_removes_it():
    with domains.open_desk("kiosk") as desk:
        folder = desk.database.path.parent
        assert desk.database.path.is_file()
    assert not folder.exists()
