"""Lesson 02, Tools: a tool of one's own, a checked call, two shares instead of one."""
from __future__ import annotations

import json

from labkit.course.checking import CheckFailed, exercise, expect
from labkit.tools.tool import Tool, from_openai


@exercise("02.1", title="A tool of your own",
          hint="Literal['mug', 'shirt', 'poster'] is the type of item. Defaults go into the signature. "
               "Put @lk.tool on the line above def.")
def check_price_quote(answer):
    if not isinstance(answer, Tool):
        raise CheckFailed("price_quote is not a tool yet. Put @lk.tool on the line above its def.")
    properties = answer.parameters.get("properties", {})
    expect(sorted(properties), ["express", "item", "quantity"], "the names of the parameters")
    expect(answer.parameters.get("required"), ["item"], "what must be given: the others have defaults")
    expect(sorted(properties["item"].get("enum", [])), ["mug", "poster", "shirt"], "what item may be")
    expect(properties["quantity"].get("type"), "integer", "the type of quantity")
    expect(properties["express"].get("type"), "boolean", "the type of express")
    expect(answer.run({"item": "shirt", "quantity": 2, "express": True}), 45, "two shirts, express")
    expect(answer.run({"item": "mug"}), 8, "one mug, nothing else said")


@exercise("02.2", title="Check a raw call",
          hint="Three things can go wrong: the text is no JSON, the name is another, the arguments do not fit. "
               "A try with several exceptions in one except catches them all.")
def check_checked(answer):
    timer = from_openai({"name": "timer", "parameters": {
        "type": "object", "properties": {"minutes": {"type": "number"}}, "required": ["minutes"]}})
    good = json.dumps({"name": "timer", "arguments": {"minutes": 5}})
    expect(answer(good, timer), {"minutes": 5}, good)
    for text, why in [("Sure! I set a timer.", "words"), ('{"name": "timer", "arguments": {"minutes"', "cut JSON"),
                      ('{"name": "alarm", "arguments": {"minutes": 5}}', "another tool's name"),
                      ('{"name": "timer", "arguments": {"minutes": "five"}}', "a word where a number must be"),
                      ('{"name": "timer"}', "no arguments"), ("[1, 2]", "a list")]:
        expect(answer(text, timer), None, f"{why}: {text}")


@exercise("02.3", title="Two shares",
          hint="Make two lists first: the outcomes that needed a tool, and those that did not.")
def check_two_shares(answer):
    always = [(True, True)] * 3 + [(False, True)] * 2
    expect(list(answer(always)), [1.0, 0.0], "a model that always calls")
    mixed = [(True, True), (True, False), (False, False), (False, False), (False, True), (True, True)]
    expect(list(answer(mixed)), [2 / 3, 2 / 3], "one call missed, one too many")
