"""What every backend does with tools and schemas: whatever the model says, it parses and validates."""
from __future__ import annotations

import json
import random
from datetime import date
from enum import Enum
from typing import Literal

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field, field_validator

import labkit as lk
from labkit.tools.tool import as_tools


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


class Address(BaseModel):
    street: str
    number: int


class Person(BaseModel):
    name: str
    address: Address
    friends: list[Address] = []


@lk.tool
def order_status(order_id: str) -> dict:
    """Status of an order. Args: order_id: like A-1042."""
    return {"order_id": order_id, "status": "shipped"}


@lk.tool
def weather(city: str, unit: Literal["celsius", "fahrenheit"] = "celsius") -> str:
    """The weather in a city today.

    Args:
        city: the city's name.
        unit: of the temperature.
    """
    return "sunny"


CALCULATE = {"type": "function", "function": {
    "name": "calculate_area", "description": "Area of a rectangle.",
    "parameters": {"type": "object", "required": ["width", "height"],
                   "properties": {"width": {"type": "number"}, "height": {"type": "number"}}}}}
TOOLS = [order_status, weather, CALCULATE]
ORDER = "Where is my order A-1042?"
SMALL_TALK = "Hello! How are you today?"



def judges(model) -> bool:
    """Whether this runtime tells the fitting tool: by scores, or by tool calls of its own.

    Where the 135M model can only write down a name, it is often the wrong one. That is measured in the
    league table; here it must be valid.
    """
    return model.capabilities.scores or model.capabilities.tools


# -- tool_choice ---------------------------------------------------------------------------


def test_auto_calls_the_tool_that_fits(model):
    reply = model.chat(ORDER, tools=TOOLS, tool_choice="auto" if judges(model) else "order_status")
    assert reply.tool_calls == [lk.ToolCall("order_status", {"order_id": "A-1042"})]
    assert reply.text == "" and reply.finish_reason == "tool_calls"


def test_auto_answers_in_words_when_no_tool_fits(model):
    reply = model.chat(SMALL_TALK, tools=TOOLS, max_tokens=24 if judges(model) else 200)
    if judges(model) or not reply.tool_calls:
        assert reply.tool_calls == [] and reply.text and reply.finish_reason in ("stop", "length")


def test_required_calls_even_in_small_talk(model):
    reply = model.chat(SMALL_TALK, tools=TOOLS, tool_choice="required")
    assert [call.name for call in reply.tool_calls][0] in {"order_status", "weather", "calculate_area"}


def test_none_answers_in_words_even_to_an_order(model):
    reply = model.chat(ORDER, tools=TOOLS, tool_choice="none", max_tokens=16)
    assert reply.tool_calls == [] and reply.text == model.chat(ORDER, max_tokens=16).text


@pytest.mark.parametrize("choice", ["weather", {"type": "function", "function": {"name": "weather"}}])
def test_a_named_tool_is_called_whatever_was_said(model, choice):
    reply = model.chat(ORDER, tools=TOOLS, tool_choice=choice)
    assert [call.name for call in reply.tool_calls] == ["weather"]
    weather.check(reply.tool_calls[0].arguments)


def test_openai_dicts_are_tools(model):
    reply = model.chat("What is the area of a rectangle 3 wide and 4 high?", tools=[CALCULATE],
                       tool_choice="required")
    assert reply.tool_calls[0].arguments == {"width": 3, "height": 4}


def test_several_calls_in_one_turn(model):
    reply = model.chat("What is the weather in Paris, and where is order A-1042?", tools=TOOLS,
                       tool_choice="required", parallel_tool_calls=True)
    assert 1 <= len(reply.tool_calls) <= 4
    assert len({call.id for call in reply.tool_calls}) == len(reply.tool_calls)
    for call in reply.tool_calls:
        next(tool for tool in as_tools(TOOLS) if tool.name == call.name).check(call.arguments)


def test_a_call_streams_no_text(model):
    stream = model.stream(ORDER, tools=TOOLS, tool_choice="order_status")
    assert list(stream) == [] and stream.reply.tool_calls[0].name == "order_status"


def test_words_with_tools_stream_and_stop_as_usual(model):
    answered = [{"role": "user", "content": ORDER},  # after a result comes an answer in words
                lk.Reply("", [lk.ToolCall("order_status", {"order_id": "A-1042"}, "1")]).message,
                {"role": "tool", "tool_call_id": "1", "content": "The order A-1042 was shipped on Monday."}]
    stream = model.stream(answered, tools=TOOLS, max_tokens=30)
    words = "".join(stream)
    assert words == stream.reply.text and len(words) > 12
    assert model.chat(answered, tools=TOOLS, max_tokens=30, stop=words[8:12]).text == words[:8]


def test_a_stop_string_does_not_break_a_call(model):
    reply = model.chat(ORDER, tools=TOOLS, tool_choice="order_status", stop='"')
    assert reply.tool_calls[0].arguments == {"order_id": "A-1042"}


def test_the_result_of_a_call_is_answered_in_words(model):
    call = model.chat(ORDER, tools=TOOLS)
    messages = [{"role": "user", "content": ORDER}, call.message,
                {"role": "tool", "tool_call_id": call.tool_calls[0].id, "content": '{"status": "shipped"}'}]
    reply = model.chat(messages, tools=TOOLS, max_tokens=32)
    assert reply.tool_calls == [] and reply.text


def test_a_call_that_was_cut_is_an_error(model, works):
    with pytest.raises(lk.IncompleteOutput, match="max_tokens"):
        model.chat(ORDER, tools=[order_status], tool_choice="required", grounded=False, max_tokens=2)
    works()


# -- what functions may ask for ------------------------------------------------------------


def book(guests: int, day: date, size: Size, extras: list[Literal["sauna", "bike"]],
         note: str | None = None, breakfast: bool = True) -> str:
    """Book a room."""
    return f"{guests} {day:%d.%m.} {size.value} {extras} {note} {breakfast}"


def register(person: Person) -> str:
    """Register a person."""
    return person.address.street


@pytest.mark.parametrize("function, request_", [
    (book, "Book a large room for 2 guests on 2026-12-24, with a bike."),
    (book, "asdf"),
    (register, "Register Ada, who lives in Long Street 5."),
])
@pytest.mark.parametrize("grounded", [True, False])
def test_every_kind_of_argument_arrives_in_the_functions_types(model, function, request_, grounded):
    made = lk.tool(function)
    reply = model.chat(request_, tools=[made], tool_choice=made.name, grounded=grounded)
    assert isinstance(made.run(reply.tool_calls[0].arguments), str)


def test_arguments_are_taken_from_the_request(model):
    reply = model.chat("Book a large room for 2 guests on 2026-12-24, with a bike.", tools=[book],
                       tool_choice="required")
    given = reply.tool_calls[0].arguments
    assert given["guests"] == 2 and given["size"] == "large" and set(given["extras"]) == {"bike"}


def test_a_tool_without_parameters(model):
    def now() -> str:
        """The time."""
    assert model.chat("What time is it?", tools=[now], tool_choice="required").tool_calls[0].arguments == {}


def test_tools_whose_definitions_share_a_name_keep_them_apart(model):
    def tool(name, kind):
        return {"name": name, "parameters": {"properties": {"x": {"$ref": "#/$defs/X"}}, "required": ["x"],
                                             "$defs": {"X": {"enum": [kind]}}}}
    for name, kind in (("first", "a"), ("second", "b")):
        reply = model.chat("Go.", tools=[tool("first", "a"), tool("second", "b")], tool_choice=name)
        assert reply.tool_calls[0].arguments == {"x": kind}
    several = model.chat("Go.", tools=[tool("first", "a"), tool("second", "b")], tool_choice="required",
                         parallel_tool_calls=True)
    assert all(call.arguments["x"] == {"first": "a", "second": "b"}[call.name] for call in several.tool_calls)


# -- schema= -------------------------------------------------------------------------------


def test_a_pydantic_model_as_schema(model):
    reply = model.chat("Ada lives in Long Street 5.", schema=Address)
    assert isinstance(reply.parsed, Address) and json.loads(reply.text) == reply.parsed.model_dump()


def test_a_nested_model_as_schema(model):
    assert isinstance(model.chat("Ada lives in Long Street 5.", schema=Person).parsed, Person)


class Impossible(BaseModel):
    """A schema cannot say what its validator asks for."""

    city: str

    @field_validator("city")
    @classmethod
    def never(cls, city: str) -> str:
        raise ValueError("no city is good enough")


def test_a_value_that_the_models_own_validators_refuse(model):
    with pytest.raises(lk.IncompleteOutput, match="Impossible: city: .*no city is good enough"):
        model.chat("Oslo", schema=Impossible)


def test_a_dict_as_schema(model):
    schema = {"type": "object", "required": ["capital"], "additionalProperties": False,
              "properties": {"capital": {"enum": ["Rome", "Paris"]}}}
    parsed = model.chat("The capital of France?", schema=schema).parsed
    assert parsed in ({"capital": "Paris"}, {"capital": "Rome"})


def test_bounds_of_a_model_hold(model):
    class Rating(BaseModel):
        stars: int = Field(ge=1, le=5)
        words: list[str] = Field(min_length=2, max_length=3)
    parsed = model.chat("Rate this film, it was great: 100 of 100!", schema=Rating).parsed
    assert 1 <= parsed.stars <= 5 and 2 <= len(parsed.words) <= 3


def test_a_value_that_was_cut_is_an_error(model, works):
    with pytest.raises(lk.IncompleteOutput, match="ended at 4 tokens"):
        model.chat("Ada lives in Long Street 5.", schema=Person, max_tokens=4)
    works()


def test_a_value_streams_as_its_text(model):
    stream = model.stream("Ada lives in Long Street 5.", schema=Address)
    assert "".join(stream) == stream.reply.text and stream.reply.parsed


def random_schema(rng: random.Random, depth: int = 2) -> dict:
    """A schema of any shape that a tool might have."""
    kinds = [
        lambda: {"type": "integer"}, lambda: {"type": "boolean"}, lambda: {"type": "null"},
        lambda: {"type": "integer", "minimum": (low := rng.randint(-9, 9)),
                 "maximum": low + rng.randint(0, 99)},
        lambda: {"type": "integer", "exclusiveMinimum": rng.randint(0, 9), "maximum": 999},
        lambda: {"type": "string", "maxLength": rng.randint(1, 12)},
        lambda: {"type": "string", "minLength": rng.randint(1, 20)},
        lambda: {"type": "string",
                 "pattern": rng.choice(["^[a-c]{2,4}$", "^[0-9]{1,5}-[xyz]$", "^(ja|nein)$"])},
        lambda: {"type": "string", "format": rng.choice(["date", "time", "uuid", "email"])},
        lambda: {"enum": rng.sample(["red", "blue", 3, None, True, 'a "quoted" word', "ü"],
                                    rng.randint(1, 4))},
        lambda: {"const": rng.choice(["x", 7, [1, 2], {"a": None}])},
        lambda: {"type": ["string", "null"], "maxLength": 8},
    ]
    if depth:
        kinds += [lambda: {"type": "array", "items": random_schema(rng, depth - 1),
                           "minItems": (low := rng.randint(0, 2)), "maxItems": low + 1},
                  lambda: {"anyOf": [random_schema(rng, depth - 1) for _ in range(2)]},
                  lambda: random_object(rng, depth - 1)] * 3
    return rng.choice(kinds)()


def random_object(rng: random.Random, depth: int) -> dict:
    names = rng.sample(["id", "name", "ort", "größe", "a b", "$x", "type", "items"], rng.randint(1, 4))
    return {"type": "object", "properties": {name: random_schema(rng, depth) for name in names},
            "required": [name for name in names if rng.random() < 0.6], "additionalProperties": False}


@pytest.mark.parametrize("seed", range(8))
def test_any_schema_is_obeyed(model, seed):
    schema = random_schema(random.Random(seed))
    reply = model.chat("3 red ones for Anna on 2026-01-02.", schema=schema, temperature=1.0, seed=seed)
    Draft202012Validator(schema).validate(reply.parsed)


@pytest.mark.parametrize("seed", range(100, 108))
def test_any_tool_is_called_rightly(model, seed):
    rng = random.Random(seed)
    parameters = random_object(rng, 2)
    reply = model.chat("Give me 3 red ones for Anna on 2026-01-02.", temperature=1.0, seed=seed,
                       tools=[{"name": "tool", "parameters": parameters}], tool_choice="required",
                       grounded=rng.random() < 0.5)
    Draft202012Validator(parameters).validate(reply.tool_calls[0].arguments)
