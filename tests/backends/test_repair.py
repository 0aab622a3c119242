"""Keeping a schema on runtimes that cannot enforce one: answers that a real model cannot be made to give."""
from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator

import labkit as lk
from labkit.backends import repair
from labkit.backends.base import Capabilities, Chunk
from labkit.backends.reply import Usage

POINT = {"type": "object", "required": ["x", "y"], "additionalProperties": False,
         "properties": {"x": {"type": "integer", "minimum": 0, "maximum": 99}, "y": {"enum": ["up", "down"]}}}


@pytest.mark.parametrize("capabilities, kind, way", [
    (Capabilities(frozenset({"json_schema"})), "json_schema", "enforce"),
    (Capabilities(frozenset({"json_schema"}), continues=True), "regex", "continue"),
    (Capabilities(frozenset({"json_schema"})), "regex", "ask again"), (Capabilities(), "json_schema", "ask again"),
])
def test_the_way_follows_the_capabilities(capabilities, kind, way):
    assert repair.way(capabilities, kind) == way


# -- ask again -----------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    '{"x": 3, "y": "up"}', 'Sure! {"x": 3, "y": "up"} I hope this helps.', '```json\n{"x": 3, "y": "up"}\n```',
    '\n{ "x" : 3,\n  "y": "up" }',
])
def test_json_in_words_is_found(script, scripted_slm, text):
    script.enqueue(text)
    reply = scripted_slm.chat("A point", schema=POINT)
    assert reply.parsed == {"x": 3, "y": "up"} and json.loads(reply.text) == reply.parsed
    assert len(script.requests) == 1 and "Answer with nothing but JSON" in script.requests[0].messages[0]["content"]


def test_a_wrong_answer_is_told_what_was_wrong_and_asked_again(script, scripted_slm):
    script.enqueue("I do not know.").enqueue('{"x": 300, "y": "up"}').enqueue('{"x": 30, "y": "up"}')
    reply = scripted_slm.chat("A point", schema=POINT)
    assert reply.parsed == {"x": 30, "y": "up"} and reply.usage.completion_tokens == 3
    asked = [request.messages[-1]["content"] for request in script.requests]
    assert "That was no JSON" in asked[1] and "300 is greater than the maximum of 99" in asked[2]
    assert script.requests[2].messages[-2] == {"role": "assistant", "content": '{"x": 300, "y": "up"}'}


def test_after_three_wrong_answers_it_gives_up_and_says_what_would_help(script, scripted_slm):
    for _ in range(3):
        script.enqueue('{"x": 1}')
    with pytest.raises(lk.IncompleteOutput, match=r"3 tries: .*'y' is a required.*scripted cannot be held to a schema"):
        scripted_slm.chat("A point", schema=POINT)
    assert not script.answers


def test_an_answer_that_was_cut_is_not_asked_again(script, scripted_slm):
    script.enqueue('{"x": 1, "y', finish_reason="length")
    with pytest.raises(lk.IncompleteOutput, match="ended at 7 tokens"):
        scripted_slm.chat("A point", schema=POINT, max_tokens=7)
    assert len(script.requests) == 1


def test_a_call_is_repaired_too(script, scripted_slm):
    tool = {"name": "go", "parameters": POINT}
    script.enqueue("go to 3").enqueue('{"name": "go", "arguments": {"x": 3, "y": "down"}}')
    reply = scripted_slm.chat("Go", tools=[tool], tool_choice="go")
    assert reply.tool_calls == [lk.ToolCall("go", {"x": 3, "y": "down"})]


def test_a_schema_that_nothing_fits_is_refused_before_anything_is_asked(script, scripted_slm):
    with pytest.raises(lk.BadRequest, match="cannot be enforced"):
        scripted_slm.chat("A point", schema={"enum": []})
    assert not script.requests


# -- continue ------------------------------------------------------------------------------


class Stubborn(lk.Backend):
    """Goes on from a beginning with what `write(prefix)` says, one character a token; knows `likely` words."""

    name = model = "stubborn"
    capabilities = Capabilities(continues=True)

    def __init__(self, write, likely=()):
        self.write, self.likely, self.prefixes, self.closed = write, likely, [], 0

    def generate(self, request):
        self.prefixes.append(request.prefix)
        text = self.write(request.prefix)[:request.max_tokens]
        try:
            for n, character in enumerate(text, 1):
                yield Chunk(character, usage=Usage(5, n))
            yield Chunk("", 0, "stop", Usage(5, len(text)))
        finally:
            self.closed += 1

    def next_tokens(self, request):
        return [(word, -float(i)) for i, word in enumerate(self.likely)]


@pytest.mark.parametrize("write", [
    lambda prefix: "", lambda prefix: "Hello! ", lambda prefix: '"', lambda prefix: "}", lambda prefix: "9" * 50,
    lambda prefix: "\u00fc\u00df\U0001f600", lambda prefix: '{"x": 3, "y": "up"}', lambda prefix: "\n\n\n",
], ids=["silent", "prose", "quotes", "braces", "digits", "umlauts", "starts over", "lines"])
def test_whatever_a_model_writes_the_result_fits(write):
    stubborn = Stubborn(write)
    reply = lk.Chat(stubborn).chat("A point", schema=POINT, max_tokens=100)
    Draft202012Validator(POINT).validate(reply.parsed)
    assert stubborn.closed == len(stubborn.prefixes)


def test_what_is_valid_stays_and_what_must_come_is_written_for_it():
    answers = {'{"x": ': "42 meters", '{"x": 42, "y": "': "down there"}
    stubborn = Stubborn(lambda prefix: answers.get(prefix, ""))
    reply = lk.Chat(stubborn).chat("A point", schema=POINT)
    assert reply.parsed == {"x": 42, "y": "down"}
    assert stubborn.prefixes[0] == '{"x": ' and '{"x": 42, "y": "' in stubborn.prefixes


def test_where_its_own_word_is_not_allowed_its_likeliest_allowed_one_is_taken():
    stubborn = Stubborn(lambda prefix: "!", likely=["?", "down", "up"])
    assert lk.Chat(stubborn).chat("A point", schema=POINT).parsed["y"] == "down"


def test_tokens_that_were_thrown_away_count_and_end_the_answer():
    stubborn = Stubborn(lambda prefix: "a" * 40)
    reply = lk.Chat(stubborn).chat("Text", schema={"type": "string", "maxLength": 10})
    assert reply.parsed == "a" * 10 and reply.usage.completion_tokens >= 10 and reply.usage.prompt_tokens == 5
    with pytest.raises(lk.IncompleteOutput, match="ended at 5 tokens"):
        lk.Chat(stubborn).chat("Text", schema={"type": "string", "minLength": 30}, max_tokens=5)


def test_half_characters_never_come_out():
    stubborn = Stubborn(lambda prefix: "\U0001f600" * 9)
    stream = lk.Chat(stubborn).stream("Text", schema={"type": "string", "maxLength": 3})
    assert "".join(stream) == stream.reply.text and stream.reply.parsed == "\U0001f600" * 3
