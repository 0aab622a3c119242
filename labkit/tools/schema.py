"""From a function's signature and docstring to a JSON schema."""
from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any

from labkit.errors import BadRequest

MAX_TEXT = 240   # characters of a string argument that says nothing about its length
MAX_ITEMS = 16   # items of an array that says nothing about its length
MAX_INTEGER = 2**53 - 1
_LIMITS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
_LENGTHS = {"time": 32, "date-time": 32, "date": 0, "uuid": 0, "ipv4": 0, "ipv6": 0}  # 0: ends by itself
_ENDLESS = re.compile(r"[*+]|,\}")  # a pattern with one of these may match without end
_VALUES = ("enum", "const", "default", "examples")  # keywords that hold values, not schemas


def arguments_model(function: Callable, name: str):
    """A pydantic model of the function's parameters, described by its docstring.

    Raises BadRequest for a parameter without a type hint, or one that cannot be named (*args).
    """
    from pydantic import ConfigDict, Field, create_model
    from pydantic.errors import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError
    hints, parameters = _hints(function, name), inspect.signature(function).parameters
    about = parameter_docs(inspect.getdoc(function) or "", list(parameters))
    fields = {}
    for key, parameter in parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise BadRequest(f"Tool {name!r} cannot be given {key!r} by name. "
                             "Give every parameter a name and a type, without *, ** or /.")
        if key not in hints:
            raise BadRequest(f"Tool {name!r} has no type hint for {key!r}. Write for example {key}: str.")
        default = ... if parameter.default is parameter.empty else parameter.default
        # By alias: a parameter may be called json, copy or _x, which a pydantic model keeps for itself.
        fields[f"arg_{key}"] = (hints[key], Field(default, alias=key, description=about.get(key)))
    try:
        model = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
        model.model_json_schema()
        return model
    except (PydanticSchemaGenerationError, PydanticInvalidForJsonSchema) as error:
        why = str(error).splitlines()[0]
        raise BadRequest(f"Tool {name!r} has a type no JSON can carry: {why}") from error


def _hints(function: Callable, name: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise BadRequest(f"Tool {name!r} has a type hint that is not defined: {error}") from error
    except TypeError as error:
        raise BadRequest(f"Tool {name!r} is no plain function. Write a def with type hints.") from error


def parameter_docs(doc: str, names: list[str]) -> dict[str, str]:
    """What a docstring (Google, NumPy, Sphinx style, or `Args:` in one line) says of each parameter."""
    from docstring_parser import parse
    found = {p.arg_name: " ".join((p.description or "").split()) for p in parse(doc).params}
    if found or "Args:" not in doc:
        return {key: text for key, text in found.items() if text}
    listed = doc.split("Args:", 1)[1].split("Returns:")[0]
    parts = re.split(rf"\b({'|'.join(map(re.escape, names))}):\s*", listed) if names else []
    return {key: " ".join(text.split()).strip() for key, text in zip(parts[1::2], parts[2::2], strict=True)}


def summary(doc: str) -> str:
    """The docstring's own words, without the list of parameters."""
    from docstring_parser import parse
    parsed = parse(doc.split("Args:")[0])
    text = " ".join(filter(None, (parsed.short_description, parsed.long_description)))
    return " ".join(text.split())


def slim(schema: Any) -> Any:
    """A schema without pydantic's titles and with optional `| None` written plainly."""
    if isinstance(schema, list):
        return [slim(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {k: ({n: slim(s) for n, s in v.items()} if k in ("properties", "$defs") else slim(v))
            if k not in _VALUES else v
            for k, v in schema.items() if k != "title" or not isinstance(v, str)}


def bounded(schema: Any, *, close: bool = True) -> Any:
    """The schema with an end to everything, so that a small model cannot run on forever.

    What obeys it obeys `schema` too: texts and lists get a length, integers stay exact in every JSON
    reader, and objects hold the properties they name, no others (`close`).
    """
    if isinstance(schema, list):
        return [bounded(item, close=close) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    close = close and "allOf" not in schema  # each part would refuse the other parts' properties
    ends = {k: v if k in _VALUES
            else {n: bounded(s) for n, s in v.items()} if k in ("properties", "$defs")
            else bounded(v, close=close)
            for k, v in schema.items()}
    kinds = ends.get("type") if isinstance(ends.get("type"), list) else [ends.get("type")]
    if not ends.keys() & {"enum", "const"}:
        for kind in kinds:
            _bound(ends, kind)
    if close and "properties" in ends:
        ends.setdefault("additionalProperties", False)
    return ends


def _bound(ends: dict[str, Any], kind: str | None) -> None:
    if kind == "array":
        ends.setdefault("maxItems", max(MAX_ITEMS, ends.get("minItems", 0)))
    elif kind == "integer" and not ends.keys() & _LIMITS:
        ends["minimum"], ends["maximum"] = -MAX_INTEGER, MAX_INTEGER
    elif kind == "string" and _ENDLESS.search(ends.get("pattern", "*")):
        length = _LENGTHS.get(ends.get("format"), MAX_TEXT)
        if length:
            ends.setdefault("maxLength", max(length, ends.get("minLength", 0)))
