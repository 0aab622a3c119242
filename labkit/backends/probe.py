"""Find out what a runtime does, by asking it for what no model does by itself."""
from __future__ import annotations

import json

from labkit.backends.base import Backend, Request
from labkit.errors import BackendUnavailable, BadRequest
from labkit.tools.constraint import Constraint

# A runtime that keeps half of a schema is no use to a tool call, so this asks for more than braces.
SCHEMA = {"type": "object", "required": ["k"], "additionalProperties": False,
          "properties": {"k": {"type": "string", "pattern": "^[x-z]{3}-[0-4]{2}$"}}}
OTHERS = {"lark": 'start: "xyz-" DIGIT DIGIT\nDIGIT: /[0-4]/', "regex": "xyz-[0-4]{2}"}
WEATHER = {"type": "function", "function": {
    "name": "weather", "description": "The weather in a city.",
    "parameters": {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}}}


def constraints(backend: Backend, kinds: tuple[str, ...] = ("json_schema",)) -> frozenset[str]:
    """Those of `kinds` that an answer of this runtime obeys."""
    texts = {"json_schema": json.dumps(SCHEMA), **OTHERS}
    return frozenset(kind for kind in kinds if _obeys(backend, Constraint(kind, texts[kind])))


def _obeys(backend: Backend, constraint: Constraint) -> bool:
    from labkit.backends.guidance import byte_matcher
    request = Request([{"role": "user", "content": "Hello"}], constraint, max_tokens=40)
    try:
        text = "".join(chunk.text for chunk in backend.generate(request))
        if constraint.kind == "json_schema":
            text = json.dumps(json.loads(text), separators=(",", ":"))
    except (BadRequest, ValueError):  # refused, or no JSON
        return False
    matcher, data = byte_matcher(constraint), list(text.encode())
    return matcher.validate_tokens(data) == len(data) and matcher.consume_tokens(data) and matcher.is_accepting()


def calls_tools(backend: Backend) -> bool:
    """Whether the runtime, given a tool that clearly fits, calls it with the right argument."""
    request = Request([{"role": "user", "content": "What is the weather in Paris?"}], max_tokens=64,
                      tools=(WEATHER,))
    try:
        calls = [call for chunk in backend.generate(request) for call in chunk.tool_calls]
    except (BadRequest, BackendUnavailable, ValueError):  # refused, or arguments that are no JSON
        return False
    return [(call.name, call.arguments) for call in calls] == [("weather", {"city": "Paris"})]


def embeds(backend: Backend) -> bool:
    """Whether the runtime turns text into vectors."""
    try:
        return bool(backend.embed(["Hello"]))
    except (BadRequest, BackendUnavailable, NotImplementedError):
        return False
