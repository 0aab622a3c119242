"""Examples of right tool calls: what an adapter is trained on and judged by.

A file has one JSON object a line: {"tools": [OpenAI's function dicts], "asked": [{"request": "…", "calls":
[{"name": "…", "arguments": {…}}]}]}, and "instructions" where the system message says more. No calls: the right
answer is words. null as an argument stands for a required value that the request does not give.
"""
from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from labkit.errors import BadRequest, ToolError
from labkit.tools.tool import Tool, as_tools


@dataclass(frozen=True)
class Asked:
    """A request and the calls that are right: [{"name", "arguments"}]."""

    request: str
    calls: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Examples:
    """Some tools, what else the system message says, and requests made with them on offer."""

    tools: tuple[Tool, ...]
    asked: tuple[Asked, ...]
    instructions: str = ""


def read(path: str | Path) -> list[Examples]:
    """The examples of a file. Raises BadRequest with the number of the first line that is wrong, and why."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    found = [_numbered(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise BadRequest(f"{Path(path).name} holds no examples.")
    return found


def _numbered(path: str | Path, number: int, line: str) -> Examples:
    try:
        return made(json.loads(line))
    except (ValueError, BadRequest) as error:
        raise BadRequest(f"{Path(path).name}, line {number}: {error}") from error


def made(row: Any) -> Examples:
    """Checked examples from one line's value: every call must fit its tool, but for null."""
    if not isinstance(row, Mapping) or row.keys() < {"tools", "asked"}:
        raise BadRequest('write {"tools": […], "asked": […]}.')
    tools = as_tools([_wrapped(tool) for tool in row["tools"]])
    asked = tuple(_asked(entry, {tool.name: tool for tool in tools}) for entry in row["asked"])
    if not tools or not asked:
        raise BadRequest("there must be a tool and a request at least.")
    return Examples(tuple(tools), asked, str(row.get("instructions", "")))


def _wrapped(tool: Any) -> Any:
    return tool if not isinstance(tool, Mapping) or "function" in tool else {"type": "function", "function": tool}


def _asked(entry: Any, tools: Mapping[str, Tool]) -> Asked:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("request"), str) or not entry["request"].strip():
        raise BadRequest(f"a request is missing in {json.dumps(entry)[:80]}.")
    for call in entry.get("calls", ()):
        if not isinstance(call, Mapping) or call.get("name") not in tools:
            raise BadRequest(f"{json.dumps(call)[:80]} calls no tool of the line.")
        try:
            _check(tools[call["name"]], call["arguments"])
        except (ToolError, KeyError, AttributeError) as error:
            raise BadRequest(f"a call does not fit: {error}") from error
    return Asked(entry["request"], tuple(entry.get("calls", ())))


def _check(tool: Tool, arguments: Mapping[str, Any]) -> None:
    """Raise ToolError unless the arguments fit, those apart that are null."""
    given = {name: value for name, value in arguments.items() if value is not None}
    needed = [name for name in tool.parameters.get("required", ()) if name not in arguments or name in given]
    replace(tool, parameters={**tool.parameters, "required": needed}).check(given)


def lines(examples: Iterable[Examples]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Examples as the texts that a model is trained on: (beginning, [(question, answer)])."""
    from labkit.tools import trained
    for group in examples:
        yield (trained.beginning(group.tools, group.instructions),
               [trained.turn(asked.request, asked.calls) for asked in group.asked])
