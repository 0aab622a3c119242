"""The official openai client, unmodified, against `labkit serve`."""
from __future__ import annotations

import asyncio
import json

import openai
import pytest
from asking import CITY, MODEL, ORDER, PARIS, STORY, TOOLS, run_tool
from pydantic import BaseModel


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=f"{server.base_url}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture
def ask(client):
    """ask(messages, …) is a chat completion of the served model."""
    return lambda messages, **given: client.chat.completions.create(model=MODEL, messages=messages, **given)


def text_of(events) -> str:
    return "".join(e.choices[0].delta.content or "" for e in events if e.choices)


# -- words ---------------------------------------------------------------------------------


def test_the_models_are_listed(client, slm):
    [model] = client.models.list().data
    assert model.id == MODEL and model.max_model_len == slm.capabilities.context_tokens
    assert client.models.retrieve(MODEL) == model


def test_an_answer_is_what_the_model_says_directly(ask, slm):
    whole, direct = ask(PARIS), slm.chat(PARIS)
    choice = whole.choices[0]
    assert choice.message.content == direct.text and choice.finish_reason == "stop"
    assert choice.message.role == "assistant" and choice.message.tool_calls is None
    assert whole.usage.completion_tokens == direct.usage.completion_tokens
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens


def test_a_stream_is_the_same_answer_and_usage_comes_when_asked_for(ask):
    whole = ask(PARIS)
    events = list(ask(PARIS, stream=True, stream_options={"include_usage": True}))
    assert text_of(events) == whole.choices[0].message.content and len(events) > 5
    assert events[0].choices[0].delta.role == "assistant" and events[1].choices[0].delta.role is None
    assert [e.choices[0].finish_reason for e in events if e.choices][-1] == "stop"
    assert events[-1].choices == [] and events[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert all(e.usage is None for e in events[:-1]) and len({e.id for e in events}) == 1
    assert all(e.usage is None for e in ask(PARIS, stream=True))


def test_continuous_usage_counts_with_every_piece(ask):
    events = list(ask(STORY, stream=True, max_tokens=6, stream_options={"include_usage": True,
                                                                        "continuous_usage_stats": True}))
    counts = [e.usage.completion_tokens for e in events]
    assert counts == sorted(counts) and counts[0] == 1 and counts[-1] == 6
    assert len({e.usage.prompt_tokens for e in events}) == 1


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_max_tokens_ends_the_answer(ask, name):
    whole = ask(STORY, **{name: 5})
    assert whole.choices[0].finish_reason == "length" and whole.usage.completion_tokens == 5


def test_options_reach_the_model(ask, slm):
    given = {"temperature": 0.9, "top_p": 0.8, "seed": 7, "max_tokens": 20}
    assert ask(STORY, **given).choices[0].message.content == slm.chat(STORY, **given).text
    words = ask(STORY, max_tokens=20).choices[0].message.content
    stopped = ask(STORY, max_tokens=20, stop=[words[10:13]]).choices[0]
    assert stopped.message.content == words[:words.index(words[10:13])] and stopped.finish_reason == "stop"


def test_fields_that_ask_for_nothing_are_fine(ask):
    assert ask(PARIS, n=1, frequency_penalty=0, presence_penalty=0, logprobs=False, user="me", stop=[], tools=[],
               metadata={"a": "b"}, max_tokens=4, response_format={"type": "text"}).choices[0].message.content


# -- tools ---------------------------------------------------------------------------------


def test_a_tool_loop_ends_in_words(ask):
    messages = list(ORDER)
    call = ask(messages, tools=TOOLS).choices[0]
    assert call.finish_reason == "tool_calls" and call.message.content is None
    messages.append(call.message)  # the client's own object goes back as it came
    for asked in call.message.tool_calls:
        result = run_tool(asked.function.name, json.loads(asked.function.arguments))
        messages.append({"role": "tool", "tool_call_id": asked.id, "content": result})
    words = ask(messages, tools=TOOLS).choices[0]
    assert words.message.tool_calls is None and words.message.content and words.finish_reason == "stop"


def test_a_streamed_call_comes_whole(ask):
    events = list(ask(ORDER, tools=TOOLS, stream=True))
    [call] = [c for e in events for c in e.choices[0].delta.tool_calls or ()]
    assert (call.index, call.type, call.function.name) == (0, "function", "order_status") and call.id
    assert json.loads(call.function.arguments) == {"order_id": "A-1042"} and text_of(events) == ""
    assert events[-1].choices[0].finish_reason == "tool_calls"


def test_tool_choice_is_obeyed(ask):
    hello = [{"role": "user", "content": "Hello! How are you today?"}]
    assert ask(hello, tools=TOOLS, max_tokens=16).choices[0].message.tool_calls is None
    assert ask(hello, tools=TOOLS, tool_choice="required").choices[0].message.tool_calls
    named = ask(ORDER, tools=TOOLS, tool_choice={"type": "function", "function": {"name": "weather"}})
    assert named.choices[0].message.tool_calls[0].function.name == "weather"
    assert ask(ORDER, tools=TOOLS, tool_choice="none", max_tokens=8).choices[0].message.content


def test_several_calls_only_when_asked_for(ask):
    both = [{"role": "user", "content": "What is the weather in Paris, and where is order A-1042?"}]
    assert len(ask(both, tools=TOOLS, tool_choice="required").choices[0].message.tool_calls) == 1
    calls = ask(both, tools=TOOLS, tool_choice="required", parallel_tool_calls=True).choices[0].message.tool_calls
    assert 1 <= len(calls) <= 4 and len({c.id for c in calls}) == len(calls)


def test_a_call_that_was_cut_is_an_error_that_says_what_to_do(ask):
    with pytest.raises(openai.UnprocessableEntityError, match="max_tokens") as caught:
        ask(ORDER, tools=TOOLS, tool_choice="required", max_tokens=2)
    assert caught.value.code == "incomplete_output"


# -- schemas -------------------------------------------------------------------------------


def test_a_schema_is_kept(ask):
    told = {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY, "strict": True}}
    whole = ask(PARIS, response_format=told).choices[0]
    value = json.loads(whole.message.content)
    assert value["capital"] in ("Rome", "Paris") and 1 <= value["population"] <= 99
    assert text_of(ask(PARIS, response_format=told, stream=True)) == whole.message.content


def test_parse_gives_the_clients_own_pydantic_model(client):
    class Answer(BaseModel):
        country: str
        large: bool
    whole = client.chat.completions.parse(model=MODEL, messages=PARIS, response_format=Answer)
    assert isinstance(whole.choices[0].message.parsed, Answer)


def test_a_value_that_was_cut_says_length_as_openai_does(client, ask):
    class Answer(BaseModel):
        country: str
    told = {"type": "json_schema", "json_schema": {"name": "x", "schema": Answer.model_json_schema()}}
    cut = ask(PARIS, response_format=told, max_tokens=3)
    assert cut.choices[0].finish_reason == "length" and cut.choices[0].message.content.startswith("{")
    assert cut.usage.completion_tokens == 3
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(model=MODEL, messages=PARIS, response_format=Answer, max_tokens=3)


def test_json_object_is_an_object(ask):
    choice = ask([{"role": "user", "content": "Ada, 36 years old, as JSON."}], max_tokens=200,
                 response_format={"type": "json_object"}).choices[0]
    assert choice.message.content.startswith("{")
    assert choice.finish_reason == "length" or isinstance(json.loads(choice.message.content), dict)


# -- async ---------------------------------------------------------------------------------


def test_the_async_client_streams_and_calls(server):
    async def both():
        async with openai.AsyncOpenAI(base_url=f"{server.base_url}/v1", api_key="none") as client:
            stream = await client.chat.completions.create(model=MODEL, messages=PARIS, stream=True)
            text = text_of([event async for event in stream])
            call = await client.chat.completions.create(model=MODEL, messages=ORDER, tools=TOOLS)
            return text, call.choices[0].message.tool_calls[0].function.name
    text, name = asyncio.run(both())
    assert "Paris" in text and name == "order_status"


# -- embeddings and tokens -----------------------------------------------------------------


def test_embeddings_in_both_encodings(client):
    texts = ["The cat sat on the mat.", "A kitten sits on a rug.", "Interest rates rose in May."]
    plain = client.embeddings.create(model=MODEL, input=texts, encoding_format="float")
    default = client.embeddings.create(model=MODEL, input=texts)  # base64 on the wire
    vectors = [entry.embedding for entry in plain.data]
    for a, b in zip(vectors, (entry.embedding for entry in default.data), strict=True):
        assert a == pytest.approx(b, abs=1e-6) and sum(x * x for x in a) == pytest.approx(1, abs=1e-5)
    cat, kitten, rates = vectors
    assert dot(cat, kitten) > dot(cat, rates) and plain.usage.prompt_tokens > 10
    [one] = client.embeddings.create(model=MODEL, input=texts[0], encoding_format="float").data
    assert one.embedding == pytest.approx(cat, abs=1e-3)


def dot(a, b) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def test_tokens_are_counted(client, slm, server):
    def count(**body):
        return client.post(f"{server.base_url}/tokenize", body=body, cast_to=object)
    told = count(prompt="Hello there, world")
    assert told["count"] == len(told["tokens"]) == slm.count_tokens("Hello there, world")
    assert told["max_model_len"] == 8192 and count(content="Hello there, world") == told
    assert count(messages=PARIS)["count"] == slm.chat(PARIS, max_tokens=1).usage.prompt_tokens


# -- what is refused -----------------------------------------------------------------------


@pytest.mark.parametrize("given, said", [
    ({"n": 2}, "one answer a request"), ({"logprobs": True}, "logprobs=True"), ({"top_logprobs": 3}, "top_logprobs"),
    ({"frequency_penalty": 0.5}, "penalties"), ({"logit_bias": {"5": 1}}, "biases"),
    ({"temperature": -1}, "temperature=-1"), ({"top_p": 3}, "top_p=3"), ({"max_tokens": 0}, "max_tokens=0"),
    ({"response_format": {"type": "yaml"}}, "response_format is"),
    ({"response_format": {"type": "json_schema"}}, "response_format is"),
    ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "x"}}}}, "cannot be enforced"),
    ({"response_format": {"type": "json_object"}, "tools": TOOLS}, "not both"),
    ({"tools": TOOLS, "tool_choice": "no_such_tool"}, "no tool here"),
    ({"tools": [{"type": "function"}]}, "tool dict"), ({"functions": [{"name": "f"}]}, "use tools"),
    ({"messages": []}, "list of messages"), ({"messages": [{"role": "robot", "content": "x"}]}, "role 'robot'"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "not text"),
    ({"messages": "Hello"}, "messages: "), ({"max_tokens": "many"}, "max_tokens: "),
])
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_done_is_a_400_that_says_so(client, given, said, stream):
    with pytest.raises(openai.BadRequestError, match=said) as caught:
        client.chat.completions.create(**{"model": MODEL, "messages": PARIS, "stream": stream, **given})
    assert caught.value.code == "invalid_request"


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_beyond_the_context_names_both_counts(ask, stream):
    with pytest.raises(openai.BadRequestError, match="the context holds 8192") as caught:
        ask([{"role": "user", "content": "word " * 9000}], stream=stream)
    told = caught.value.body
    assert told["code"] == "context_length_exceeded" and told["context_tokens"] == 8192 < told["prompt_tokens"]


def test_a_model_that_is_not_here_names_the_one_that_is(client):
    for ask in (lambda: client.models.retrieve("gpt-9"),
                lambda: client.chat.completions.create(model="gpt-9", messages=PARIS),
                lambda: client.embeddings.create(model="gpt-9", input="x")):
        with pytest.raises(openai.NotFoundError, match=f"no model 'gpt-9'. There is: {MODEL}") as caught:
            ask()
        assert caught.value.code == "model_not_found"


def test_a_route_that_is_not_here_says_which_are(client):
    with pytest.raises(openai.NotFoundError, match="/v1/responses here. Chats go to /v1/chat/completions"):
        client.responses.create(model=MODEL, input="Hello")
