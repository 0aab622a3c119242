"""Modes hold what they say: fields, retention, a copy, erasure, and a log that stays whole."""
from __future__ import annotations

import json
import sqlite3

import pytest

from labkit import yaml_file
from labkit.errors import BadRequest, LabkitError
from labkit.safety import GDPR, HIPAA, Audit, Mode, Records, Refused, verify
from labkit.safety.records import DAY_S

MODE = GDPR.serving({"delivery": ["order", "status", "items", "name"]})


@pytest.fixture
def records(tmp_path, clock):
    return Records(tmp_path / "records.sqlite", MODE, clock)


def test_a_purpose_sees_its_fields_at_every_depth():
    result = {"order": 1, "email": "a@example.org", "items": [{"name": "lamp", "price": 9, "supplier": {"name": "x"}}]}
    assert MODE.minimum(result, "delivery") == {"order": 1, "items": [{"name": "lamp"}]}
    assert MODE.minimum([result, 7, "mail a@example.org"], "delivery")[1:] == [7, "mail [EMAIL]"]


def test_a_purpose_must_be_declared():
    with pytest.raises(BadRequest, match="wants a declared purpose"):
        MODE.minimum({}, "marketing")
    with pytest.raises(BadRequest, match="serving"):
        HIPAA.fields("care")


def test_a_mode_is_a_file():
    text = yaml_file.dump(MODE)
    assert yaml_file.parse(text, Mode) == MODE
    with pytest.raises(BadRequest, match="keep_days"):
        yaml_file.parse(text.replace("keep_days: 30.0", "keep_days: -1"), Mode)
    with pytest.raises(BadRequest, match="line 1, nmae"):
        yaml_file.parse(text.replace("name: GDPR", "nmae: GDPR"), Mode)


def test_a_persons_copy_and_nobody_elses(records):
    records.keep("anna", "delivery", {"task": "Where is it?"})
    records.keep("bob", "delivery", {"task": "And mine?"})
    copy = records.export("anna")
    assert [one["data"] for one in copy["records"]] == [{"task": "Where is it?"}] and "mine" not in json.dumps(copy)
    assert records.export("nobody")["records"] == []


def test_what_is_old_is_dropped(records, clock):
    records.keep("anna", "delivery", {"n": 1})
    clock.now += 29 * DAY_S
    records.keep("anna", "delivery", {"n": 2})
    assert len(records.export("anna")["records"]) == 2
    clock.now += 2 * DAY_S
    assert records.sweep() == 1 and records.export("anna")["records"][0]["data"] == {"n": 2}


def test_erasure_leaves_the_chain_whole_and_the_entries_nobodys(records, tmp_path):
    log = Audit(tmp_path / "audit.jsonl")
    was = records.pseudonym("anna")
    log.append("call", who=was)
    records.keep("anna", "delivery", {"task": "my secret sentence"})
    anchor = log.anchor()
    assert records.erase("anna", log) == 1 and records.export("anna")["records"] == []
    assert verify(tmp_path / "audit.jsonl", anchor=anchor).what == {"call": 1, "erased": 1}
    assert records.pseudonym("anna") != was               # the salt is gone: nobody can compute it again
    records.close()
    assert b"secret sentence" not in (tmp_path / "records.sqlite").read_bytes()


def test_hipaa_knows_no_erasure_and_keeps_longer(tmp_path):
    records = Records(tmp_path / "r.sqlite", HIPAA.serving({"care": ["name"]}))
    records.keep("anna", "care", {})
    with pytest.raises(Refused, match="Nothing was erased: HIPAA"):
        records.erase("anna")
    assert len(records.export("anna")["records"]) == 1 and HIPAA.log_days > 6 * 365 > GDPR.log_days


def test_a_locked_or_damaged_file_says_so(tmp_path, records):
    (tmp_path / "no.sqlite").write_text("this is no database " * 100, encoding="utf-8")
    with pytest.raises(LabkitError, match="cannot be used"):
        Records(tmp_path / "no.sqlite", MODE)
    records._store._db.execute("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(tmp_path / "records.sqlite")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(LabkitError, match="locked. Try again later"):
        records.keep("anna", "delivery", {})
    other.rollback()
    records.keep("anna", "delivery", {})
