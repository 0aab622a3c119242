"""The measurement of what the service adds: real requests both ways."""
from __future__ import annotations

from labkit.profiling import serving


def test_both_ways_are_measured_and_the_difference_shown():
    steps = []
    found = serving.run(clients=(1,), rounds=1, each=3, progress=lambda *step: steps.append(step))
    result, = found.results
    assert steps == [(0, 1, "1 clients")] and (result.clients, result.requests) == (1, 3)
    assert all(0 < ms < 60_000 for ms in (*result.direct_ms, *result.served_ms))
    assert result.added_ms[0] == result.served_ms[0] - result.direct_ms[0]
    assert "added ms" in str(found) and found.to_dict()["results"][0]["clients"] == 1
