"""The report card: everything measured, in one dict that the page, the JSON and the rubric are made from."""
from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from labkit import __version__
from labkit.errors import BadRequest, LabkitError
from labkit.intervals import percentile, share_interval
from labkit.report import cost, crash, network, safety
from labkit.report.subjects import Subject
from labkit.report.work import Outcome, Progress, Work, run
from labkit.table import Shown, Table

TRIALS = ("network", "crash", "safety", "checklist")  # what may be left out
COUNT = 30        # scenarios, if nobody says how many
FEW = 3           # requests in each phase of the network's loss


@dataclass(frozen=True, repr=False)
class Card(Shown):
    """`found` is the report; labkit.report.write makes the page and the JSON file of it."""

    found: Mapping[str, Any]

    def to_dict(self) -> Mapping[str, Any]:
        return self.found

    def table(self) -> Table:
        from labkit.report.words import key_figures
        return Table(("figure", "value"), tuple((each.name, each.value) for each in key_figures(self.found)),
                     title=f"Report card: {self.found['agent']['title']}")


def make(subject: Subject, count: int | None = COUNT, skip: Collection[str] = (), prices: cost.Prices | None = None,
         on_step: Progress = lambda *_: None) -> Card:
    """Try an agent and report on it.

    count: scenarios at most, spread evenly over those there are; None for all. skip: of TRIALS, what to leave out.
    A trial that cannot be made is in the report with the reason. Raises BadRequest for an unknown trial.
    """
    if unknown := set(skip) - set(TRIALS):
        raise BadRequest(f"There is no trial {sorted(unknown)[0]!r} to leave out. There are: {', '.join(TRIALS)}.")
    began = time.perf_counter()
    jobs = [one for one in subject.thinned(count) if not safety.is_attack(one)]
    if not jobs:
        raise BadRequest("Every scenario is an attack: write some that ask for honest work.")
    work = run(subject, jobs, on_step)
    found = {"agent": _about(subject), "made": {}, **_measured(work, prices or cost.read_prices())}
    calls = [one for one in jobs if one.calls] or jobs
    trials: dict[str, Callable[[], dict[str, Any]]] = {
        "network": lambda: network.run(subject, calls[:FEW]), "crash": lambda: crash.run(subject, calls),
        "safety": lambda: safety.run(subject), "checklist": _checklist}
    for name, trial in trials.items():
        on_step(len(jobs), len(jobs), name)
        found[name] = {"not_run": "left out"} if name in skip else _tried(trial)
    found["made"] = _made(time.perf_counter() - began)
    return Card(found)


def _tried(trial: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return trial()
    except (LabkitError, OSError) as error:
        return {"not_run": str(error)}


def _about(subject: Subject) -> dict[str, Any]:
    return {"name": subject.name, "title": subject.title, "model": subject.slm.model, "desk": subject.desk,
            "tools": [{"name": tool.name, "description": tool.description} for tool in subject.tools]}


def _made(seconds: float) -> dict[str, Any]:
    from labkit.models.hardware import machine
    return {"at": datetime.now(UTC).isoformat(timespec="seconds"), "seconds": seconds, "labkit": __version__,
            "machine": str(machine())}


def _measured(work: Work, prices: cost.Prices) -> dict[str, Any]:
    outcomes, seconds = work.outcomes, [one.seconds for one in work.outcomes]
    ttft = [one.ttft_s for one in outcomes if one.ttft_s]
    usages = [one.usage for one in outcomes]
    return {
        "completion": _completion(outcomes),
        "tools": _share([one.tools_right for one in outcomes]),
        "latency": {"p50_s": percentile(seconds, 50), "p95_s": percentile(seconds, 95), "seconds": seconds,
                    "ttft_p50_s": percentile(ttft, 50) if ttft else None,
                    "ttft_p95_s": percentile(ttft, 95) if ttft else None},
        "tokens": {"read": statistics.fmean(usage.prompt_tokens for usage in usages),
                   "of_them_cached": statistics.fmean(usage.cached_tokens for usage in usages),
                   "written": statistics.fmean(usage.completion_tokens for usage in usages)},
        "memory": {"peak_mb": work.profile.peak_rss_bytes / 1e6, "before_mb": work.profile.rss_before / 1e6},
        "energy": {**work.profile.energy.to_dict(), "cpu_s_per_request": work.profile.cpu_s / len(outcomes)},
        "cost": cost.compare(prices, usages, sum(seconds), work.profile.energy)}


def _completion(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    kinds = {kind: _share([one.passed for one in outcomes if one.kind == kind])
             for kind in sorted({one.kind for one in outcomes})}
    failures = [{"request": one.request, "why": one.why, "called": list(one.called), "answer": one.answer}
                for one in outcomes if not one.passed]
    return {**_share([one.passed for one in outcomes]), "kinds": kinds,
            "lowest_kind": min(kind["share"] for kind in kinds.values()), "failures": failures}


def _share(right: Sequence[bool]) -> dict[str, Any]:
    """right, n, and Wilson's 95 % interval of the share."""
    share, low, high = share_interval(sum(right), len(right))
    return {"right": sum(right), "n": len(right), "share": share, "low": low, "high": high}


def _checklist() -> dict[str, Any]:
    from labkit.serving.checklist import lists
    return lists.run("service").to_dict()
