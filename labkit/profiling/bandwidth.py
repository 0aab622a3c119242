"""How fast this machine reads memory, which is what bounds the speed of decoding.

Method: each usable core reads its own slice of a buffer far larger than the last-level cache, with
NumPy's integer maximum, for a fixed time; the threads start together and their rates are added.
Compared with it on one machine, in GB/s for one and for two threads: int64 sum 34 and 38, int64 or
31 and 38, float32 maximum 31 and 39, float32 dot 34 and 39, this one 37 and 38. All meet the same
limit with every core at work; this one comes nearest to it with a single core. A copy was left out
(it also writes, and the two cannot be told apart), and so was BLAS with its own threads, which go on
spinning afterwards and disturb what is measured next. A single timed pass reads low while the
system still moves the threads apart, hence a fixed time.

On that machine, a virtual one, the same two threads read 38 GB/s in one minute and 65 in another:
the host decides whether its two cores are two. So measure next to what is compared with it.
"""
from __future__ import annotations

import statistics
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from labkit.models.hardware import usable_cores, usable_memory
from labkit.table import Shown, Table, size

BUFFER = 512 << 20
STEP = 16 << 20   # bytes between looks at the clock
WINDOW_S = 0.15


class Reader:
    """Holds the buffer, so that several readings can be taken between other measurements."""

    def __init__(self, buffer_bytes: int = BUFFER, threads: int | None = None):
        room = max(usable_memory() // 4, 2 * STEP)  # short of RAM: a smaller buffer, as reported
        self.threads = threads or usable_cores()
        self._buffer = np.ones(min(buffer_bytes, room) // 4, dtype=np.int32)  # written: pages are real
        self.buffer_bytes = self._buffer.nbytes
        self.read()  # warm-up

    def read(self, window_s: float = WINDOW_S) -> float:
        """Bytes per second read by all threads together, over `window_s` seconds."""
        rates = [0.0] * self.threads
        start = threading.Barrier(self.threads)

        def work(i: int, part: np.ndarray) -> None:
            start.wait()
            rates[i] = _rate(part, window_s)
        workers = [threading.Thread(target=work, args=pair)
                   for pair in enumerate(np.array_split(self._buffer, self.threads))]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return sum(rates)


def _rate(part: np.ndarray, window_s: float) -> float:
    steps = np.array_split(part, max(1, part.nbytes // STEP))
    done, begin = 0, time.perf_counter()
    while True:
        for step in steps:
            np.maximum.reduce(step)  # lets go of the GIL
            done += step.nbytes
            if (spent := time.perf_counter() - begin) >= window_s:
                return done / spent


@dataclass(frozen=True)
class Bandwidth(Shown):
    """Memory read bandwidth: repeated readings in bytes/s (1 GB is 10^9 bytes)."""

    readings: tuple[float, ...]
    threads: int
    buffer_bytes: int

    @property
    def bytes_per_s(self) -> float:
        """The median reading."""
        return statistics.median(self.readings)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "bytes_per_s": self.bytes_per_s}

    def table(self) -> Table:
        low, high = min(self.readings) / 1e9, max(self.readings) / 1e9
        row = (f"{self.bytes_per_s / 1e9:.1f}", f"{low:.1f} to {high:.1f}", str(self.threads),
               size(self.buffer_bytes))
        return Table(("memory reads, GB/s (median)", "range", "threads", "buffer"), (row,))


def measure_bandwidth(repeats: int = 7, buffer_bytes: int = BUFFER, threads: int | None = None) -> Bandwidth:
    """Measure now: about 0.15 s per repeat, and 0.3 s to fill the buffer."""
    reader = Reader(buffer_bytes, threads)
    return Bandwidth(tuple(reader.read() for _ in range(repeats)), reader.threads, reader.buffer_bytes)
