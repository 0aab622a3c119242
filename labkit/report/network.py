"""The network goes away and comes back: what an agent does whose large model is far away.

The far model is a server on the loopback address of this machine, with the small model behind it: what is tried is
the way there, not the answers. The agent stands behind a router (labkit.agents.routing) with the embedded model to
fall back on; and once without one, for comparison.
"""
from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from labkit.agents import policies
from labkit.agents.remote_tier import Breaker
from labkit.agents.routing import Router, Tier
from labkit.backends.registry import connect
from labkit.report.subjects import Subject
from labkit.report.work import Watched, attempt
from labkit.serving.background import serve_in_background

THERE, GONE, BACK = "there", "gone", "back again"
BREAKER = Breaker(failures=2, rest_s=1.0)  # a short rest, so that the trial is short


@dataclass(frozen=True)
class Asked:
    """One request. tier: who answered, "large" is the far one; "" where nobody did. at_s: since the trial began."""

    phase: str
    at_s: float
    seconds: float
    tier: str
    error: str


def run(subject: Subject, scenarios: Sequence[Any]) -> dict[str, Any]:
    """The same requests while the network is there, gone, and back again."""
    here = subject.slm.small.slm if isinstance(subject.slm, Router) else subject.slm
    server = serve_in_background(here)
    try:
        far = connect("openai", base_url=f"{server.base_url}/v1", retries=0)
        trial = _Trial(subject, scenarios, Router(here, Tier(far, remote=True), policies.always(policies.LARGE),
                                                  breaker=BREAKER))
        trial.phase(THERE)
        server.stop()
        trial.phase(GONE)
        alone = [_alone(subject, scenario, far) for scenario in scenarios]
        server = serve_in_background(here, port=int(server.base_url.rpartition(":")[2]))
        time.sleep(BREAKER.rest_s)
        trial.phase(BACK)
    finally:
        server.stop()
    return {"asked": [asdict(asked) for asked in trial.asked], "without_router": alone, **_summary(trial.asked)}


class _Trial:
    def __init__(self, subject: Subject, scenarios: Sequence[Any], router: Router):
        self.subject, self.scenarios, self.router, self.asked = subject, scenarios, router, []
        self._began = time.perf_counter()

    def phase(self, name: str) -> None:
        for scenario in self.scenarios:
            before, began = len(self.router.log), time.perf_counter()
            with self.subject.begin(scenario, Watched(self.router)) as ready:
                _, error = attempt(ready.agent, scenario)
            answered = self.router.log[before:]
            self.asked.append(Asked(name, began - self._began, time.perf_counter() - began,
                                    answered[-1].tier if answered else "", error))


def _alone(subject: Subject, scenario: Any, far: Any) -> str:
    """What an agent without a router says while the network is gone; "" if it answers."""
    with subject.begin(scenario, far) as ready:
        return attempt(ready.agent, scenario)[1]


def _summary(asked: Sequence[Asked]) -> dict[str, Any]:
    """answered: of the requests of each phase, by whom. fell_back, came_back: whether all of them did."""
    phases = {name: [one for one in asked if one.phase == name] for name in (THERE, GONE, BACK)}
    return {
        "phases": {name: {"n": len(ones), "far": sum(one.tier == policies.LARGE for one in ones),
                          "fallback": sum(one.tier == policies.SMALL for one in ones),
                          "unanswered": sum(not one.tier for one in ones),
                          "median_s": statistics.median(one.seconds for one in ones)}
                   for name, ones in phases.items()},
        "answered_while_gone": sum(bool(one.tier) for one in phases[GONE]) / len(phases[GONE]),
        "came_back": all(one.tier == policies.LARGE for one in phases[BACK])}
