"""Answers that a real model cannot be made to give: stop strings at every border, failing runtimes."""
from __future__ import annotations

import itertools

import pytest

import labkit as lk
from labkit.backends.base import Capabilities

F = {"name": "f", "parameters": {"properties": {"x": {"type": "integer"}}, "required": ["x"]}}


@pytest.fixture(autouse=True)
def says_that_it_enforces(script):
    """And then writes what it likes."""
    script._capabilities = Capabilities(frozenset({"json_schema"}))


def splits(text: str):
    """Every way to cut a short text into pieces."""
    for cuts in itertools.product([False, True], repeat=len(text) - 1):
        borders = [0, *(i + 1 for i, cut in enumerate(cuts) if cut), len(text)]
        yield [text[a:b] for a, b in zip(borders, borders[1:], strict=False)]


@pytest.mark.parametrize("text, stop, shown", [
    ("abENDcd", "END", "ab"), ("aEENDE", "END", "aE"), ("aababc", "abc", "aab"), ("abcEN", "END", "abcEN"),
    ("a\n\nb", "\n\n", "a"), ("END", "END", ""), ("abcd", ["cd", "bc"], "a"),
])
def test_a_stop_string_is_found_across_any_borders_and_never_shown(script, scripted_slm, text, stop, shown):
    for pieces in splits(text):
        script.enqueue(*pieces)
        stream = scripted_slm.stream("x", stop=stop)
        assert "".join(stream) == stream.reply.text == shown, pieces
        assert stream.reply.finish_reason == "stop"


def test_text_that_cannot_be_a_stop_is_shown_at_once(script, scripted_slm):
    script.enqueue("one", " E", "N", "x", "tra")
    assert list(scripted_slm.stream("x", stop="END")) == ["one", " ", "ENx", "tra"]


def test_a_runtime_that_fails_in_mid_answer_fails_each_time_it_is_asked(script, scripted_slm):
    script.enqueue("Hel", lk.BackendUnavailable("gone"))
    stream = scripted_slm.stream("x")
    assert next(stream) == "Hel"
    for ask in (lambda: next(stream), lambda: stream.reply, lambda: stream.reply):
        with pytest.raises(lk.BackendUnavailable, match="gone"):
            ask()


def test_without_constraints_a_tool_is_chosen_by_writing_its_name(script, scripted_slm):
    script.enqueue('"f"').enqueue('{"name": "f", "arguments": {"x": 3}}')
    reply = scripted_slm.chat("Do f with 3", tools=[F])
    assert [(c.name, c.arguments) for c in reply.tool_calls] == [("f", {"x": 3})]
    script.enqueue('"none"').enqueue("Hello!")
    assert scripted_slm.chat("Hi", tools=[F]).text == "Hello!"


@pytest.mark.parametrize("answer, said", [
    ("f, I think", "no JSON"), ('"g"', "the model wrote 'g'"), ("[]", "wrote"),
])
def test_a_choice_that_is_none_of_the_tools_is_an_error(script, scripted_slm, answer, said):
    script.enqueue(answer)
    with pytest.raises(lk.IncompleteOutput, match=said):
        scripted_slm.chat("Do f", tools=[F])


@pytest.mark.parametrize("answer, said", [
    ("I would call f.", "no JSON"), ('"f"', "no tool call"), ('{"name": "f"}', "no tool call"),
    ('{"name": "g", "arguments": {}}', "'g', which was not offered"),
    ('{"name": "f", "arguments": {"x": "three"}}', "f: x: 'three' is not of type 'integer'"),
    ('{"name": "f", "arguments": [1]}', "f: "), ("[3]", "no tool call"), ("", "no JSON"),
])
def test_a_runtime_that_ignores_the_constraint_gives_an_error_not_a_call(script, scripted_slm, answer, said):
    script.enqueue(answer)
    with pytest.raises(lk.IncompleteOutput, match=said):
        scripted_slm.chat("Do it", tools=[F], tool_choice="required")


@pytest.mark.parametrize("answer", ["3", "3.5"])
def test_a_number_cut_at_max_tokens_may_have_gone_on(script, scripted_slm, answer):
    script.enqueue(answer, finish_reason="length").enqueue(answer)
    with pytest.raises(lk.IncompleteOutput):
        scripted_slm.chat("x", schema={"type": "number"})
    assert scripted_slm.chat("x", schema={"type": "number"}).parsed == float(answer)


def test_a_constraint_goes_to_the_runtime_and_a_stop_string_for_words_does_not(script, scripted_slm):
    script.enqueue('{"name": "f", "arguments": {"x": 1}}')
    scripted_slm.chat("x", tools=[F], tool_choice="f", stop="}", max_tokens=9, seed=4, temperature=0.5)
    [request] = script.requests
    assert request.constraint.kind == "json_schema" and request.stop == ()
    assert (request.max_tokens, request.seed, request.temperature) == (9, 4, 0.5)


def test_capabilities_say_what_they_are():
    assert repr(Capabilities()) == ("Capabilities(constraints: none (validate and repair); scores: False; "
                                    "context: None tokens; prefix cache: False)")
