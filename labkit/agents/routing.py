"""Small or large: a router that asks a small model where it can and a large one where it must.

    router = Router(slm, Tier(cloud, Price(0.15, 0.6), remote=True),
                    first(private(has_address), cost_cap(1.0), confidence(0.8)))
    routed = router.route("Where is A-1042?", tools=[order_status])
    routed.reply, routed.tier, routed.why, routed.cost

Who is asked, policies decide (labkit.agents.policies); what to do when one fails, this file does. Knows no runtime: a
tier is whatever has labkit's chat(). How good a policy is, measure with router_curve.
"""
from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labkit.agents.policies import LARGE, SMALL, Case, Decision, Policy
from labkit.agents.remote_tier import Breaker, Guarded
from labkit.backends.reply import Reply, Usage
from labkit.errors import BackendUnavailable, BadRequest, LabkitError
from labkit.table import Shown, Table
from labkit.tools.messages import normalise


@dataclass(frozen=True)
class Price:
    """Of a million tokens, read and written, in any one currency."""

    read: float = 0.0
    written: float = 0.0

    def of(self, usage: Usage) -> float:
        return (usage.prompt_tokens * self.read + usage.completion_tokens * self.written) / 1e6


@dataclass(frozen=True)
class Tier:
    """slm: a connected model. remote: what it is asked leaves this machine."""

    slm: Any
    price: Price = Price()
    remote: bool = False


@dataclass(frozen=True)
class Routed:
    """What became of one request. tried: (tier, seconds, what went wrong or "") in order."""

    reply: Reply
    tier: str
    why: str
    cost: float
    tried: tuple[tuple[str, float, str], ...]
    degraded: bool = False  # the large one was wanted and could not be reached

    def __str__(self) -> str:
        return f"{self.tier}{' (degraded)' if self.degraded else ''}: {self.reply}\n  {self.why}"


class Router:
    """small, large: connected models, or Tiers with prices. policy: see above.

    Stands where a model stands: lk.Agent(router, tools=…). `log` holds every request's outcome. A large tier that
    fails is asked again (`tries`), within `time_limit_s` all together; after `Breaker`'s number of failures in a row
    it is left alone for a while. Then the small one answers, and the outcome says `degraded`.
    """

    def __init__(self, small: Any, large: Any, policy: Policy, *, tries: int = 2, time_limit_s: float = 20.0,
                 breaker: Breaker | None = None):
        self.small, self.large = _tier(small), _tier(large)
        if self.small.remote:
            raise BadRequest("The small tier is remote: then nothing could be kept private.")
        self.policy, self.log = policy, []
        self._remote = Guarded(self.large.slm, tries, time_limit_s, breaker or Breaker())
        self._lock, self._busy = threading.Lock(), 0

    def chat(self, conversation: Any, **options: Any) -> Reply:
        """As labkit's chat(). Raises BackendUnavailable when no tier that may answer does."""
        return self.route(conversation, **options).reply

    async def achat(self, conversation: Any, **options: Any) -> Reply:
        """chat() without blocking the event loop."""
        return await asyncio.to_thread(self.chat, conversation, **options)

    def stream(self, conversation: Any, **options: Any) -> Whole:
        """chat() where a stream is wanted: it comes in one piece, for it may be the second model's answer."""
        return Whole(lambda: self.chat(conversation, **options))

    @property
    def model(self) -> str:
        """What the small tier calls its model; `route` says who answered."""
        return self.small.slm.model

    def route(self, conversation: Any, *, is_private: bool = False, priority: int = 0, **options: Any) -> Routed:
        """As chat(), with what became of the request."""
        journey = _Journey(self, normalise(conversation), options)
        with self._lock:
            spent, busy = sum(routed.cost for routed in self.log), self._busy
        case = Case(journey.messages, options, journey.ask_small, private=is_private, spent=spent, busy=busy,
                    priority=priority)
        routed = journey.end(case, self.policy(case) or Decision(SMALL, "nothing was decided"))
        with self._lock:
            self.log.append(routed)
        return routed

    @property
    def report(self) -> Report:
        """What the requests so far have cost, and what they would have cost with the large tier alone."""
        return Report(tuple(self.log), self.large.price)

    def _ask_small(self, messages: list[dict], options: Mapping[str, Any]) -> Reply:
        with self._lock:
            self._busy += 1
        try:
            return self.small.slm.chat(messages, **options)
        finally:
            with self._lock:
                self._busy -= 1


class Whole:
    """A stream of one piece; `.reply` is the answer."""

    def __init__(self, ask: Callable[[], Reply]):
        self._ask, self._reply, self._stopped = ask, None, False

    def __iter__(self) -> Iterator[str]:
        if self.reply.text and not self._stopped:
            yield self.reply.text

    @property
    def reply(self) -> Reply:
        if self._reply is None:
            self._reply = self._ask()
        return self._reply

    def __enter__(self) -> Whole:
        return self

    def __exit__(self, *raised: Any) -> None:
        self.stop()

    def stop(self) -> None:
        """Nobody wants the piece any more."""
        self._stopped = True


def _tier(given: Any) -> Tier:
    return given if isinstance(given, Tier) else Tier(given)


@dataclass
class _Journey:
    """One request through the router: who was asked, for how long, with what outcome."""

    router: Router
    messages: list[dict[str, Any]]
    options: Mapping[str, Any]
    tried: list[tuple[str, float, str]] = field(default_factory=list)
    cost: float = 0.0

    def ask_small(self) -> Reply:
        return self._ask(SMALL, self.router.small.price,
                         lambda: self.router._ask_small(self.messages, self.options))

    def ask_large(self) -> Reply:
        return self._ask(LARGE, self.router.large.price,
                         lambda: self.router._remote.chat(self.messages, self.options))

    def _ask(self, name: str, price: Price, ask: Callable[[], Reply]) -> Reply:
        began, problem = time.perf_counter(), ""
        try:
            reply = ask()
            self.cost += price.of(reply.usage)
            return reply
        except LabkitError as error:
            problem = str(error)
            raise
        finally:
            self.tried.append((name, time.perf_counter() - began, problem))

    def end(self, case: Case, decision: Decision) -> Routed:
        if decision.tier == LARGE:
            return self._large(case, decision)
        if not isinstance(case.small, LabkitError):
            return self._routed(case.small, SMALL, decision.why)
        if decision.final or not isinstance(case.small, BackendUnavailable):
            raise case.small  # nobody else may answer, or nobody else could make sense of it
        return self._large(case, Decision(LARGE, f"{decision.why}; the small model failed: {case.small}"))

    def _large(self, case: Case, decision: Decision) -> Routed:
        try:
            return self._routed(self.ask_large(), LARGE, decision.why)
        except BadRequest:
            raise  # the small one could make no more of it
        except LabkitError as error:
            if isinstance(case.small, LabkitError):
                raise BackendUnavailable(f"Neither model answers. Large: {error} Small: {case.small}") from error
            return self._routed(case.small, SMALL, f"{decision.why}; the large model failed: {error}", degraded=True)

    def _routed(self, reply: Reply, tier: str, why: str, degraded: bool = False) -> Routed:
        return Routed(reply, tier, why, self.cost, tuple(self.tried), degraded)


@dataclass(frozen=True, repr=False)
class Report(Shown):
    """Of a router's log. large: the price, for what it would have cost to ask the large tier alone."""

    log: Sequence[Routed]
    large: Price

    @property
    def kept_small(self) -> float:
        """Share of the requests that the small model answered."""
        return sum(r.tier == SMALL for r in self.log) / len(self.log) if self.log else 0.0

    @property
    def cost(self) -> float:
        return sum(routed.cost for routed in self.log)

    @property
    def cost_of_large_only(self) -> float:
        """An estimate: the tokens of the answers that came, at the large tier's price."""
        return sum(self.large.of(routed.reply.usage) for routed in self.log)

    @property
    def degraded(self) -> int:
        return sum(routed.degraded for routed in self.log)

    def table(self) -> Table:
        cheaper = f"{self.cost_of_large_only / self.cost:.1f} ×" if self.cost else "-"
        return Table(("requests", "small model", "cost", "large only", "cheaper", "degraded"),
                     ((str(len(self.log)), f"{self.kept_small:.0%}", f"{self.cost:.4g}",
                       f"{self.cost_of_large_only:.4g}", cheaper, str(self.degraded)),))

    def to_dict(self) -> dict[str, Any]:
        return {"requests": len(self.log), "kept_small": self.kept_small, "cost": self.cost,
                "cost_of_large_only": self.cost_of_large_only, "degraded": self.degraded}
