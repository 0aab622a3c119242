"""A turn of a model that was trained to call tools: what is made of what it writes."""
from __future__ import annotations

import warnings
from dataclasses import replace

import pytest

import labkit as lk
from labkit.tools import trained
from labkit.tools.tool import from_openai


@lk.tool
def book(place: str, guests: int, area: str = "inside") -> str:
    """Book a table.  Args: place: Name of the restaurant. guests: how many."""
    return "done"


@pytest.fixture
def script(trusted_script):
    """It says that it has been trained."""
    trusted_script._capabilities = replace(trusted_script.capabilities, trained=True)
    return trusted_script


CALL = '[{"name": "book", "arguments": {"place": "Nori", "guests": 2}}]'


def test_a_call_is_read_and_was_asked_of_the_trained_model(script, scripted_slm):
    script.enqueue(CALL)
    reply = scripted_slm.chat([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Nori for 2"}],
                              tools=[book])
    assert [(c.name, c.arguments) for c in reply.tool_calls] == [("book", {"place": "Nori", "guests": 2})]
    assert reply.finish_reason == "tool_calls" and reply.text == "" and reply.confidence is None
    [asked] = script.requests
    assert asked.trained and asked.messages[0]["content"].startswith("Tools:\n\nbook: Book a table.")
    assert asked.messages[0]["content"].endswith("\n\nBe brief.") and asked.messages[1]["content"] == "Nori for 2"


def test_an_empty_list_means_words_and_they_are_the_plain_models(script, scripted_slm):
    script.enqueue("[", "]").enqueue("Hello", " there.")
    stream = scripted_slm.stream("Hello!", tools=[book])
    assert list(stream) == ["Hello", " there."]
    assert stream.reply.text == "Hello there." and stream.reply.tool_calls == []
    assert [request.trained for request in script.requests] == [True, False]


def test_what_a_request_does_not_give_is_asked_for(script, scripted_slm):
    script.enqueue(CALL.replace("2", "null"))
    reply = scripted_slm.chat("Book Nori", tools=[book])
    assert reply.text == "What is the guests (how many)?" and reply.tool_calls == []


def test_what_is_asked_for_comes_with_the_stream(script, scripted_slm):
    script.enqueue(CALL.replace("2", "null"))
    with scripted_slm.stream("Book Nori", tools=[book]) as stream:
        pieces = list(stream)
    assert pieces == ["What is the guests (how many)?"] == [stream.reply.text]


def test_a_null_that_the_schema_allows_is_a_value(script, scripted_slm):
    tool = {"name": "move", "parameters": {"type": "object", "required": ["to"], "properties": {
        "to": {"type": ["string", "null"]}}}}
    script.enqueue('[{"name": "move", "arguments": {"to": null}}]')
    assert scripted_slm.chat("Move it away", tools=[tool]).tool_calls[0].arguments == {"to": None}


def test_after_a_result_it_answers_in_words(script, scripted_slm):
    script.enqueue("It is booked.")
    asked = [{"role": "user", "content": "Nori for 2"}, {"role": "assistant", "content": "", "tool_calls": [
        {"id": "1", "type": "function", "function": {"name": "book", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "done"}]
    assert scripted_slm.chat(asked, tools=[book]).text == "It is booked."
    assert not script.requests[0].trained


def test_several_calls_only_when_they_are_allowed(script, scripted_slm):
    two = f"[{CALL[1:-1]}, {CALL[1:-1].replace('Nori', 'Oslo')}]"
    script.enqueue(two)
    reply = scripted_slm.chat("Nori and Oslo for 2", tools=[book], parallel_tool_calls=True)
    assert [call.arguments["place"] for call in reply.tool_calls] == ["Nori", "Oslo"]


def test_a_tool_that_changed_since_the_training_is_named(script, scripted_slm):
    script.trained_on = trained.fingerprints([book]) | {"absent": "x"}
    script.enqueue(CALL)
    with warnings.catch_warnings(action="error"):
        scripted_slm.chat("Nori for 2", tools=[book])
    now = from_openai({**book.to_openai()["function"], "description": "Book a table for lunch."})
    script.enqueue(CALL)
    with pytest.warns(UserWarning, match="^book: changed since the adapter was trained.*labkit specialise"):
        assert scripted_slm.chat("Nori for 2", tools=[now]).tool_calls


def test_an_adapter_of_many_tools_knows_none_by_name():
    many = [from_openai({"name": f"tool_{n}", "parameters": {"type": "object"}}) for n in range(65)]
    assert trained.fingerprints(many) == {} and len(trained.fingerprints(many[1:] * 2)) == 64


def test_a_call_that_was_cut_is_an_error(script, scripted_slm):
    script.enqueue(CALL[:20], finish_reason="length")
    with pytest.raises(lk.IncompleteOutput, match="Raise max_tokens"):
        scripted_slm.chat("Nori for 2", tools=[book], tool_choice="required")
