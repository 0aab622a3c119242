"""History and alerts: kept and dropped in time, begun after a while, over once; no fault of theirs stops anything."""
from __future__ import annotations

import pytest

from labkit.errors import BadRequest
from labkit.serving.alerts import Alerts, Rule
from labkit.serving.history import History


class Clock:
    at = 1_000_000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def history(tmp_path, clock):
    made = History(tmp_path / "history.sqlite", keep_s=3600, now=clock)
    yield made
    made.close()


def test_the_last_minutes_in_a_table(history, clock):
    for n in range(1, 21):
        history.add({"queue": n, "rss": 5})
        clock.at += 10
    assert [value for _, value in history.of("queue", 95)] == [12, 13, 14, 15, 16, 17, 18, 19, 20]
    told = history.summary(60)
    assert told.figures["queue"] == tuple(range(1, 21)) and history.names() == ["queue", "rss"]
    assert "queue" in str(told) and "10.5" in str(told) and "19" in str(told)


def test_what_is_old_is_dropped(history, clock):
    history.add({"queue": 1})
    clock.at += 3700
    history.add({"queue": 2})
    assert [value for _, value in history.of("queue", 1e9)] == [2]


def test_a_clock_that_is_set_back_leaves_nothing_from_the_future(history, clock):
    history.add({"queue": 1})
    clock.at -= 100_000
    history.add({"queue": 2})
    assert [value for _, value in history.of("queue", 1e9)] == [2]


def test_a_disk_that_is_full_loses_figures_and_says_so(history):
    history._db.execute("PRAGMA max_page_count = 1")
    for _ in range(300):
        history.add({f"figure {n}": n for n in range(50)})
    assert "not kept: database or disk is full" in history.trouble
    history._db.execute("PRAGMA max_page_count = 1000000")
    history.add({"queue": 1})
    assert history.trouble == "" and history.of("queue", 10)


def test_a_damaged_file_is_moved_aside(tmp_path):
    (tmp_path / "h.sqlite").write_bytes(b"not a database " * 300)
    history = History(tmp_path / "h.sqlite")
    history.add({"queue": 1})
    assert history.moved_aside.is_file() and history.of("queue", 10)
    history.close()


def test_an_alert_begins_after_a_while_and_ends_with_hysteresis():
    did = []
    alerts = Alerts([Rule("long queue", "queue", 10, until=5, for_s=3, action=did.append)])
    values = [12, 12, 8, 12, 12, 12, 12, 7, 6, 5, 12]  # a second apart
    events = [(at, str(event)) for at, value in enumerate(values) for event in alerts.look({"queue": value}, at)]
    assert events == [(6, "long queue began: queue is 12"), (9, "long queue is over: queue is 5")]
    assert did == [12] and alerts.on == []


def test_too_low_is_bad_too_and_what_is_missing_changes_nothing():
    alerts = Alerts([Rule("battery", "battery", 20, above=False, until=30)])
    assert alerts.look({}, 0) == [] and alerts.look({"battery": 25}, 1) == []
    assert alerts.look({"battery": 19}, 2)[0].began and alerts.look({"other": 1}, 3) == []
    assert alerts.look({"battery": 25}, 4) == [] and [rule.name for rule in alerts.on] == ["battery"]
    assert not alerts.look({"battery": 30}, 5)[0].began


def test_an_action_that_fails_is_told():
    def fails(value):
        raise RuntimeError("no such model")
    (event,) = Alerts([Rule("hot", "temperature", 80, action=fails)]).look({"temperature": 90}, 0)
    assert event.began and str(event).endswith("(its action failed: RuntimeError: no such model)")


@pytest.mark.parametrize("make", [
    lambda: Rule("a", "b", 10, until=12), lambda: Rule("a", "b", 10, above=False, until=8),
    lambda: Rule("a", "b", 10, for_s=-1), lambda: Alerts([Rule("a", "b", 1), Rule("a", "c", 2)]),
])
def test_rules_that_make_no_sense(make):
    with pytest.raises(BadRequest):
        make()
