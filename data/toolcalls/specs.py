"""The tools that requests are made for: read the YAML files in tools/ and check them.

A file is one domain. Run `python data/toolcalls/specs.py [FILE ...]` to check files and see what is in them.
README.md says how a file is written. Knows nothing of splits, prompts or training.
"""
from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).with_name("tools")
SLOT = re.compile(r"\{([a-z_][a-z0-9_.]*)(?:#(\d))?\}")
TYPES = {"string", "integer", "number", "boolean", "array", "object"}
OURS = {"optional", "values", "say", "range", "step", "from", "pattern_of", "length"}  # the rest is JSON schema
POOLS = {"city", "country", "person", "first_name", "date", "time", "email", "phone", "company", "street", "product",
         "film", "song", "book", "url", "month", "weekday", "language", "currency"}
_TOOL_KEYS = {"name", "description", "parameters", "requests", "several", "missing", "near"}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.]{1,63}")


class SpecError(ValueError):
    """A file that cannot be used: where, and what is wrong."""


@dataclass(frozen=True)
class Wording:
    """One way to ask. `slots`: (parameter path, number of the call) in order; `fixed`: arguments it implies."""

    text: str
    fixed: Mapping[str, Any]
    lacks: tuple[str, ...] = ()

    @property
    def slots(self) -> list[tuple[str, int]]:
        return [(path, int(number or 1)) for path, number in SLOT.findall(self.text)]


@dataclass(frozen=True)
class ToolSpec:
    """A tool and how people ask for it. `near`: what sounds like it but does not call it."""

    domain: str
    name: str
    description: str
    parameters: Mapping[str, Mapping[str, Any]]
    requests: tuple[Wording, ...]
    several: tuple[Wording, ...]
    missing: tuple[Wording, ...]
    near: tuple[str, ...]

    def schema(self) -> dict[str, Any]:
        """JSON schema of the arguments."""
        return {"type": "object", **_object(self.parameters)}

    @property
    def required(self) -> list[str]:
        return [name for name, about in self.parameters.items() if not about.get("optional")]


def _object(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {"properties": {name: plain(about) for name, about in parameters.items()},
            "required": [name for name, about in parameters.items() if not about.get("optional")]}


def plain(about: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter's JSON schema, without what says how its values are worded."""
    kept = {key: value for key, value in about.items() if key not in OURS}
    if kept.get("type") == "array":
        kept["items"] = plain(kept["items"])
    if kept.get("type") == "object":
        return {"type": "object", **{k: v for k, v in kept.items() if k not in ("type", "properties")},
                **_object(about["properties"])}
    return kept


def read(path: Path) -> list[ToolSpec]:
    """The tools of one file. Raises SpecError with the tool and what is wrong."""
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise SpecError(f"{path.name}: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("tools"), list):
        raise SpecError(f"{path.name}: write `tools:` and a list.")
    return [_tool(path.stem, entry) for entry in document["tools"]]


@cache
def read_all(folder: Path = FOLDER) -> tuple[ToolSpec, ...]:
    """Every tool of every file, by file name. Raises SpecError, also for a name used twice."""
    found = [tool for path in sorted(folder.glob("*.yaml")) for tool in read(path)]
    seen: dict[str, str] = {}
    for tool in found:
        if tool.name in seen:
            raise SpecError(f"{tool.domain}: {tool.name} is in {seen[tool.name]} already.")
        seen[tool.name] = tool.domain
    return tuple(found)


def _tool(domain: str, entry: Any) -> ToolSpec:
    where = f"{domain}: {entry.get('name', entry) if isinstance(entry, dict) else entry}"
    try:
        _need(isinstance(entry, dict) and not entry.keys() - _TOOL_KEYS, f"unknown keys {set(entry) - _TOOL_KEYS}")
        _need(_NAME.fullmatch(entry["name"]) is not None, "a name is letters, digits, _ and .")
        tool = ToolSpec(domain, entry["name"], entry["description"], entry.get("parameters") or {},
                        *(tuple(map(_wording, entry.get(key) or ())) for key in ("requests", "several", "missing")),
                        tuple(entry.get("near") or ()))
        _check(tool)
        return tool
    except (SpecError, KeyError, TypeError, AttributeError) as error:
        raise SpecError(f"{where}: {error!r}" if isinstance(error, KeyError) else f"{where}: {error}") from error


def _wording(entry: Any) -> Wording:
    if isinstance(entry, str):
        return Wording(entry, {})
    _need(isinstance(entry, dict) and not entry.keys() - {"text", "set", "lacks"}, f"{entry!r}: text, set, lacks")
    return Wording(entry["text"], entry.get("set") or {}, tuple(entry.get("lacks") or ()))


def _check(tool: ToolSpec) -> None:
    for name, about in tool.parameters.items():
        _check_parameter(name, about)
    _need(len(tool.requests) >= 3, "at least three requests")
    for wording in (*tool.requests, *tool.several, *tool.missing):
        _check_wording(tool, wording)
    for wording in tool.missing:
        _need(wording.lacks and not set(wording.lacks) - set(tool.required), f"{wording.text!r}: lacks what?")
    for wording in tool.several:
        _need(any(number > 1 for _, number in wording.slots), f"{wording.text!r}: write {{x#2}} for the second call")
    for text in tool.near:
        _need(isinstance(text, str) and not SLOT.search(text), f"{text!r}: near has no slots")


def _check_wording(tool: ToolSpec, wording: Wording) -> None:
    _need(isinstance(wording.text, str), f"{wording.text!r} is no text")
    given = {path.split(".")[0] for path, _ in wording.slots} | set(wording.fixed)
    _need(not given - tool.parameters.keys(), f"{wording.text!r}: no parameter {given - tool.parameters.keys()}")
    absent = set(tool.required) - given - set(wording.lacks)
    _need(not absent, f"{wording.text!r}: nothing gives {', '.join(sorted(absent))}")
    _need(not set(wording.lacks) & given, f"{wording.text!r}: lacks what it gives")
    for path, _ in wording.slots:
        _need(find(tool, path) is not None, f"{wording.text!r}: no parameter {path}")
    for name, value in wording.fixed.items():
        _need(_fits(value, plain(tool.parameters[name])), f"{wording.text!r}: {name}: {value!r} does not fit")


def find(tool: ToolSpec, path: str) -> Mapping[str, Any] | None:
    """The parameter at a path such as `address.city`."""
    about: Any = {"properties": tool.parameters}
    for part in path.split("."):
        about = (about.get("properties") or {}).get(part)
        if about is None:
            return None
    return about


def _check_parameter(name: str, about: Mapping[str, Any]) -> None:
    kind = about.get("type")
    _need(kind in TYPES, f"{name}: type {kind!r} is none of {sorted(TYPES)}")
    if kind == "object":
        for inner, part in about["properties"].items():
            _check_parameter(f"{name}.{inner}", part)
        return
    _need(isinstance(about.get("description", ""), str), f"{name}: the description is no text")
    if kind == "array":
        _check_parameter(f"{name}[]", about["items"])
        return
    schema = plain(about)
    _need(has_values(about), f"{name}: give values, say, range, from, pattern_of or enum")
    _need(about.get("from", "city") in POOLS, f"{name}: there is no pool {about.get('from')!r}")
    for value in [*(about.get("values") or ()), *(about.get("say") or ())]:
        _need(_fits(value, schema), f"{name}: {value!r} does not fit its schema")
    for value, phrases in (about.get("say") or {}).items():
        _need(isinstance(phrases, list) and all(isinstance(p, str) for p in phrases), f"{name}: say {value}: a list")


def has_values(about: Mapping[str, Any]) -> bool:
    """Whether it is said where the values of a parameter come from."""
    return bool(about.keys() & {"values", "say", "range", "from", "pattern_of", "enum"}) or about["type"] == "boolean"


def _fits(value: Any, schema: Mapping[str, Any]) -> bool:
    from jsonschema import Draft202012Validator
    return Draft202012Validator(schema).is_valid(value)


def _need(holds: bool, otherwise: str) -> None:
    if not holds:
        raise SpecError(otherwise)


def _summary(tools: list[ToolSpec]) -> Iterator[str]:
    yield (f"{len(tools)} tools, {sum(len(t.requests) for t in tools)} requests, "
           f"{sum(len(t.several) for t in tools)} for several calls, {sum(len(t.missing) for t in tools)} that lack "
           f"something, {sum(len(t.near) for t in tools)} near misses")


if __name__ == "__main__":
    problems = 0
    for file in [Path(name) for name in sys.argv[1:]] or sorted(FOLDER.glob("*.yaml")):
        try:
            print(f"{file.name:28}", *_summary(read(file)))
        except SpecError as error:
            problems += 1
            print(error)
    sys.exit(bool(problems))
