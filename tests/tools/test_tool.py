"""Functions as tools: the schema from the signature, and running a call."""
from __future__ import annotations

import subprocess
import sys
import threading
from datetime import date
from enum import Enum
from functools import partial
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

import labkit as lk
from labkit.errors import BadRequest, ToolError
from labkit.tools.tool import as_tools, from_openai


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Item(BaseModel):
    name: str
    count: Annotated[int, Field(ge=1)] = 1


def properties(function) -> dict:
    return lk.tool(function).parameters["properties"]


# -- schema --------------------------------------------------------------------------------


def test_types_become_json_schema():
    def f(a: str, b: int, c: float, d: bool, e: list[int], f: date, g: Literal["x", "y"]) -> str:
        """F."""
    assert properties(f) == {
        "a": {"type": "string"}, "b": {"type": "integer"}, "c": {"type": "number"}, "d": {"type": "boolean"},
        "e": {"type": "array", "items": {"type": "integer"}}, "f": {"type": "string", "format": "date"},
        "g": {"type": "string", "enum": ["x", "y"]}}
    assert lk.tool(f).parameters["required"] == list("abcdefg")


def test_defaults_and_optionals_are_not_required():
    def f(a: int, b: int = 3, c: str | None = None):
        """F."""
    made = lk.tool(f)
    assert made.parameters["required"] == ["a"]
    assert made.parameters["properties"]["b"] == {"type": "integer", "default": 3}
    assert made.parameters["properties"]["c"]["anyOf"] == [{"type": "string"}, {"type": "null"}]


def test_enums_and_models_are_definitions():
    def f(colour: Colour, items: list[Item]):
        """F."""
    made = lk.tool(f)
    assert made.parameters["$defs"]["Colour"] == {"type": "string", "enum": ["red", "blue"]}
    assert made.parameters["$defs"]["Item"]["properties"]["count"]["minimum"] == 1
    assert made.parameters["properties"]["items"]["items"] == {"$ref": "#/$defs/Item"}


def test_values_that_look_like_schemas_are_kept():
    def f(title: str = "Dr", book: dict[str, str] = {"title": "Ulysses"}):  # noqa: B006
        """F."""
    found = properties(f)
    assert found["title"] == {"type": "string", "default": "Dr"}
    assert found["book"]["default"] == {"title": "Ulysses"}


@pytest.mark.parametrize("doc", [
    """Weather today.

    Args:
        city: the city's
            name.
        unit: of the temperature.

    Returns:
        words.
    """,
    """Weather today.

    Parameters
    ----------
    city : str
        the city's name.
    unit : str
        of the temperature.
    """,
    """Weather today.

    :param city: the city's name.
    :param unit: of the temperature.
    :returns: words
    """,
    "Weather today. Args: city: the city's name. unit: of the temperature.",
    "Weather today.  Args: city: the city's name. unit: of the temperature. Returns: words",
])
def test_docstrings_of_every_style(doc):
    def weather(city: str, unit: str):
        pass
    weather.__doc__ = doc
    made = lk.tool(weather)
    assert made.description == "Weather today."
    assert {name: part["description"] for name, part in made.parameters["properties"].items()} == {
        "city": "the city's name.", "unit": "of the temperature."}


def test_the_decorator_with_and_without_options():
    @lk.tool
    def plain(x: int):
        """Plain."""
        return x + 1

    @lk.tool(name="other", description="Said otherwise.", time_limit_s=1)
    def named(x: int):
        """Named."""
        return x + 2

    def bare(x: int):
        return x
    assert (plain.name, plain.description, plain(1)) == ("plain", "Plain.", 2)
    assert (named.name, named.description, named.time_limit_s) == ("other", "Said otherwise.", 1)
    assert named(x=1) == 3
    assert lk.tool(bare).description == "bare" and lk.tool(plain) is plain
    assert lk.tool(lambda: 1, name="one").run({}) == 1


def test_openai_form_goes_out_and_comes_back():
    @lk.tool
    def f(x: int):
        """F. Args: x: a number."""
    [back] = as_tools([f.to_openai()])
    assert (back.name, back.description, back.parameters) == (f.name, f.description, f.parameters)
    with pytest.raises(lk.ToolError, match="the caller runs it"):
        back(x=1)


def test_parameters_may_be_called_anything():
    def f(json: str, copy: int, _x: int, model_config: str, schema: str, self: int = 0):
        """F."""
        return json, copy, _x, model_config, schema, self
    made = lk.tool(f)
    given = {"json": "a", "copy": 1, "_x": 2, "model_config": "b", "schema": "c"}
    assert list(made.parameters["properties"]) == [*given, "self"]
    assert made.run(given) == ("a", 1, 2, "b", "c", 0)


def no_hint(x): ...
def star(*args: int): ...
def double_star(**options: int): ...
def positional(x: int, /): ...
def undefined(x: Nonsense): ...  # noqa: F821
def no_json(x: threading.Thread): ...


@pytest.mark.parametrize("function, said", [
    (no_hint, "no type hint for 'x'. Write for example x: str"), (star, "'args' by name"),
    (double_star, "'options' by name"), (positional, "'x' by name"),
    (undefined, "not defined: name 'Nonsense'"),
    (no_json, "a type no JSON can carry"), (lambda x: x, "A lambda has no name"),
    (partial(no_hint, 1), "has no name"),
])
def test_functions_that_cannot_be_tools(function, said):
    with pytest.raises(lk.BadRequest, match=said):
        lk.tool(function)


def test_a_name_clash():
    def f(x: int): ...
    with pytest.raises(lk.BadRequest, match="Two tools are called 'f'"):
        as_tools([f, {"name": "f"}])


# -- running -------------------------------------------------------------------------------


def test_arguments_arrive_in_the_functions_types():
    def f(day: date, colour: Colour, items: list[Item], ratio: float = 0.5):
        return day, colour, items, ratio
    got = lk.tool(f).run({"day": "2026-02-28", "colour": "blue", "items": [{"name": "a"}]})
    assert got == (date(2026, 2, 28), Colour.BLUE, [Item(name="a", count=1)], 0.5)


@pytest.mark.parametrize("arguments, said", [
    ({}, "'n' is a required property"), ({"n": "3"}, "n: '3' is not of type 'integer'"),
    ({"n": 1, "m": 2}, "'m' was unexpected"), ({"n": 9}, "n: 9 is greater than the maximum of 5"),
    ({"n": 1, "day": "2026-02-30"}, "day: "),
    ({"n": 1, "items": [{"name": "a", "count": 0}]}, "items.0.count"),
])
def test_arguments_that_do_not_fit_are_refused_in_words(arguments, said):
    def f(n: Annotated[int, Field(le=5)], day: date | None = None, items: list[Item] = []):  # noqa: B006
        raise AssertionError("must not run")
    with pytest.raises(lk.ToolError, match=f"f: .*{said}|f: {said}"):
        lk.tool(f).run(arguments)


@pytest.mark.parametrize("error", [ValueError("no such order"), SystemExit("bye"), KeyboardInterrupt("stop")])
def test_a_tool_that_raises_is_a_tool_error(error):
    def f():
        raise error
    with pytest.raises(lk.ToolError, match=f"f: {type(error).__name__}: {error}") as caught:
        lk.tool(f).run({})
    assert caught.value.__cause__ is error


def test_a_tool_that_never_returns_is_left_alone():
    ever = threading.Event()

    @lk.tool(time_limit_s=0.2)
    def wait():
        ever.wait(60)
    try:
        with pytest.raises(lk.ToolError, match="wait gave no answer within 0.2 s"):
            wait.run({})
    finally:
        ever.set()


def test_a_coroutine_is_awaited():
    async def f(x: int):
        return x + 1
    assert lk.tool(f).run({"x": 1}) == 2


def test_none_is_a_result():
    def f(): ...
    assert lk.tool(f).run({}) is None


@pytest.mark.parametrize(("reference", "words"), [
    ("http://127.0.0.1:9/schema", "outside of itself"), ("file:///etc/hostname", "outside of itself"),
    ("other.json", "outside of itself"), ("#/$defs/missing", "not in it"),
])
def test_a_schema_that_refers_outside_of_itself_is_refused(reference, words):
    parameters = {"type": "object", "properties": {"a": {"items": {"$ref": reference}}}}
    with pytest.raises(BadRequest, match=words):
        from_openai({"function": {"name": "odd", "parameters": parameters}})


def test_a_schema_that_refers_to_itself_without_end_is_a_tools_error():
    parameters = {"type": "object", "allOf": [{"$ref": "#"}]}
    with pytest.raises(ToolError, match="without end"):
        from_openai({"function": {"name": "odd", "parameters": parameters}}).check({})


def test_the_schema_library_comes_without_what_it_would_compile():
    code = ("import sys, labkit as lk\nfrom labkit.tools.tool import from_openai\n"
            "from_openai({'name': 'a', 'parameters': {'type': 'object', 'required': ['x']}})\n"
            "assert 'jsonschema' in sys.modules and 'rfc3987_syntax' not in sys.modules\n"
            "import jsonschema, rfc3987_syntax")
    subprocess.run([sys.executable, "-c", code], check=True)
