"""How good a router is, from recorded outcomes: what each model got right, and how sure the router was of the small.

Measures of RouteLLM (Ong et al. 2024, arXiv:2406.18665). With a share c of the requests sent to the large model:
PGR(c), performance gap recovered, = (quality(c) - small) / (large - small); APGR is its mean over all c from 0 to 1,
so 0.5 for a coin; CPT(x) is the least share with which a gap of x is recovered. Knows no models and no policies.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from labkit.errors import BadRequest
from labkit.table import Shown, Table

DRAWS = 400   # of the bootstrap
COIN = 0.5    # APGR of a router that tosses one


@dataclass(frozen=True)
class Outcomes:
    """Which requests each model answers rightly: two arrays of truth values, one place a request."""

    small: np.ndarray
    large: np.ndarray

    def __post_init__(self) -> None:
        for name in ("small", "large"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=bool))
        if self.small.shape != self.large.shape or self.small.ndim != 1 or not self.small.size:
            raise BadRequest(f"Outcomes of {self.small.shape} and {self.large.shape} requests: give two lists of one "
                             "length, with a truth value a request.")

    @property
    def gain(self) -> np.ndarray:
        """What asking the large one brings: -1, 0 or 1 a request."""
        return self.large.astype(int) - self.small.astype(int)

    @property
    def gap(self) -> float:
        """Between the two models' shares of right answers."""
        return float(self.gain.mean())


@dataclass(frozen=True)
class Curve:
    """quality[k]: share of right answers when the k requests of which the router is least sure go to the large."""

    quality: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """Of requests that go to the large model, 0 to 1."""
        return np.linspace(0, 1, len(self.quality))

    @property
    def pgr(self) -> np.ndarray:
        return (self.quality - self.quality[0]) / (self.quality[-1] - self.quality[0])

    @property
    def apgr(self) -> float:
        return float(np.trapezoid(self.pgr, self.shares))

    def cpt(self, gap: float) -> float:
        """Least share of large answers that recovers `gap`, 0 to 1, of the gap."""
        return float(self.shares[np.argmax(self.pgr >= gap - 1e-12)])


def curve(outcomes: Outcomes, sureness: Sequence[float], seed: int = 0) -> Curve:
    """sureness: one number a request, higher where the small model may keep it; ties are drawn."""
    sure = np.asarray(sureness, dtype=float)
    if sure.shape != outcomes.small.shape or np.isnan(sure).any():
        raise BadRequest(f"{sure.size} numbers, some of them none, for {outcomes.small.size} requests.")
    if outcomes.gap <= 0:
        raise BadRequest("The large model is no better here than the small one: there is no gap to recover.")
    order = np.lexsort((np.random.default_rng(seed).random(sure.size), sure))
    gained = np.concatenate([[0], np.cumsum(outcomes.gain[order])])
    return Curve(outcomes.small.mean() + gained / sure.size)


def coin(outcomes: Outcomes) -> Curve:
    """What tossing a coin gives on average: a straight line."""
    return Curve(np.linspace(outcomes.small.mean(), outcomes.large.mean(), outcomes.small.size + 1))


def oracle(outcomes: Outcomes) -> Curve:
    """What a router would give that knows both answers: those that the large one gains first."""
    return curve(outcomes, -outcomes.gain)


def apgr_interval(outcomes: Outcomes, sureness: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95 % interval of APGR, by drawing the requests again (bootstrap, percentiles)."""
    rng, sure, found = np.random.default_rng(seed), np.asarray(sureness, dtype=float), []
    for _ in range(DRAWS):
        drawn = rng.integers(0, sure.size, sure.size)
        part = Outcomes(outcomes.small[drawn], outcomes.large[drawn])
        if part.gap > 0:
            found.append(curve(part, sure[drawn], seed).apgr)
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), float(high)


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """Routers side by side on the same outcomes, with the coin and the oracle."""

    outcomes: Outcomes
    curves: Mapping[str, Curve]
    intervals: Mapping[str, tuple[float, float]]

    def table(self) -> Table:
        rows = [(name, f"{c.apgr:.3f}", "{:.3f} to {:.3f}".format(*self.intervals[name])
                 if name in self.intervals else "", f"{c.cpt(0.5):.0%}", f"{c.cpt(0.8):.0%}")
                for name, c in self.curves.items()]
        note = (f"{self.outcomes.small.size} requests; right: small {self.outcomes.small.mean():.1%}, large "
                f"{self.outcomes.large.mean():.1%}. CPT: share sent to the large model to recover so much of the gap.")
        return Table(("router", "APGR", "95 %", "CPT(50 %)", "CPT(80 %)"), tuple(rows), note=note)

    def to_dict(self) -> dict[str, Any]:
        return {name: {"apgr": c.apgr, "interval": self.intervals.get(name), "cpt50": c.cpt(0.5), "cpt80": c.cpt(0.8)}
                for name, c in self.curves.items()}


def compare(outcomes: Outcomes, routers: Mapping[str, Sequence[float]]) -> Comparison:
    """routers: name -> sureness, see curve()."""
    curves = {"coin": coin(outcomes), **{name: curve(outcomes, sure) for name, sure in routers.items()},
              "oracle": oracle(outcomes)}
    return Comparison(outcomes, curves, {name: apgr_interval(outcomes, sure) for name, sure in routers.items()})
