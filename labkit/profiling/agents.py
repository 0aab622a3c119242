"""Agents and routers, measured: `labkit bench --agents`.

Which specialist a request is for (labkit.agents.intents), what a cascade from small to large gains
(labkit.agents.router_curve), what Microsoft Agent Framework adds to a turn, and how long a hand-off takes.
"""
from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from labkit.agents import intents, router_curve
from labkit.agents.intents import Verdicts
from labkit.agents.remote_tier import StandIn
from labkit.agents.router_curve import Comparison, Outcomes
from labkit.profiling import held_out
from labkit.profiling.tool_calls import ask
from labkit.profiling.tool_case import Case

ERROR_RATE = 0.08   # of the stand-in for a large model, see remote_tier
CASES = (120, 60)   # of the cascade: requests that need a call, and that need none
UNTRAINED = 60      # requests for the untrained router, which takes seven times as long
PAIRS = 20          # of the framework's overhead
HAND_OFFS = 7
QUESTION = "Where is my order A-1042?"
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class AgentsReport:
    """added_ms: by the framework to a turn, in pairs. hand_off_s: three agents, warm; spoke: who answered each time."""

    routers: Verdicts
    untrained: Verdicts
    cascade: Comparison
    added_ms: tuple[float, ...]
    hand_off_s: tuple[float, ...]
    spoke: tuple[str, ...]

    def __str__(self) -> str:
        return "\n\n".join([
            f"Which specialist?\n{self.routers}", f"On every sixth of them, also without training\n{self.untrained}",
            f"A cascade on tool calls, to a stand-in that is wrong in {ERROR_RATE:.0%}\n{self.cascade}",
            f"Agent Framework adds {statistics.median(self.added_ms):.1f} ms to a turn (median of {PAIRS} pairs).",
            f"A hand-off among three agents takes {statistics.median(self.hand_off_s):.2f} s, the slowest of "
            f"{HAND_OFFS} {max(self.hand_off_s):.2f} s; handed to: {', '.join(sorted(set(self.spoke)))}."])

    def to_dict(self) -> dict[str, Any]:
        def rows(verdicts: Verdicts) -> list[dict[str, Any]]:
            return [vars(judged) for judged in verdicts.judged]
        return {"routers": rows(self.routers), "untrained": rows(self.untrained), "cascade": self.cascade.to_dict(),
                "added_ms": self.added_ms, "hand_off_s": self.hand_off_s, "spoke": self.spoke}


def run(progress: Progress | None = None, *, slm: Any = None) -> AgentsReport:
    """Some minutes on two cores. slm: None for the embedded model."""
    from labkit import connect
    slm, report = slm or connect(), progress or (lambda *_: None)
    report(0, 4, "routers")
    routers = {"keywords": intents.Keywords(), "words": intents.Words(), "vectors": intents.Probe(slm)}
    asked = intents.load("test")
    verdicts = intents.judge(routers, asked)
    few = asked[::len(asked) // UNTRAINED]
    untrained = intents.judge({**routers, "untrained": intents.Likelihood(slm)}, few)
    report(1, 4, "cascade")
    compared = cascade(slm, held_out.load("test", True, CASES[0]) + held_out.load("test", False, CASES[1]))
    report(2, 4, "framework")
    added = asyncio.run(_added(slm))
    report(3, 4, "hand-off")
    seconds, spoke = zip(*asyncio.run(_hand_offs(slm)), strict=True)
    report(4, 4, "done")
    return AgentsReport(verdicts, untrained, compared, tuple(added), seconds, spoke)


def cascade(slm: Any, cases: Sequence[Case]) -> Comparison:
    """Routers on the course's own requests: the small model's confidence, and the requests' length."""
    large = StandIn(held_out.answer_key("test"), error_rate=ERROR_RATE, latency_s=0)
    texts = [case.messages[-1]["content"] for case in cases]
    right, _, sure = zip(*(ask(slm, "auto", case) for case in cases), strict=True)
    outcomes = Outcomes(right, [large.knows(text) for text in texts])
    return router_curve.compare(outcomes, {"confidence": [p or 0.0 for p in sure],
                                           "length": [-len(text) for text in texts]})


async def _added(slm: Any) -> list[float]:
    """Milliseconds that the framework's agent adds to a short answer, in pairs whose order alternates.

    Every question is a new one: of a repeated one the prompt would be in the cache.
    """
    from agent_framework import Agent

    from labkit.agents.agent_framework import LabkitChatClient
    agent, found = Agent(LabkitChatClient(slm)), []

    async def direct(question: str) -> None:
        slm.chat(question, max_tokens=3)

    async def framed(question: str) -> None:
        await agent.run(question, options={"max_tokens": 3, "temperature": 0.0})

    for i in range(PAIRS + 1):
        took = {}
        for way in ((direct, framed), (framed, direct))[i % 2]:
            began = time.perf_counter()
            await way(f"{i:03} {way.__name__}: say a word.")
            took[way] = 1000 * (time.perf_counter() - began)
        found.append(took[framed] - took[direct])
    return found[1:]


async def _hand_offs(slm: Any) -> list[tuple[float, str]]:
    """(seconds, who got the request) of a reception and two specialists; the first one warms up."""
    from labkit.agents.recorder import Recorder
    record, found = Recorder(), []
    workflow = _reception(slm, record)
    for _ in range(HAND_OFFS + 1):
        record.clear()
        await workflow().run(QUESTION)
        found.append((record.seconds, record.spoke[-1]))
    return found[1:]


def _reception(slm: Any, record: Any) -> Callable[[], Any]:
    from agent_framework import Agent, tool
    from agent_framework_orchestrations import HandoffBuilder

    from labkit.agents.agent_framework import LabkitChatClient

    @tool(approval_mode="never_require")
    def order_status(order_id: str) -> str:
        """Status of an order. Args: order_id: like A-1042."""
        return f"Order {order_id} was shipped on Monday."

    def agent(name: str, does: str, *tools: Any) -> Agent:
        return Agent(LabkitChatClient(slm), f"You are the {name} desk.", name=name, description=does,
                     tools=list(tools), middleware=record.middleware, default_options={"max_tokens": 60},
                     require_per_service_call_history_persistence=True)
    reception = agent("reception", "Sends people to the right desk.")
    others = [agent("orders", "Looks up where an order is.", order_status), agent("poems", "Writes poems.")]
    builder = HandoffBuilder(name="desk", participants=[reception, *others]).with_start_agent(reception)
    for other in others:
        builder = builder.add_handoff(other, [reception])
    return builder.add_handoff(reception, others).build
