"""How the last minutes went, from a history: a service's own, or a file without one. And what is advised, each advice
with the figure behind it.
"""
from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from labkit.intervals import percentile
from labkit.serving.advice import advice
from labkit.serving.history import Recorded
from labkit.serving.window import failed
from labkit.table import Shown, Table

LINES = ("latency_p95_s", "ttft_p95_s", "requests_waiting", "requests_per_s", "error_share", "tokens_per_s",
         "cpu_percent", "rss_bytes")
POINTS = 120  # of a line


@dataclass(frozen=True)
class Spread:
    """Of n values. Percentiles by nearest rank."""

    n: int
    mean: float
    p50: float
    p95: float
    p99: float

    def __str__(self) -> str:
        return f"p50 {self.p50:.3g} s, p95 {self.p95:.3g} s, p99 {self.p99:.3g} s, mean {self.mean:.3g} s"


@dataclass(frozen=True)
class Range:
    """Of a figure that was looked at again and again."""

    now: float
    mean: float
    least: float
    most: float


@dataclass(frozen=True, repr=False)
class Summary(Shown):
    """minutes: asked for; span_s: of them, what the history covers.

    outcomes: how requests ended -> how many; errors: status -> how many, of those that the service failed.
    latency, ttft, queued: seconds, of complete answers, the waiting included; None without any.
    input_tokens, output_tokens: of complete answers, all together; tokens_per_s: output tokens over span_s.
    figures: what was looked at. events: (seconds before the end, what an alert did).
    """

    minutes: float
    span_s: float
    outcomes: Mapping[str, int]
    errors: Mapping[int, int]
    latency: Spread | None
    ttft: Spread | None
    queued: Spread | None
    input_tokens: int
    output_tokens: int
    figures: Mapping[str, Range]
    events: Sequence[tuple[float, str]]

    @property
    def count(self) -> int:
        return sum(self.outcomes.values())

    @property
    def counted(self) -> int:
        """Without those that a pause refused: that was meant."""
        return self.count - self.outcomes.get("paused", 0)

    @property
    def error_share(self) -> float | None:
        """Of those counted; None without any: nothing is then known."""
        return sum(self.errors.values()) / self.counted if self.counted else None

    @property
    def tokens_per_s(self) -> float | None:
        return self.output_tokens / self.span_s if self.span_s else None

    @property
    def advice(self) -> list[str]:
        return advice(self)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "errors": {str(status): n for status, n in self.errors.items()}, "count": self.count,
                "error_share": self.error_share, "tokens_per_s": self.tokens_per_s, "advice": self.advice}

    def table(self) -> Table:
        spreads = [(name, str(spread)) for name, spread in (("latency", self.latency), ("first token", self.ttft),
                                                            ("in the queue", self.queued)) if spread]
        figures = [(name, f"now {r.now:.4g}, mean {r.mean:.4g}, least {r.least:.4g}, most {r.most:.4g}")
                   for name, r in sorted(self.figures.items())]
        ends = ", ".join(f"{n} {outcome}" for outcome, n in self.outcomes.items())
        rate = [] if self.tokens_per_s is None else [("tokens written", f"{self.tokens_per_s:.3g} a second")]
        return Table(("figure", "value"), (("requests", f"{self.count}: {ends}" if ends else "none"), *spreads, *rate,
                                           *figures, *((f"alert, {ago:.0f} s ago", event)
                                                      for ago, event in self.events)),
                     note="\n".join([f"The last {self.minutes:g} minutes, of which the history covers "
                                     f"{self.span_s:.0f} s.", *self.advice]))


def summary(history: Recorded, minutes: float = 5.0) -> Summary:
    """What a history says of its last minutes. Raises StoreUnavailable where it cannot be read."""
    seconds, now = 60 * minutes, history.now()
    ended, span_s = history.requests(seconds), history.span_s(seconds)
    done = [e for e in ended if e.outcome == "ok"]
    outcomes, errors = Counter(e.outcome for e in ended), Counter(e.status for e in ended if failed(e))
    return Summary(minutes, span_s, dict(outcomes), dict(errors),
                   _spread([e.total_s for e in done]), _spread([e.ttft_s for e in done]),
                   _spread([e.queued_s for e in done]), sum(e.input_tokens for e in done),
                   sum(e.output_tokens for e in done), _ranges(history, seconds),
                   [(now - at, text) for at, text in history.events(seconds)])


def told(history: Recorded, minutes: float) -> dict[str, Any]:
    """summary() as a dict, and `lines`: name -> [(seconds before the end, value)], thinned to POINTS."""
    now, lines = history.now(), {name: _thinned(history.of(name, 60 * minutes)) for name in LINES}
    return {**summary(history, minutes).to_dict(),
            "lines": {name: [(now - at, value) for at, value in points] for name, points in lines.items()}}


def _spread(values: Sequence[float]) -> Spread | None:
    return Spread(len(values), statistics.fmean(values), *(percentile(values, p) for p in (50, 95, 99))) \
        if values else None


def _ranges(history: Recorded, seconds: float) -> dict[str, Range]:
    found = {name: [value for _, value in history.of(name, seconds)] for name in history.names()}
    return {name: Range(v[-1], statistics.fmean(v), min(v), max(v)) for name, v in found.items() if v}


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most POINTS of them: of several in a row, the highest, so that no peak is lost."""
    step = -(-len(points) // POINTS)
    return [max(points[i:i + step], key=lambda point: point[1]) for i in range(0, len(points), step or 1)]
