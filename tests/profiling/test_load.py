"""The load, in short: a real server with more than it can take, then killed; every promise must be kept."""
from __future__ import annotations

import math

from labkit.profiling import kill, load
from labkit.profiling.load import Answer


def test_a_server_keeps_its_promises_under_more_than_its_capacity_and_a_kill(record_property, monkeypatch):
    monkeypatch.setattr(load, "DEADLINE_S", 20.0)
    monkeypatch.setattr(load, "TIMES", 8)  # in so short a time, twice the capacity would not fill the queue
    steps = []
    found = load.run(seconds=4, rounds=1, progress=lambda *step: steps.append(step[:2]))
    record_property("figures", str(found))
    o, k = found.overload, found.kill
    assert steps == [(0, 3), (1, 3), (2, 3)]
    assert o.asked == o.answered + o.refused + o.late + o.other + o.lost and o.answered > 0 and o.refused > 0
    assert (o.lost, o.crossed, o.other, o.impolite) == (0, 0, 0, 0) and o.most_waiting <= o.places
    assert (k.jobs, k.done, k.again, k.crossed) == (kill.JOBS, kill.JOBS, 0, 0) and 1 <= k.before < kill.JOBS
    told = found.to_dict()
    assert told["kept"]["nothing lost"] and told["machine"] and "requests/s" in str(found)


def test_what_is_lost_crossed_or_impolite_is_counted():
    answers = [Answer(200, 1.0, True, False), Answer(200, 3.0, False, False), Answer(503, 0.1, True, True),
               Answer(429, 0.1, True, False), Answer(504, 9.0, True, False), Answer(0, 5.0, True, True),
               Answer(500, 0.1, True, False)]
    o = load._counted(answers, [(3, 100), (7, 150)], 2.0, 8, 2.0)
    assert (o.asked, o.answered, o.refused, o.late, o.other, o.lost) == (7, 2, 2, 1, 1, 1)
    assert (o.impolite, o.crossed, o.most_waiting, o.rss_start, o.rss_end) == (1, 1, 7, 100, 150)
    assert (o.p50_s, o.offered, o.refused_p99_s) == (2.0, 3.5, 0.1)
    broken = load.Load(None, o, kill.Kill(4, 1, 3, 1, 0, 1.0), {}).kept
    assert [promise for promise, held in broken.items() if not held] == [
        "99 % in time", "refused politely", "nothing lost", "nothing crossed", "memory flat", "jobs done once"]
    assert math.isnan(load._counted(answers[2:], [(0, 1)], 1.0, 4, 1.0).p50_s)
