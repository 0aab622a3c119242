"""Schemas with an end, arguments from what was said, and conversations checked."""
from __future__ import annotations

import re

import pytest
from jsonschema import Draft202012Validator

import labkit as lk
from labkit.tools.calling import parse_choice, with_instructions
from labkit.tools.grounding import grounded, numbers
from labkit.tools.messages import flatten, normalise, well_formed
from labkit.tools.schema import MAX_ITEMS, MAX_TEXT, bounded
from labkit.tools.tool import as_tools


@pytest.mark.parametrize("schema, ends", [
    ({"type": "string"}, {"type": "string", "maxLength": MAX_TEXT}),
    ({"type": "string", "maxLength": 3}, {"type": "string", "maxLength": 3}),
    ({"type": "string", "minLength": 999}, {"type": "string", "minLength": 999, "maxLength": 999}),
    ({"type": "string", "pattern": "^a+$"}, {"type": "string", "pattern": "^a+$", "maxLength": MAX_TEXT}),
    ({"type": "string", "pattern": "^a?$"}, {"type": "string", "pattern": "^a?$"}),
    ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}),
    ({"type": ["string", "null"]}, {"type": ["string", "null"], "maxLength": MAX_TEXT}),
    ({"type": "integer"}, {"type": "integer", "minimum": 1 - 2**53, "maximum": 2**53 - 1}),
    ({"type": "integer", "minimum": 3}, {"type": "integer", "minimum": 3}),
    ({"type": "array"}, {"type": "array", "maxItems": MAX_ITEMS}),
    ({"type": "array", "minItems": 20}, {"type": "array", "minItems": 20, "maxItems": 20}),
    ({"type": "string", "enum": ["a"]}, {"type": "string", "enum": ["a"]}),
    ({"properties": {}}, {"properties": {}, "additionalProperties": False}),
    ({"properties": {}, "additionalProperties": True}, {"properties": {}, "additionalProperties": True}),
    ({"allOf": [{"properties": {"a": {}}}, {"properties": {}}]},
     {"allOf": [{"properties": {"a": {}}}, {"properties": {}}]}),
    ({"default": {"type": "string"}}, {"default": {"type": "string"}}),
    (True, True),
])
def test_everything_gets_an_end(schema, ends):
    assert bounded(schema) == ends


TEXT = "Send 3 red and 1,200 blue roses to Anna Weber, Mill Lane 7, for 19.50 please."


def test_numbers_of_a_text():
    assert numbers(TEXT) == [3, 1200, 7, 19.5]
    assert numbers("two of them, -4 degrees, v1.2.3") == [2, -4, 1.2] or numbers("two, -4") == [2, -4]


def test_arguments_are_narrowed_to_what_was_said():
    schema = {"type": "object", "required": ["to", "count", "colour", "price"], "properties": {
        "to": {"type": "string"}, "count": {"type": "integer"}, "price": {"type": "number"},
        "colour": {"enum": ["red", "green", "blue"]}, "wrap": {"enum": ["paper", "foil"]}}}
    new = grounded(schema, TEXT)
    found = new["properties"]
    assert found["colour"]["enum"] == ["red", "blue"] and found["count"]["enum"] == [3, 1200, 7]
    assert found["price"]["enum"] == [3, 1200, 7, 19.5] and "wrap" not in found
    assert all(re.search(found["to"]["pattern"], text) for text in ("Anna Weber", "Mill Lane 7", "Anna"))
    assert not any(re.search(found["to"]["pattern"], text) for text in ("Bob", "Anna Mill", "nna"))
    assert schema["properties"]["to"] == {"type": "string"}  # the tool's own is untouched


@pytest.mark.parametrize("part", [
    {"type": "string", "minLength": 50}, {"type": "integer", "exclusiveMinimum": 5000},
    {"type": "integer", "multipleOf": 11}, {"type": "array", "minItems": 9, "items": {"type": "integer"}},
    {"type": "array", "minItems": 3, "items": {"enum": ["red"]}}, {"type": "boolean"},
])
def test_what_was_said_never_makes_a_schema_impossible(part):
    """Something still satisfies the narrowed schema."""
    new = grounded({"type": "object", "required": ["x"], "properties": {"x": part}}, TEXT)["properties"]["x"]
    both = Draft202012Validator({"allOf": [new, part]})
    assert any(map(both.is_valid, ["y" * 60, 5001, 11, [3] * 9, ["red"] * 3, True]))


def test_nothing_said_leaves_the_schema_open():
    schema = {"type": "object", "required": ["x"], "properties": {"x": {"type": "string"}}}
    assert grounded(schema, "")["properties"] == schema["properties"]


# -- choices and conversations -------------------------------------------------------------


def test_choices_are_openais():
    tools = as_tools([{"name": "a"}, {"name": "b"}])
    assert parse_choice("auto", tools) == ("auto", tools)
    assert parse_choice("required", tools) == ("required", tools)
    assert parse_choice("none", tools) == ("none", []) == parse_choice("auto", [])
    assert parse_choice("b", tools) == ("required", tools[1:])
    assert parse_choice({"type": "function", "function": {"name": "b"}}, tools) == ("required", tools[1:])
    for wrong in ("c", None, 3, {}, {"function": "b"}):
        with pytest.raises(lk.BadRequest, match="no tool here"):
            parse_choice(wrong, tools)


def test_instructions_join_the_system_message():
    user = {"role": "user", "content": "Hi"}
    assert with_instructions([user], "Be kind.") == [{"role": "system", "content": "Be kind."}, user]
    told = with_instructions([{"role": "system", "content": "You are Ada."}, user], "Be kind.")
    assert told == [{"role": "system", "content": "You are Ada.\n\nBe kind."}, user]


def test_surrogates():
    assert well_formed("a\ud83d\ude00b") == "a\U0001f600b" and well_formed("a\ud83db") == "a\ufffdb"
    assert well_formed("\ude00\ud83d") == "\ufffd\ufffd" and well_formed("plain") == "plain"


def test_calls_and_results_become_text_in_their_place():
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    flat = flatten(normalise([{"role": "user", "content": "Go"},
                              {"role": "assistant", "content": None, "tool_calls": [call]},
                              {"role": "tool", "tool_call_id": "1", "content": "done"}]))
    assert [m["role"] for m in flat] == ["user", "assistant", "user"]
    assert "f" in flat[1]["content"] and '{"x": 1}' in flat[1]["content"]
    assert "done" in flat[2]["content"]
