"""The measurement of what the service adds: real requests both ways."""
from __future__ import annotations

import subprocess
import sys
import time

import httpx
import pytest

from labkit.profiling import serving

MEASURING = """
import time
from labkit.profiling.served import served
with served() as url:
    print(url, flush=True)
    time.sleep(99)
"""


def test_both_ways_are_measured_and_the_difference_shown():
    steps = []
    found = serving.run(clients=(1,), rounds=1, each=3, progress=lambda *step: steps.append(step))
    result, = found.results
    assert steps == [(0, 1, "1 clients")] and (result.clients, result.requests) == (1, 3)
    assert all(0 < ms < 60_000 for ms in (*result.direct_ms, *result.served_ms))
    assert result.added_ms[0] == result.served_ms[0] - result.direct_ms[0]
    assert "added ms" in str(found) and found.to_dict()["results"][0]["clients"] == 1


def test_a_server_that_is_measured_ends_with_the_process_that_measures_it():
    with subprocess.Popen([sys.executable, "-c", MEASURING], stdout=subprocess.PIPE, encoding="utf-8") as measuring:
        url = measuring.stdout.readline().strip()
        assert httpx.get(f"{url}/health", timeout=10).status_code == 200
        measuring.kill()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            httpx.get(f"{url}/health", timeout=10)
        except httpx.TransportError:
            return
        time.sleep(0.1)
    pytest.fail("the server is still there")
