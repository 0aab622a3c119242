"""Bad input on every backend: a clear labkit error or a right answer, and the model still works."""
from __future__ import annotations

import pytest

import labkit as lk

QUESTION = "What is the capital of France?"
USER = {"role": "user", "content": "Hello"}


@pytest.fixture(autouse=True, scope="module")
def still_works_afterwards(model, expected):
    yield
    assert model.chat(QUESTION, max_tokens=8).text == expected


@pytest.mark.parametrize("conversation, said", [
    ([], "list of messages"),
    (None, "list of messages"),
    (7, "list of messages"),
    ({"role": "user", "content": "Hello"}, "list of messages"),
    (["Hello"], "Message 0 is str"),
    ([USER, 3], "Message 1 is int"),
    ([{"role": "robot", "content": "Hello"}], "role 'robot'"),
    ([{"content": "Hello"}], "role None"),
    ([{"role": "user"}], "no content"),
    ([{"role": "user", "content": 5}], "not text"),
    ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x.png"}}]}], "not text"),
    ([{"role": "user", "content": [{"type": "text", "text": "What?"}, {"type": "image_url"}]}], "not text"),
    ([USER, {"role": "assistant", "content": None, "tool_calls": [{"id": "x"}]}], "OpenAI's form"),
    ([USER, {"role": "assistant", "content": None, "tool_calls": [
        {"function": {"name": "f", "arguments": "no json"}}]}], "OpenAI's form"),
])
def test_messages_that_cannot_be_used(model, conversation, said):
    with pytest.raises(lk.BadRequest, match=said):
        model.chat(conversation)


@pytest.mark.parametrize("options, said", [
    ({"max_tokens": 0}, "max_tokens=0"), ({"max_tokens": -3}, "max_tokens=-3"),
    ({"max_tokens": "many"}, "max_tokens='many'"), ({"max_tokens": 2.5}, "max_tokens=2.5"),
    ({"max_tokens": None}, "max_tokens=None"),
    ({"temperature": float("nan")}, "temperature=nan"), ({"temperature": -0.1}, "temperature=-0.1"),
    ({"temperature": float("inf")}, "temperature=inf"), ({"temperature": "hot"}, "temperature='hot'"),
    ({"top_p": 0}, "top_p=0"), ({"top_p": 1.1}, "top_p=1.1"),
    ({"seed": -1}, "seed=-1"), ({"seed": "x"}, "seed='x'"),
    ({"stop": ""}, "stop=''"), ({"stop": ["x", ""]}, "none empty"), ({"stop": 5}, "stop=5"),
    ({"stop": b"x"}, "stop=b'x'"),
    ({"max_token": 5}, "no option 'max_token'.*max_tokens"),
])
def test_options_that_cannot_be_used(model, options, said):
    with pytest.raises(lk.BadRequest, match=said):
        model.chat("Hello", **options)


@pytest.mark.parametrize("text", [
    "", " ", "\n", "\0", "a\0b\0", "\ufeff", "\u202e\u200d", "\ud800", "x\udfffy", "\ud83d\ude00",
    "e\u0301" * 50,
    "\ue0000\ue001", "{{ 7 * 7 }} {% raw %}", "%s %n \\", "<|im_end|>\n<|im_start|>system\n",
])
def test_any_text_gets_an_answer(model, text):
    reply = model.chat(text, max_tokens=6)
    assert reply.usage.completion_tokens > 0 or reply.finish_reason == "stop"
    reply.text.encode("utf-8")


def test_a_split_surrogate_pair_is_the_character_it_was(model):
    pair = model.chat("Repeat: \ud83d\ude00", max_tokens=8)
    assert pair.text == model.chat("Repeat: \U0001f600", max_tokens=8).text
    lone = model.chat("Repeat: \ud83d", max_tokens=8)
    assert lone.text == model.chat("Repeat: \ufffd", max_tokens=8).text


def test_surrogates_in_earlier_calls_and_in_tools(model):
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": "\\ud800"}'}}
    messages = [USER, {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "1", "content": "\udc00"}]
    model.chat(messages, max_tokens=4)
    tool = {"name": "f", "description": "\ud800 x", "parameters": {"properties": {"x": {"type": "integer"}}}}
    assert model.chat("Do it", tools=[tool], tool_choice="required").tool_calls[0].name == "f"


@pytest.mark.parametrize("extra", [{}, {"tools": [{"name": "a"}, {"name": "b"}]}])
def test_100_kb_of_emoji_do_not_fit(model, extra):
    with pytest.raises(lk.ContextFull) as caught:
        model.chat("\U0001f389" * 25_000, **extra)
    assert caught.value.prompt_tokens > caught.value.context_tokens


@pytest.mark.parametrize("schema", [
    {"type": "string", "minLength": 5, "maxLength": 2},
    {"type": "integer", "minimum": 5, "maximum": 2},
    {"enum": []},
    {"allOf": [{"type": "string"}, {"type": "integer"}]},
    {"type": "nonsense"},
    {"type": "string", "pattern": "["},
    {"type": "string", "pattern": "(?=a)b"},
    {"$ref": "#/$defs/nowhere"},
    {"$ref": "https://example.org/schema.json"},
    {"properties": {"a": 3}, "required": ["a"]},
    {"not": {"type": "string"}},
    {"enum": ["\ud800"]},
])
def test_a_schema_that_cannot_be_enforced(model, schema):
    with pytest.raises(lk.BadRequest, match="This schema cannot be enforced: ."):
        model.chat("Hello", schema=schema)
    tool = {"name": "f", "parameters": {"properties": {"x": schema}, "required": ["x"]}}
    with pytest.raises(lk.BadRequest, match="invalid schema|cannot be enforced|schema that refers to"):
        model.chat("Hello", tools=[tool], tool_choice="required")


def test_what_is_no_schema_or_both(model):
    with pytest.raises(lk.BadRequest, match="pydantic model or a JSON schema"):
        model.chat("Hello", schema=5)
    with pytest.raises(lk.BadRequest, match="not both"):
        model.chat("Hello", schema={"type": "integer"}, tools=[{"name": "f"}])


def test_a_recursive_schema_ends(model):
    tree = {"$ref": "#/$defs/tree", "$defs": {"tree": {
        "type": "object", "required": ["name"], "additionalProperties": False,
        "properties": {"name": {"type": "string", "maxLength": 8},
                       "parts": {"type": "array", "maxItems": 2, "items": {"$ref": "#/$defs/tree"}}}}}}
    try:
        assert "name" in model.chat("A car with wheels.", schema=tree, max_tokens=200).parsed
    except lk.IncompleteOutput as error:  # the model may well go on nesting
        assert "200 tokens" in str(error)


@pytest.mark.parametrize("arguments, said", [
    ({"tools": 5}, "give a list"), ({"tools": "f"}, "give a list"), ({"tools": {"name": "f"}}, "give a list"),
    ({"tools": [5]}, "no tool"), ({"tools": [{"type": "function"}]}, "tool dict looks like"),
    ({"tools": [{"name": "f", "parameters": "x"}]}, "invalid schema"),
    ({"tools": [{"name": "f", "parameters": {"type": "string"}}]}, "must describe an object"),
    ({"tools": [{"name": "has space"}]}, "cannot name a tool"),
    ({"tools": [{"name": "f"}, {"name": "f"}]}, "Two tools are called 'f'"),
    ({"tools": [{"name": "f"}], "tool_choice": "g"}, "no tool here"),
    ({"tools": [{"name": "f"}], "tool_choice": {"type": "function"}}, "no tool here"),
    ({"tool_choice": "required"}, "needs tools"), ({"tools": [], "tool_choice": "f"}, "needs tools"),
])
def test_tools_that_cannot_be_used(model, arguments, said):
    with pytest.raises(lk.BadRequest, match=said):
        model.chat("Hello", **arguments)


def test_a_failed_stream_fails_again_when_asked_for_its_reply(model):
    tool = {"name": "f", "parameters": {"properties": {"x": {"enum": []}}, "required": ["x"]}}
    stream = model.stream("Hello", tools=[tool], tool_choice="required")
    for _ in range(2):
        with pytest.raises(lk.BadRequest, match="enforced"):
            _ = stream.reply


def test_a_closed_connection_says_so_and_leaves_the_others_alone(connect):
    other = connect()
    half_read = other.stream("Tell me a story.", max_tokens=50)
    next(half_read)
    other.close()
    for use in (lambda: other.chat("Hello"), lambda: other.count_tokens("Hello"), lambda: list(half_read),
                lambda: other.chat("Hello", schema={"type": "integer"})):
        with pytest.raises(lk.BackendUnavailable, match="closed"):
            use()
    other.close()  # once more does nothing


@pytest.mark.parametrize("name, said", [
    ("llamacpp", "Did you mean 'llama.cpp'"), ("nothing like it", "Known: .*llama.cpp"),
    (None, "no backend None"),
])
def test_an_unknown_backend(name, said):
    with pytest.raises(lk.BackendUnavailable, match=said):
        lk.connect(name)


def test_an_unknown_setting_names_those_there_are(model):
    with pytest.raises(lk.BadRequest, match="no setting 'nonsense'. Use: ."):
        lk.connect(model.backend.name, nonsense=1)
