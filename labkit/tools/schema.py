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


def arguments_model(function: Callable, name: str):
    """A pydantic model of the function's parameters, described by its docstring.

    Raises BadRequest for a parameter without a type hint, or one that cannot be named (*args).
    """
    from pydantic import ConfigDict, Field, create_model
    from pydantic.errors import PydanticSchemaGenerationError
    hints = _hints(function, name)
    about = parameter_docs(inspect.getdoc(function) or "", list(inspect.signature(function).parameters))
    fields = {}
    for key, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise BadRequest(f"Tool {name!r} takes *{key}. Give every parameter a name and a type.")
        if key not in hints:
            raise BadRequest(f"Tool {name!r} has no type hint for {key!r}. Write for example {key}: str.")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[key] = (hints[key], Field(default, description=about.get(key)))
    try:
        return create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
    except PydanticSchemaGenerationError as error:
        raise BadRequest(f"Tool {name!r} has a type no JSON can carry: {str(error).splitlines()[0]}") from error


def _hints(function: Callable, name: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise BadRequest(f"Tool {name!r} has a type hint that is not defined: {error}") from error


def parameter_docs(doc: str, names: list[str]) -> dict[str, str]:
    """What a docstring (Google, NumPy, Sphinx style, or `Args:` in one line) says of each parameter."""
    from docstring_parser import parse
    found = {p.arg_name: " ".join((p.description or "").split()) for p in parse(doc).params}
    if found or "Args:" not in doc:
        return {key: text for key, text in found.items() if text}
    listed = doc.split("Args:", 1)[1].split("Returns:")[0]
    parts = re.split(rf"\b({'|'.join(map(re.escape, names))}):\s*", listed) if names else []
    return {key: " ".join(text.split()).strip() for key, text in zip(parts[1::2], parts[2::2])}


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
    kept = {k: ({n: slim(s) for n, s in v.items()} if k in ("properties", "$defs") else slim(v))
            for k, v in schema.items() if k != "title" or not isinstance(v, str)}
    return kept


def bounded(schema: Any) -> Any:
    """The schema with an end to every string and array, so that a small model cannot run on forever."""
    if isinstance(schema, list):
        return [bounded(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    ends = {k: ({n: bounded(s) for n, s in v.items()} if k in ("properties", "$defs") else bounded(v))
            if k not in ("enum", "const", "default", "examples") else v for k, v in schema.items()}
    kind = ends.get("type")
    if kind == "string" and not ends.keys() & {"enum", "const", "format", "pattern", "maxLength"}:
        ends["maxLength"] = max(MAX_TEXT, ends.get("minLength", 0))
    if kind == "array" and "maxItems" not in ends:
        ends["maxItems"] = max(MAX_ITEMS, ends.get("minItems", 0))
    return ends
