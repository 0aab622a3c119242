"""Prompts and schemas that make a model write a call, and reading what it wrote."""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from labkit.errors import BadRequest, IncompleteOutput
from labkit.tools.call import ToolCall
from labkit.tools.constraint import Constraint
from labkit.tools.grounding import grounded
from labkit.tools.schema import bounded
from labkit.tools.tool import Tool

MAX_CALLS = 4  # in one turn
_LAYOUT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


def parse_choice(choice: Any, tools: Sequence[Tool]) -> tuple[str, list[Tool]]:
    """OpenAI's `tool_choice` as ("none" | "auto" | "required", the tools it leaves).

    A tool by name, as a string or as OpenAI's dict, is "required" with that tool alone.
    """
    if isinstance(choice, Mapping):
        function = choice.get("function")
        choice = function.get("name") if isinstance(function, Mapping) else dict(choice)
    if choice == "none" or not tools:
        if choice not in ("none", "auto"):
            raise BadRequest(f"tool_choice={choice!r} needs tools. Pass tools=[…].")
        return "none", []
    if choice in ("auto", "required"):
        return choice, list(tools)
    named = [tool for tool in tools if tool.name == choice]
    if not named:
        names = ", ".join(tool.name for tool in tools)
        raise BadRequest(f"tool_choice={choice!r} is no tool here. Use auto, required, none or one of: {names}.")
    return "required", named


def with_instructions(messages: Sequence[Mapping[str, Any]], text: str) -> list[dict[str, Any]]:
    """The conversation with `text` added to its system message, or as one."""
    first, *rest = messages
    if first["role"] == "system":
        return [{**first, "content": f"{first['content']}\n\n{text}"}, *rest]
    return [{"role": "system", "content": text}, *messages]


def call_prompt(tools: Sequence[Tool]) -> str:
    """What a model is told about the tools it may call."""
    listed = "\n\n".join(map(describe, tools))
    return ("You write function calls. Copy the values from the request. Leave out what the request does not say. "
            f'Answer with JSON: {{"name": "...", "arguments": {{...}}}}\n\n{listed}')


def describe(tool: Tool) -> str:
    """A tool as a short list; a JSON schema of the same costs a small model more than it tells it."""
    required = tool.parameters.get("required", ())
    lines = [f"- {name} ({_type(schema)}{'' if name in required else ', optional'}): {schema.get('description', '')}"
             for name, schema in tool.parameters.get("properties", {}).items()]
    return "\n".join([f"{tool.name}: {tool.description}", *lines])


def _type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return schema.get("format") or str(schema.get("type", "value"))


def call_constraint(tools: Sequence[Tool], *, several: bool = False, source: str | None = None) -> Constraint:
    """One call of one of the tools, name first; or with `several` a list of up to MAX_CALLS.

    source: what was said, to take the arguments from (labkit.tools.grounding); None to leave them open.
    """
    defs: dict[str, Any] = {}
    calls = [call_schema(i, tool, defs, source) for i, tool in enumerate(tools)]
    schema: dict[str, Any] = calls[0] if len(calls) == 1 else {"anyOf": calls}
    if several:
        schema = {"type": "array", "items": schema, "minItems": 1, "maxItems": MAX_CALLS}
    if defs:
        schema = {**schema, "$defs": defs}
    return json_constraint(schema)


def call_schema(i: int, tool: Tool, defs: dict[str, Any], source: str | None) -> dict[str, Any]:
    """The schema of a call; the tool's own definitions move to the root under names of their own."""
    parameters = tool.parameters if source is None else grounded(tool.parameters, source)
    text = json.dumps({"additionalProperties": False, **parameters})
    arguments = bounded(json.loads(text.replace('"#/$defs/', f'"#/$defs/{i}.')))
    defs.update({f"{i}.{name}": schema for name, schema in arguments.pop("$defs", {}).items()})
    return {"type": "object", "required": ["name", "arguments"], "additionalProperties": False,
            "properties": {"name": {"const": tool.name}, "arguments": arguments}}


def json_constraint(schema: Mapping[str, Any]) -> Constraint:
    """A JSON schema as a constraint, written compactly: a model's spaces cost tokens."""
    return Constraint("json_schema", json.dumps({**schema, "x-guidance": _LAYOUT}))


def read_calls(text: str, finish_reason: str, max_tokens: int) -> list[ToolCall]:
    """The calls in a model's constrained answer. Raises IncompleteOutput when it was cut short."""
    value = read_json(text, finish_reason, max_tokens)
    calls = value if isinstance(value, list) else [value]
    if not all(isinstance(call, dict) and call.keys() == {"name", "arguments"} for call in calls):
        raise IncompleteOutput(f"No valid result: the answer is no tool call: {text[:200]}")
    return [ToolCall(call["name"], call["arguments"]) for call in calls]


def read_json(text: str, finish_reason: str, max_tokens: int) -> Any:
    """The JSON value of a constrained answer. Raises IncompleteOutput when it was cut short."""
    try:
        value = json.loads(text)
        if finish_reason == "length" and isinstance(value, (int, float)):
            raise ValueError("more digits may have followed")
        return value
    except ValueError as error:
        why = (f"the answer ended at {max_tokens} tokens or the context's end, before its JSON did. "
               "Raise max_tokens, or bound the schema (maxLength, maxItems)."
               if finish_reason == "length" else f"the answer is no JSON ({error}).")
        raise IncompleteOutput(f"No valid result: {why}") from error
