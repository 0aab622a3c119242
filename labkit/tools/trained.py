"""The prompt that the course's adapter was trained on, and what its answers mean.

The model reads the tools and the request, and writes a JSON list of calls in one go: an empty list says that no
tool fits, and null in the place of a required value that the request does not give it. Whoever changes a word
here must train the adapter again; its metadata names FORMAT.
"""
from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from labkit.tools import calling
from labkit.tools.call import ToolCall
from labkit.tools.constraint import Constraint
from labkit.tools.grounding import valid
from labkit.tools.tool import Tool

FORMAT = "labkit-calls-1"
MOST_KNOWN = 64  # an adapter that was trained on more tools has learned to read them, not to know them


def prompt(tools: Sequence[Tool], instructions: str = "") -> str:
    """The system message: every tool in a few lines, then what else it says."""
    return "\n\n".join(filter(None, ["Tools:", *map(outline, tools), instructions]))


def outline(tool: Tool) -> str:
    """Name, description, and a line for each parameter."""
    required = tool.parameters.get("required", ())
    lines = [_line(name, schema, name in required) for name, schema in tool.parameters.get("properties", {}).items()]
    return "\n".join([f"{tool.name}: {_text(tool.description)}", *lines])


def fingerprints(tools: Iterable[Tool]) -> dict[str, str]:
    """What an adapter keeps of the tools it was trained on, by name: a hash of how the model read each."""
    known = {tool.name: _fingerprint(tool) for tool in tools}
    return known if len(known) <= MOST_KNOWN else {}


def _fingerprint(tool: Tool) -> str:
    return hashlib.sha256(outline(tool).encode("utf-8", "replace")).hexdigest()[:12]


def warn_of_changes(tools: Iterable[Tool], known: Mapping[str, str]) -> None:
    """Warn of tools that go by a name the adapter knows, but read otherwise than in its training."""
    names = [tool.name for tool in tools if tool.name in known and _fingerprint(tool) != known[tool.name]]
    if names:
        warnings.warn(f"{', '.join(names)}: changed since the adapter was trained, which may call what was there then. "
                      "Train it again with new examples: labkit specialise", stacklevel=4)


def _line(name: str, schema: Mapping[str, Any], required: bool) -> str:
    facts = [kind(schema)] + ([] if required else ["optional"])
    if schema.get("default") is not None:
        facts.append(f"default {json.dumps(schema['default'], ensure_ascii=False)}")
    return f"- {name} ({', '.join(facts)}): {_text(schema.get('description', ''))}".rstrip(": ")


def kind(schema: Mapping[str, Any]) -> str:
    """A parameter's type in a few words."""
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {kind(schema.get('items', {}))}"
    if schema.get("type") == "object" and schema.get("properties"):
        return "{" + ", ".join(f"{name}: {kind(part)}" for name, part in schema["properties"].items()) + "}"
    return schema.get("format") or str(schema.get("type", "value"))


def answer(calls: Sequence[Mapping[str, Any]]) -> str:
    """What the model writes for these calls, [{"name", "arguments"}]."""
    return json.dumps([{"name": c["name"], "arguments": c["arguments"]} for c in calls], ensure_ascii=False)


def beginning(tools: Sequence[Tool], instructions: str = "") -> str:
    """The system message in the embedded model's chat template."""
    return f"<|im_start|>system\n{prompt(tools, instructions)}<|im_end|>\n"


def turn(request: str, calls: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """(the request, the answer) in the embedded model's chat template."""
    return (f"<|im_start|>user\n{request}<|im_end|>\n<|im_start|>assistant\n", f"{answer(calls)}<|im_end|>")


def constraint(tools: Sequence[Tool], *, auto: bool, several: bool, source: str | None) -> Constraint:
    """A list of calls: none at all only with `auto`, where a required value may also be null; one unless `several`.

    source: what was said, to take the arguments from; None to leave them open.
    """
    defs: dict[str, Any] = {}
    calls = [calling.call_schema(i, tool, defs, source) for i, tool in enumerate(tools)]
    if auto:
        calls = [_with_gaps(call) for call in calls]
    schema = {"type": "array", "minItems": 0 if auto else 1, "maxItems": calling.MAX_CALLS if several else 1,
              "items": calls[0] if len(calls) == 1 else {"anyOf": calls}}
    return calling.json_constraint({**schema, "$defs": defs} if defs else schema)


def _with_gaps(call: dict[str, Any]) -> dict[str, Any]:
    """A call's schema in which every required argument may be null."""
    arguments = call["properties"]["arguments"]
    needed = arguments.get("required", ())
    open_ = {name: {"anyOf": [part, {"type": "null"}]} if name in needed else part
             for name, part in arguments.get("properties", {}).items()}
    return {**call, "properties": {**call["properties"], "arguments": {**arguments, "properties": open_}}}


def missing(calls: Sequence[ToolCall], tools: Sequence[Tool]) -> list[tuple[str, str]]:
    """(parameter, description) of every required value that a call leaves open. A null that fits is a value."""
    by_name = {tool.name: tool.parameters for tool in tools}
    return [(name, by_name[call.name]["properties"][name].get("description", "")) for call in calls
            for name, value in call.arguments.items()
            if value is None and name in by_name[call.name].get("required", ())
            and not _may_be_null(by_name[call.name], name)]


def _may_be_null(parameters: Mapping[str, Any], name: str) -> bool:
    return valid(None, {"$defs": parameters.get("$defs", {}), "allOf": [parameters["properties"][name]]})


def question(gaps: Sequence[tuple[str, str]]) -> str:
    """A question to the user for values that a request did not give."""
    asked = [f"{name.replace('_', ' ')} ({_text(about).rstrip('.')})" if about else name.replace("_", " ")
             for name, about in dict(gaps).items()]
    return f"What is the {' and the '.join(asked)}?"


def _text(text: str) -> str:
    return " ".join(str(text).split())
