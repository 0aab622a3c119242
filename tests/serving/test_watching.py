"""History and alerts: kept and dropped in time, begun after a while, over once; no fault of theirs stops anything."""
from __future__ import annotations

import time

import pytest

from labkit.errors import BadRequest
from labkit.serving.alerts import Alerts, Rule
from labkit.serving.history import History, recorded
from labkit.serving.metrics import Ended
from labkit.serving.sqlite_file import StoreUnavailable
from labkit.serving.summary import Range, Spread, summary, told


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
    told = summary(history, 60)
    assert told.figures["queue"] == Range(20, 10.5, 1, 20) and history.names() == ["queue", "rss"]
    assert "now 20, mean 10.5, least 1, most 20" in str(told) and told.span_s == 200


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


def test_a_file_is_read_while_it_is_written_and_after(tmp_path, clock):
    """Its last minutes are the file's, not those of whoever looks; what is no history is not touched."""
    writing = History(tmp_path / "h.sqlite", now=clock)
    writing.add({"queue": 3})
    reading = recorded(tmp_path / "h.sqlite")
    assert reading.of("queue", 60) == [(clock.at, 3)]
    clock.at += 600
    writing.add({"queue": 4})
    writing.close()
    assert [value for _, value in reading.of("queue", 60)] == [4]
    reading.close()
    (tmp_path / "other").write_bytes(b"not a database " * 300)
    for name in ("other", "absent"):
        with pytest.raises(StoreUnavailable):
            recorded(tmp_path / name)
    assert sorted(p.name for p in tmp_path.iterdir() if "h.sqlite" not in p.name) == ["other"]


def test_a_clock_that_is_set_while_it_runs_changes_nothing(tmp_path, monkeypatch):
    history = History(tmp_path / "h.sqlite", keep_s=3600)
    real = time.time
    for jump in (0, 400_000, -400_000):
        monkeypatch.setattr(time, "time", lambda jump=jump: real() + jump)
        history._swept = 0.0  # look for what is too old now
        history.add({"queue": jump}, [Ended(time.monotonic() - 2, "ok", 200, 0.0, 0.1, 0.2, 1, 1)])
    assert [value for _, value in history.of("queue", 60)] == [0, 400_000, -400_000]
    assert len(history.requests(60)) == 3 and history.requests(1) == [] and 0 <= history.span_s(60) < 60
    history.close()


def ended(n: int, outcome: str = "ok", status: int = 200, total_s: float = 0.5, queued_s: float = 0.1) -> list[Ended]:
    times = (queued_s, queued_s + 0.05, total_s) if outcome == "ok" else ()
    return [Ended(time.monotonic(), outcome, status, *times)] * n


def test_a_summary_takes_times_of_complete_answers_and_counts_the_rest(history, clock):
    history.add({"cpu_percent": 20.0})
    clock.at += 60
    slow = ended(1, total_s=9.0)
    history.add({"cpu_percent": 40.0}, [*ended(98), *slow, *ended(1, total_s=3.0), *ended(10, "overloaded", 503),
                                        *ended(5, "bad_request", 400), *ended(3, "client_left", 499),
                                        *ended(7, "paused", 503)])
    found = summary(history, 5)
    assert found.count == 125 and found.errors == {503: 10} and found.error_share == 10 / 118
    assert found.latency == Spread(100, pytest.approx((98 * 0.5 + 12) / 100), 0.5, 0.5, 3.0)
    assert "8.5% of 118 requests failed over 60 s (10 × 503)" in found.advice[0]
    assert "10 overloaded" in str(found) and found.to_dict()["errors"] == {"503": 10}


def test_advice_quotes_its_figure_and_few_requests_give_none(history, clock):
    history.add({"cpu_percent": 30.0, "free_memory_bytes": 3e8})
    clock.at += 300
    history.add({"cpu_percent": 50.0, "free_memory_bytes": 4e8}, ended(19, queued_s=4.1, total_s=5))
    assert [text.split(":")[0] for text in summary(history, 5).advice] == [
        "Free memory went down to 300 MB over 5 minutes"]
    history.add({}, ended(1, queued_s=4.1, total_s=5))
    assert summary(history, 5).advice[1] == ("Queue delay p95 was 4.1 s over 5 minutes, of a latency p95 of 5.0 s, "
                                             "with processors 40 % busy: there is room for a higher --at-once.")
    clock.at += 600
    history.add({"cpu_percent": 0.0, "rss_bytes": 6e8})
    quiet = summary(history, 5)
    assert quiet.count == 0 and quiet.latency is None and quiet.error_share is None and quiet.advice == []


def test_nothing_for_long_is_told_with_what_it_costs(history, clock):
    for _ in range(60):
        clock.at += 10
        history.add({"rss_bytes": 6e8})
    assert summary(history, 5).advice == [
        "No request came over 5 minutes, and 600 MB are held: the service could be stopped."]


def test_lines_are_thinned_and_keep_their_peak(history, clock):
    for n in range(400):
        history.add({"cpu_percent": 99.0 if n == 277 else 1.0})
        clock.at += 1
    line = told(history, 60)["lines"]["cpu_percent"]
    assert len(line) <= 120 and max(value for _, value in line) == 99.0 and line[-1][0] >= 0
    assert line == sorted(line, reverse=True)


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


def test_without_its_figure_an_alert_ends_after_a_while():
    """A service that takes no work because it was slow measures no latency any more."""
    did = []
    alerts = Alerts([Rule("slow", "latency", 5, action=did.append, undo=lambda: did.append("undone"))])
    assert alerts.look({"latency": 9}, 0)[0].began and alerts.look({}, 59) == []
    (event,) = alerts.look({}, 60)
    assert str(event) == "slow is over: latency is not measured any more" and did == [9, "undone"]
    assert alerts.look({}, 200) == [] and alerts.on == []


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
