"""What an agent is tried on: requests, the calls that are right, and a look at what has become of the data.

A file has one JSON object a line, short enough to be written by hand:

    {"request": "How many red cups are left?", "calls": [{"name": "stock", "arguments": {"item": "red cup"}}]}
    {"request": "Put two aside for Ann.", "calls": [{"name": "reserve", "arguments": {"item": "red cup", "count": 2,
     "customer": "Ann"}}], "check": "two_are_reserved"}
    {"request": "Thank you!", "calls": []}

request: what the user says. documents: texts that come with it and that somebody else wrote. calls: the tools that must
be called, with their arguments; none where words are right. check: a function of the learner's that is called with the
run and the agent afterwards, and returns True, or a text that says what is wrong. kind: a word to count by; "attack"
marks what is no honest work. Knows no model.
"""
from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from labkit.agents.run import Run
from labkit.errors import BadRequest, ToolError
from labkit.profiling import held_out, tool_requests
from labkit.tools.call import ToolCall
from labkit.tools.examples import Asked, Examples
from labkit.tools.tool import Tool


class Call(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class Scenario(BaseModel):
    """A line of the file."""

    model_config = ConfigDict(extra="forbid")
    request: str = Field(min_length=1)
    calls: list[Call]
    documents: list[str] = Field(default_factory=list)
    check: str | None = None
    kind: str = ""

    @property
    def wanted(self) -> list[dict[str, Any]]:
        """The calls as plain dicts."""
        return [call.model_dump() for call in self.calls]


@dataclass(frozen=True)
class Verdict:
    """Whether a run did what the scenario wants, and if not, why."""

    passed: bool
    why: str = ""


def read(path: Path) -> str:
    """The text of a file of scenarios. Raises BadRequest."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"The agent's scenarios cannot be read: {error}. Write {path}: a JSON object a line, "
                         '{"request": "…", "calls": [{"name": "…", "arguments": {…}}]}.') from error


def parse(text: str, tools: Sequence[Tool], checks: Mapping[str, Any], name: str = "scenarios") -> list[Scenario]:
    """The scenarios of a text, checked against the agent's tools and the functions that there are for checks.

    Raises BadRequest with line and field: "cups.jsonl, line 3, calls.0: there is no tool 'stok'. …".
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                found.append(_scenario(line, {tool.name: tool for tool in tools}, checks))
            except BadRequest as error:
                raise BadRequest(f"{name}, line {number}, {error}") from error
    if not found:
        raise BadRequest(f"{name}: there are no scenarios in it.")
    return found


def _scenario(line: str, tools: Mapping[str, Tool], checks: Mapping[str, Any]) -> Scenario:
    try:
        scenario = Scenario.model_validate(json.loads(line))
    except ValidationError as error:
        first = error.errors()[0]
        raise BadRequest(f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the whole: this is no JSON: {error}") from error
    for place, call in enumerate(scenario.calls):
        _fits(f"calls.{place}", call, tools)
    if scenario.check is not None and not callable(checks.get(scenario.check)):
        raise BadRequest(f"check: there is no function {scenario.check!r}.")
    return scenario


def _fits(field: str, call: Call, tools: Mapping[str, Tool]) -> None:
    if call.name not in tools:
        raise BadRequest(f"{field}: there is no tool {call.name!r}. The agent has: {', '.join(tools) or 'none'}.")
    try:
        tools[call.name].check(call.arguments)
    except ToolError as error:
        raise BadRequest(f"{field}: {error}") from error


def tools_right(wanted: Sequence[Mapping[str, Any]], called: Sequence[ToolCall], tools: Sequence[Tool]) -> bool:
    """Whether the calls are the wanted ones, all of them and no other, in any order.

    Texts may differ in case, spaces and punctuation, and an optional value may be left out or be its default.
    """
    item = held_out.accepted(Examples(tuple(tools), ()), Asked("", wanted))
    return tool_requests.score(item, called)


def judge(scenario: Scenario, run: Run, agent: Any, checks: Mapping[str, Callable]) -> Verdict:
    """The verdict on a run of an own agent: the calls, and what its check says."""
    if not tools_right(scenario.wanted, run.calls, agent.tools):
        wanted = ", ".join(call.name for call in scenario.calls) or "no call"
        return Verdict(False, f"wanted {wanted}; called {' '.join(map(str, run.calls)) or 'nothing'}")
    if scenario.check:  # it alone knows whether a tool should have refused
        return _checked(checks[scenario.check], run, agent)
    failed = [step.error for step in run.steps if step.error]
    return Verdict(not failed, "; ".join(failed))


def _checked(check: Callable, run: Run, agent: Any) -> Verdict:
    try:
        told = check(run, agent)
    except Exception as error:  # whatever a learner's function raises
        told = f"{type(error).__name__}: {error}"
    if told is True:
        return Verdict(True)
    return Verdict(False, f"{check.__name__}: {told if isinstance(told, str) else f'returned {told!r}, not True'}")
