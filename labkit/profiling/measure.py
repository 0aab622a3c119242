"""What a block of code took: time, memory, processor, energy."""
from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from labkit.models.hardware import usable_cores
from labkit.profiling.energy import Energy, EnergyMeter
from labkit.profiling.memory import peak_rss, rss
from labkit.table import Shown, Table, size


@dataclass(frozen=True)
class Sample:
    """One look: seconds since the start, resident bytes, share of the usable cores since the last."""

    at_s: float
    rss_bytes: int
    cpu_share: float


@dataclass
class Profile(Shown):
    """Filled while the block runs (`samples` grows) and final after it."""

    cores: int
    rss_before: int
    wall_s: float = 0.0
    cpu_s: float = 0.0            # processor time of all threads of this process
    peak_rss_bytes: int = 0       # highest during the block
    rss_after: int = 0
    energy: Energy = Energy(reason="the block is still running")
    samples: list[Sample] = field(default_factory=list)

    @property
    def cpu_share(self) -> float:
        """Processor time over wall time and usable cores: 1.0 is every core busy throughout."""
        return self.cpu_s / (self.wall_s * self.cores) if self.wall_s else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Everything but the samples."""
        return {"wall_s": self.wall_s, "cpu_s": self.cpu_s, "cpu_share": self.cpu_share, "cores": self.cores,
                "peak_rss_bytes": self.peak_rss_bytes, "rss_before": self.rss_before,
                "rss_after": self.rss_after, "energy": self.energy.to_dict()}

    def table(self) -> Table:
        grown = self.peak_rss_bytes - self.rss_before
        return Table(("measure", "value"), (
            ("time", f"{self.wall_s:.3f} s"),
            ("peak memory (RSS)", f"{size(self.peak_rss_bytes)}  (+{size(max(0, grown))})"),
            ("CPU share", f"{self.cpu_share:.0%} of {self.cores} cores"),
            ("energy", str(self.energy))))


@contextmanager
def profile(interval_s: float = 0.05) -> Iterator[Profile]:
    """Measure the block: `with profile() as p: ...`, then `p.peak_rss_bytes`, `p.cpu_share`, `p.energy`.

    A thread looks every `interval_s` seconds (some 30 microseconds each). Work in other processes
    is not counted, except in the energy.
    """
    result = Profile(usable_cores(), rss())
    sampler = _Sampler(result, interval_s)
    sampler.start()
    try:
        yield result
    finally:
        sampler.finish()


class _Sampler(threading.Thread):
    def __init__(self, result: Profile, interval_s: float):
        super().__init__(name="labkit-profile", daemon=True)
        self.result, self.interval_s = result, interval_s
        self._stop_now = threading.Event()
        self._peak_before = peak_rss()
        self._meter = EnergyMeter()
        self._begin, self._cpu_begin = time.perf_counter(), time.process_time()
        self._last = (0.0, 0.0)

    def run(self) -> None:
        while not self._stop_now.wait(self.interval_s):
            self._look()
            self._meter.poll()

    def _look(self) -> None:
        r, (wall_before, cpu_before) = self.result, self._last
        r.wall_s, r.cpu_s = time.perf_counter() - self._begin, time.process_time() - self._cpu_begin
        self._last = (r.wall_s, r.cpu_s)
        share = (r.cpu_s - cpu_before) / max(1e-9, (r.wall_s - wall_before) * r.cores)
        r.rss_after = rss()
        r.peak_rss_bytes = max(r.peak_rss_bytes, r.rss_before, r.rss_after)
        r.samples.append(Sample(r.wall_s, r.rss_after, share))

    def finish(self) -> None:
        self._stop_now.set()
        self.join()
        self._look()
        # A peak between two looks: if the process broke its own record, the system knows by how much.
        if (peak := peak_rss()) > self._peak_before:
            self.result.peak_rss_bytes = max(self.result.peak_rss_bytes, peak)
        self.result.energy = self._meter.read()
