"""Even samples to measure on, and the 95 % intervals of what was measured."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def interval(values: Sequence[float], resamples: int = 2000) -> tuple[float, float, float]:
    """Mean and its 95 % interval (low, high), by resampling the values (percentile bootstrap)."""
    import numpy as np

    values = np.asarray(values, dtype=float)
    if values.size == 0:
        raise ValueError("interval() needs at least one value")
    draws = np.random.default_rng(0).choice(values, size=(resamples, values.size)).mean(axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(values.mean()), float(low), float(high)


def share_interval(right: int, total: int) -> tuple[float, float, float]:
    """Share of `right` in `total` and its 95 % interval (Wilson's score interval)."""
    if not 0 <= right <= total or total == 0:
        raise ValueError(f"{right} of {total} is not a share")
    z, share = 1.96, right / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return share, max(0.0, centre - half), min(1.0, centre + half)


def percentile(values: Sequence[float], percent: int) -> float:
    """Nearest-rank percentile: the smallest of the values that `percent` % of them do not exceed."""
    return sorted(values)[-(-percent * len(values) // 100) - 1]


def p95(values: Sequence[float]) -> float:
    """Nearest-rank 95th percentile."""
    return percentile(values, 95)


def thinned(items: Sequence[T], n: int | None) -> list[T]:
    """At most `n` of them, spread evenly from the first on; all for None or 0."""
    if not n or n >= len(items):
        return list(items)
    return [items[i * len(items) // n] for i in range(n)]
