"""How often the desks' agents do what they are asked: `labkit desks`.

Every scenario meets a fresh desk, through the public API; labkit.domains.judging decides by the tools called and by
what is different in the database. With the course's adapter, or with the model as it comes.
"""
from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from labkit import domains
from labkit.agents.run import Run
from labkit.domains.scenario import Scenario
from labkit.errors import LabkitError
from labkit.intervals import percentile, share_interval, thinned
from labkit.table import Shown, Table

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Outcome:
    """One scenario by one model. why: of the verdict."""

    scenario: Scenario
    passed: bool
    why: str
    seconds: float


@dataclass(frozen=True, repr=False)
class DeskReport(Shown):
    """model: its name, and with which adapter. split: of the scenarios."""

    model: str
    split: str
    outcomes: tuple[Outcome, ...]

    def of(self, desk: str) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.scenario.desk == desk]

    @property
    def failed(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if not outcome.passed]

    def table(self) -> Table:
        desks = dict.fromkeys(outcome.scenario.desk for outcome in self.outcomes)
        rows = [_row(desk, self.of(desk)) for desk in desks]
        total = [_row("all", self.outcomes)] if len(rows) > 1 else []
        return Table(("desk", "done", "of", "share, % (95 % interval)", "p50, s", "p95, s"), (*rows, *total),
                     f"{self.model}, {self.split}")

    def to_dict(self) -> dict[str, Any]:
        desks = dict.fromkeys(outcome.scenario.desk for outcome in self.outcomes)
        return {"model": self.model, "split": self.split, "desks": {desk: _figures(self.of(desk)) for desk in desks},
                "all": _figures(self.outcomes),
                "outcomes": [{**asdict(outcome), "scenario": outcome.scenario.id} for outcome in self.outcomes]}


def run(progress: Progress | None = None, *, names: Sequence[str] = domains.NAMES, split: str = "dev",
        count: int | None = None, untrained: bool = False, slm: Any = None) -> DeskReport:
    """Ask the desks' scenarios: `count` of each desk, spread evenly over its kinds; None for all.

    untrained: the model without an adapter. slm: another connected model than the embedded one.
    """
    from labkit import connect
    chosen = [each for name in names for each in thinned(domains.scenarios(name, split), count)]
    slm, outcomes = slm or connect(**({"adapter": None} if untrained else {})), []
    for scenario in chosen:
        outcomes.append(ask(slm, scenario))
        if progress:
            progress(len(outcomes), len(chosen), f"{scenario.desk}: {sum(o.passed for o in outcomes)} done")
    trained = slm.capabilities.trained
    return DeskReport(f"{slm.model}, {'with an adapter' if trained else 'no adapter'}", split, tuple(outcomes))


def ask(slm: Any, scenario: Scenario) -> Outcome:
    """One scenario on a desk of its own. An answer that is no valid one counts as not done."""
    with domains.open_desk(scenario.desk) as desk:
        agent, before = desk.agent(slm), desk.database.snapshot()
        started = time.perf_counter()
        try:
            done = agent.run(scenario.request)
        except LabkitError as error:
            done = Run([]).end(str(error), "tool_error")
        seconds = time.perf_counter() - started
        verdict = domains.judge(desk, before, done, scenario)
    return Outcome(scenario, verdict.passed, verdict.why, seconds)


def _figures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    passed, seconds = sum(outcome.passed for outcome in outcomes), [outcome.seconds for outcome in outcomes]
    share, low, high = share_interval(passed, len(outcomes))
    return {"done": passed, "of": len(outcomes), "share": share, "interval": (low, high),
            "p50_s": percentile(seconds, 50), "p95_s": percentile(seconds, 95)}


def _row(name: str, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    found = _figures(outcomes)
    low, high = found["interval"]
    share = f"{100 * found['share']:.1f} ({100 * low:.0f} to {100 * high:.0f})"
    return (name, str(found["done"]), str(found["of"]), share, f"{found['p50_s']:.2f}", f"{found['p95_s']:.2f}")
