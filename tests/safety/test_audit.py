"""The audit log: whole after whatever happens to it, and never silently wrong."""
from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import textwrap
import time

import pytest
from typer.testing import CliRunner

from labkit.cli import app
from labkit.errors import BadRequest, LabkitError
from labkit.safety import Audit, verify

KEY = b"a key of the tests, not a secret"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.jsonl"


def filled(path, count=10, **options):
    with Audit(path, **options) as log:
        for i in range(count):
            log.append("call", who="anna", tool="refund", amount=i)
        return log.anchor()


def program(path, code):
    """A Python process with a log of its own on `path`."""
    whole = f"from labkit.safety import Audit\nlog = Audit({str(path)!r})\n{textwrap.dedent(code)}"
    return subprocess.Popen([sys.executable, "-c", whole], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("key", [None, KEY])
def test_a_whole_log_is_whole(path, key):
    anchor = filled(path, key=key)
    found = verify(path, key, anchor)
    assert found.ok and found.entries == 10 and found.what == {"call": 10}
    assert (os.stat(path).st_mode & 0o077) == 0 or os.name == "nt"


def test_any_flipped_bit_is_found_and_named(path):
    filled(path, 6)
    whole, chance = path.read_bytes(), random.Random(0)
    starts = [0, *(i + 1 for i, byte in enumerate(whole) if byte == 10)]
    for at in chance.sample(range(len(whole)), 150):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1:])
        found = verify(path)
        line = sum(start <= at for start in starts)
        assert not found.ok and found.entries == line - 1 and f"line {line} " in found.wrong, at


@pytest.mark.parametrize("change", ["drop", "double", "swap"])
def test_entries_dropped_doubled_or_swapped_are_found(path, change):
    filled(path, 6)
    lines = path.read_bytes().splitlines(keepends=True)
    changed = {"drop": lines[:2] + lines[3:], "double": lines[:3] + lines[2:],
               "swap": [*lines[:2], lines[3], lines[2], *lines[4:]]}[change]
    path.write_bytes(b"".join(changed))
    assert verify(path).entries in (2, 3) and "does not follow" in verify(path).wrong


def test_a_cut_end_is_found_by_the_head_and_refused_for_writing(path):
    filled(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-2]))
    assert "the head tells of 10 entries, 8 are there" in verify(path).wrong
    with pytest.raises(LabkitError, match="cut off"):
        Audit(path)


def test_a_new_history_is_found_only_with_a_key_or_an_anchor(path):
    anchor = filled(path)
    for file in path.parent.iterdir():
        file.unlink()
    filled(path, 12)                                      # as somebody would who can write all of it
    assert verify(path).ok
    assert "cut off, or the log was written anew" in verify(path, anchor=anchor).wrong
    assert "another key" in verify(path, KEY).wrong


def test_a_lost_head_is_said(path):
    filled(path)
    path.with_name("audit.jsonl.head").unlink()
    assert "head is missing" in verify(path).wrong
    with pytest.raises(LabkitError, match="damaged, missing"):
        Audit(path)


def test_parts_carry_the_chain(path):
    anchor = filled(path, 30, max_bytes=1500)
    found = verify(path, anchor=anchor)
    assert found.ok and found.entries == 30 and found.parts > 3
    filled(path, 5, max_bytes=1500)
    assert verify(path, anchor=anchor).entries == 35
    second = path.with_name("audit.2.jsonl")
    second.write_bytes(second.read_bytes().replace(b'"amount":8', b'"amount":9'))
    assert "audit.2.jsonl, line" in verify(path).wrong
    second.unlink()
    assert not verify(path).ok


def test_old_parts_are_dropped_and_the_rest_stays_whole(path):
    now = [1_000_000.0]
    log = Audit(path, max_bytes=1500, now=lambda: now[0])
    for i in range(30):
        now[0] += 1
        log.append("call", n=i)
    before = verify(path)
    now[0] += 100
    assert log.drop(1000) == 0 and log.drop(90) == before.parts - 1
    log.append("call", n=30)
    log.close()
    found = verify(path, anchor=log.anchor())
    assert found.ok and found.parts <= 2 and found.what["dropped"] == 1
    Audit(path, max_bytes=1500).close()
    assert verify(path).ok


def test_parts_that_somebody_else_dropped_are_missed(path):
    filled(path, 30, max_bytes=1500)
    path.unlink()
    assert "are missing, and no entry says" in verify(path).wrong
    path.write_bytes(b"")
    assert not verify(path).ok


def test_a_torn_last_line_is_recovered_and_recorded(path):
    filled(path, 3)
    with path.open("ab") as file:
        file.write(b'{"n":4,"at":17960636')            # its writer died here
    assert "its end is missing" in verify(path).wrong
    filled(path, 1)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert verify(path).ok and [line["what"] for line in lines] == ["call"] * 3 + ["recovered", "call"]
    assert lines[3]["data"]["torn"] == '{"n":4,"at":17960636'


def test_a_line_that_was_whole_before_the_head_counts(path):
    filled(path, 2)
    head = path.with_name("audit.jsonl.head")
    before = head.read_bytes()
    filled(path, 1)
    head.write_bytes(before)                              # killed between the line and the head
    filled(path, 1)
    assert verify(path).ok and verify(path).what == {"call": 4, "recovered": 1}


def test_two_writers_that_are_killed_leave_a_whole_log(path):
    code = "n = 0\nwhile True:\n    log.append('call', n=n); n += 1\n    print(n, flush=True)"
    for _ in range(3):
        writers = [program(path, code) for _ in range(2)]
        for writer in writers:
            writer.stdout.readline()
        time.sleep(0.3)
        told = 0
        for writer in writers:
            writer.kill()
            told += int(writer.communicate()[0].split("\n")[-2] or 0)
        Audit(path).close()                               # recovers, if one died in the middle
        found = verify(path)
        assert found.ok, found
        assert found.what["call"] >= told                 # what append() had returned for is there


def test_a_full_disk_is_said_and_nothing_is_lost(path):
    """A real refusal of the system's: a process that may write 2000 bytes to a file."""
    pytest.importorskip("resource")
    code = """
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
    for i in range(30):
        log.append("call", n=i)
    print(log.trouble)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    log.append("call", n=30)
    print(repr(log.trouble))
    """
    out, err = program(path, code).communicate()
    full, after = out.splitlines()
    assert "cannot be written" in full and "wait in memory, 0 are lost" in full and after == "''", err
    found = verify(path)
    assert found.ok and found.what == {"call": 31, "late": 1}


def test_threads_and_a_fork_write_one_chain(path, in_thread):
    log = Audit(path)
    waits = [in_thread(lambda: [log.append("call", n=i) for i in range(50)]) for _ in range(4)]
    for wait in waits:
        wait()
    if hasattr(os, "fork"):
        code = """
        import os
        child = os.fork()
        for i in range(200):
            log.append("call", n=i)
        if child:
            os.waitpid(child, 0)
        """
        assert program(path, code).wait() == 0
    assert verify(path).ok and verify(path).entries == 200 + (400 if hasattr(os, "fork") else 0)


def test_ten_thousand_entries_a_second(path, record_property):
    """What the system has taken, not what is on the disk. Judged by this process's own time: others use the machine."""
    def rates():
        with Audit(path, key=KEY) as log:
            own, wall = time.process_time(), time.perf_counter()
            for i in range(3000):
                log.append("call", who="anna", tool="refund", arguments={"order_id": "A-1042", "amount": i})
            return 3000 / (time.process_time() - own), 3000 / (time.perf_counter() - wall)
    own, wall = map(max, zip(*(rates() for _ in range(3)), strict=True))
    record_property("figures", f"audit log: {wall:,.0f} entries a second by the clock, {own:,.0f} of its own time")
    assert own > 10_000


def test_odd_values_are_kept(path):
    with Audit(path) as log:
        log.append("call", text="half \ud800, line\nbreak\x00", path=path, number=float("inf"))
    assert verify(path).ok


def test_what_cannot_work_says_so(path, tmp_path):
    with pytest.raises(BadRequest, match="16 bytes"):
        Audit(path, key="short")
    with pytest.raises(BadRequest, match="no audit log"):
        verify(path)
    filled(path, 1)
    with pytest.raises(BadRequest, match="anchor"):
        verify(path, anchor="nonsense")
    log = Audit(path)
    log.close()
    with pytest.raises(LabkitError, match="closed"):
        log.append("call")
    (tmp_path / "file").write_text("")
    with pytest.raises(LabkitError, match="cannot be opened"):
        Audit(tmp_path / "file" / "audit.jsonl")


def test_the_command_says_which_entry(path, monkeypatch):
    filled(path, 4, key=KEY)
    monkeypatch.setenv("LABKIT_AUDIT_KEY", KEY.decode())
    assert CliRunner().invoke(app, ["audit", "verify", str(path)]).exit_code == 0
    path.write_bytes(path.read_bytes().replace(b'"amount":2', b'"amount":7'))
    told = CliRunner().invoke(app, ["audit", "verify", str(path), "--json"])
    assert told.exit_code == 1 and "line 3 (entry 3)" in json.loads(told.output)["wrong"]
    assert CliRunner().invoke(app, ["audit", "verify", str(path.with_name("none"))]).exit_code == 2
