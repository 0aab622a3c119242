"""Python functions, and OpenAI tool descriptions, as tools."""
from __future__ import annotations

import asyncio
import inspect
import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labkit.errors import BadRequest, ToolError
from labkit.tools import json_schema
from labkit.tools.references import check_references
from labkit.tools.schema import arguments_model, slim, summary

TIME_LIMIT_S = 30.0
_NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")


@dataclass(frozen=True)
class Tool:
    """Something a model may call. `function` is None for a tool that the caller runs."""

    name: str
    description: str
    parameters: Mapping[str, Any]           # JSON schema of the arguments (an object)
    function: Callable | None = field(default=None, repr=False)
    time_limit_s: float = TIME_LIMIT_S
    arguments: type | None = field(default=None, repr=False)  # pydantic model of the arguments

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise BadRequest(f"{self.name!r} cannot name a tool: "
                             "use 1 to 64 letters, digits, '_', '-' or '.'.")

    def __call__(self, /, *args, **kwargs):
        """The function itself, as if it had not been decorated."""
        if self.function is None:
            raise ToolError(f"Tool {self.name!r} has no function here: the caller runs it.")
        return self.function(*args, **kwargs)

    def to_openai(self) -> dict[str, Any]:
        """The tool in the form of OpenAI's `tools=`."""
        return {"type": "function", "function": {
            "name": self.name, "description": self.description, "parameters": dict(self.parameters)}}

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Raise ToolError, in words a model can act on, when the arguments do not fit the schema."""
        given = dict(arguments) if isinstance(arguments, Mapping) else arguments
        try:
            errors = list(json_schema.validator(self.parameters).iter_errors(given))
        except RecursionError as error:
            raise ToolError(f"{self.name}: its schema refers to itself without end.") from error
        if errors:
            where = ".".join(map(str, errors[0].absolute_path)) or "the arguments"
            raise ToolError(f"{self.name}: {where}: {errors[0].message}")

    def run(self, arguments: Mapping[str, Any]) -> Any:
        """Check the arguments, convert them to the function's types, call it within the time limit.

        Raises ToolError when they do not fit, the function raises, or time runs out. A function that
        never returns keeps its (daemon) thread; the caller goes on.
        """
        self.check(arguments)
        return self._timed(self._converted(arguments))

    def _converted(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if self.arguments is None:
            return dict(arguments)
        from pydantic import ValidationError
        try:
            model = self.arguments.model_validate_json(json.dumps(dict(arguments)))
        except ValidationError as error:
            first = error.errors()[0]
            raise ToolError(f"{self.name}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        return {field.alias: getattr(model, key) for key, field in type(model).model_fields.items()}

    def _timed(self, arguments: dict[str, Any]) -> Any:
        outcome: dict[str, Any] = {}

        def work() -> None:
            try:
                result = self(**arguments)
                outcome["result"] = asyncio.run(result) if inspect.iscoroutine(result) else result
            except BaseException as error:  # also SystemExit: a tool must not end the agent
                outcome["error"] = error

        thread = threading.Thread(target=work, daemon=True, name=f"tool {self.name}")
        thread.start()
        thread.join(self.time_limit_s)
        if error := outcome.get("error"):
            raise ToolError(f"{self.name}: {type(error).__name__}: {error}") from error
        if "result" not in outcome:
            raise ToolError(f"{self.name} gave no answer within {self.time_limit_s:g} s.")
        return outcome["result"]


def tool(function: Callable | None = None, *, name: str | None = None, description: str | None = None,
         time_limit_s: float = TIME_LIMIT_S):
    """Make a function a tool: `@tool`, or `@tool(name=…, time_limit_s=…)`.

    Name, description and schema come from the function's name, docstring, type hints and defaults.
    Raises BadRequest when a type hint is missing or the function has no name of its own.
    """
    if function is None:
        return lambda f: tool(f, name=name, description=description, time_limit_s=time_limit_s)
    if isinstance(function, Tool):
        return function
    label = name or getattr(function, "__name__", "")
    if not label or label == "<lambda>":
        raise BadRequest("A lambda has no name to call it by. Write a def, or tool(function, name='…').")
    model = arguments_model(function, label)
    words = description or summary(inspect.getdoc(function) or "") or label.replace("_", " ")
    return Tool(label, words, slim(model.model_json_schema()), function, time_limit_s, model)


def as_tools(tools: Sequence[Any] | None) -> list[Tool]:
    """Tools from a mixed list of Tool, functions and OpenAI dicts. Raises BadRequest on a name clash."""
    if isinstance(tools, (str, Mapping)) or not isinstance(tools, Iterable | None):
        raise BadRequest(f"tools={tools!r}: give a list of functions or OpenAI tool dicts.")
    made = [_as_tool(item) for item in tools or ()]
    names = [t.name for t in made]
    if clash := {n for n in names if names.count(n) > 1}:
        raise BadRequest(f"Two tools are called {sorted(clash)[0]!r}. Rename one: tool(function, name='…').")
    return made


def _as_tool(item: Any) -> Tool:
    if isinstance(item, Tool):
        return item
    if isinstance(item, Mapping):
        return from_openai(item)
    if callable(item):
        return tool(item)
    raise BadRequest(f"{item!r} is no tool: give a function with type hints or an OpenAI tool dict.")


def from_openai(item: Mapping[str, Any]) -> Tool:
    """A Tool from {"type": "function", "function": {"name", "description", "parameters"}}."""
    jsonschema = json_schema.library()
    function = item.get("function", item)
    if not isinstance(function, Mapping) or "name" not in function:
        raise BadRequest('A tool dict looks like '
                         '{"type": "function", "function": {"name": …, "parameters": …}}.')
    parameters = function.get("parameters") or {"properties": {}}
    try:
        jsonschema.Draft202012Validator.check_schema(parameters)
    except jsonschema.SchemaError as error:
        raise BadRequest(f"Tool {function['name']!r} has an invalid schema: {error.message}") from error
    if not isinstance(parameters, Mapping) or parameters.get("type", "object") != "object":
        raise BadRequest(f"Tool {function['name']!r}: "
                         "parameters must describe an object, the arguments by name.")
    check_references(function["name"], parameters)
    return Tool(function["name"], function.get("description") or "", {"type": "object", **parameters})
