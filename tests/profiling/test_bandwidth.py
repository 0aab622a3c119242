from __future__ import annotations

import numpy as np

from labkit.profiling import bandwidth

SMALL = 64 << 20


def test_a_reading_is_what_the_clock_says_for_the_bytes_read(monkeypatch):
    """With a clock of one second per look: one step read in one second."""
    ticks = iter(range(100))
    monkeypatch.setattr(bandwidth.time, "perf_counter", lambda: float(next(ticks)))
    part = np.ones(bandwidth.STEP // 4 * 3, dtype=np.int32)
    assert bandwidth._rate(part, window_s=1) == bandwidth.STEP
    assert bandwidth._rate(part, window_s=5) == bandwidth.STEP  # passes over the slice again


def test_measured_bandwidth_is_plausible_and_shows_itself():
    found = bandwidth.measure_bandwidth(repeats=3, buffer_bytes=SMALL)
    assert len(found.readings) == 3 and found.buffer_bytes == SMALL
    assert 1e8 < found.bytes_per_s < 5e12  # between a 1990s machine and any machine there is
    assert min(found.readings) <= found.bytes_per_s <= max(found.readings)
    assert "GB/s" in str(found) and found.to_dict()["bytes_per_s"] == found.bytes_per_s


def test_short_of_memory_the_buffer_shrinks(monkeypatch):
    monkeypatch.setattr(bandwidth, "usable_memory", lambda: 160 << 20)
    assert bandwidth.Reader(buffer_bytes=1 << 30, threads=1).buffer_bytes == 40 << 20


def test_a_buffer_that_does_not_divide_evenly_is_read(monkeypatch):
    assert bandwidth.Reader(buffer_bytes=(32 << 20) + 4, threads=3).read(0.01) > 0
