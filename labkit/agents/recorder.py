"""Who spoke, which tools ran, how long it took and how many tokens: a record of agents at work together.

    record = Recorder()
    agents = [Agent(client, …, middleware=record.middleware), …]
    await SequentialBuilder(participants=agents).build().run("…")
    record            # a table; labkit.widgets.agent_picture draws it

Middleware of Microsoft Agent Framework, so it stands around whatever the framework's workflows let the agents do.
"""
from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any

from agent_framework import AgentMiddleware, FunctionMiddleware

from labkit.table import Shown, Table

_speaking: ContextVar[str] = ContextVar("speaking", default="")


@dataclass
class Turn:
    """One agent's turn, or one tool's run within it (`tool` is then its name). Seconds since the record began."""

    agent: str
    began_s: float
    took_s: float = 0.0
    tool: str = ""
    said: str = ""       # what the agent answered, or the tool's result
    tokens: int = 0      # that the agent's model read and wrote
    error: str = ""


class Recorder(Shown):
    """`turns`, in the order in which they began. Give `middleware` to every agent that shall be in the record."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self._began = time.perf_counter()

    @property
    def middleware(self) -> list[Any]:
        return [_AgentTurns(self), _ToolRuns(self)]

    def clear(self) -> None:
        """Forget what was recorded; the clock begins at 0 again."""
        self.turns.clear()
        self._began = time.perf_counter()

    @property
    def spoke(self) -> list[str]:
        """The agents, in the order of their turns."""
        return [turn.agent for turn in self.turns if not turn.tool]

    @property
    def seconds(self) -> float:
        """From the beginning of the first turn to the end of the last."""
        ends = [turn.began_s + turn.took_s for turn in self.turns]
        return max(ends) - self.turns[0].began_s if ends else 0.0

    def begin(self, agent: str, tool: str = "") -> Turn:
        turn = Turn(agent, time.perf_counter() - self._began, tool=tool)
        self.turns.append(turn)
        return turn

    def end(self, turn: Turn) -> None:
        turn.took_s = time.perf_counter() - self._began - turn.began_s

    def table(self) -> Table:
        rows = tuple((turn.agent, turn.tool or "answers", f"{turn.began_s:.2f}", f"{turn.took_s:.2f}",
                      str(turn.tokens or ""), _short(turn.error or turn.said)) for turn in self.turns)
        tokens = sum(turn.tokens for turn in self.turns)
        return Table(("agent", "does", "from, s", "takes, s", "tokens", "says"), rows,
                     note=f"{len(self.spoke)} turns, {self.seconds:.2f} s, {tokens} tokens.")

    def to_dict(self) -> dict[str, Any]:
        return {"turns": [asdict(turn) for turn in self.turns], "seconds": self.seconds}


class _AgentTurns(AgentMiddleware):
    def __init__(self, record: Recorder):
        self.record = record

    async def process(self, context, call_next) -> None:
        turn = self.record.begin(context.agent.name or context.agent.id)
        token = _speaking.set(turn.agent)
        if context.stream:  # the answer comes later, so its end is reported by the stream
            context.stream_result_hooks.append(lambda answer: self._done(turn, answer))
        try:
            await call_next()
            if not context.stream:
                self._done(turn, context.result)
        except Exception as error:
            turn.error = str(error)
            raise
        finally:
            self.record.end(turn)
            _speaking.reset(token)

    def _done(self, turn: Turn, answer: Any) -> Any:
        turn.said = answer.text
        turn.tokens = (answer.usage_details or {}).get("total_token_count") or 0
        self.record.end(turn)
        return answer


class _ToolRuns(FunctionMiddleware):
    def __init__(self, record: Recorder):
        self.record = record

    async def process(self, context, call_next) -> None:
        turn = self.record.begin(_speaking.get(), context.function.name)
        try:
            await call_next()
            turn.said = _words(context.result)
        except Exception as error:  # a hand-off also ends its tool this way
            turn.said, turn.error = _words(getattr(error, "result", None)), str(error)
            raise
        finally:
            self.record.end(turn)


def _words(result: Any) -> str:
    parts = result if isinstance(result, list) else [result]
    return " ".join(str(getattr(part, "text", part)) for part in parts if part is not None)


def _short(text: str, most: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most - 1]}…"
