"""The official ollama client, unmodified, against `labkit serve`."""
from __future__ import annotations

import asyncio
import json

import httpx
import ollama
import pytest
from asking import CITY, MODEL, ORDER, PARIS, STORY, TOOLS, run_tool


@pytest.fixture
def client(server):
    return ollama.Client(server.base_url)


def test_the_model_is_listed_shown_and_loaded(client, slm):
    [listed], [loaded] = client.list().models, client.ps().models
    assert listed.model == loaded.model == MODEL and listed.size == slm.backend.engine.path.stat().st_size
    assert listed.digest == loaded.digest and len(listed.digest) == 64 and loaded.context_length == 8192
    shown = client.show(MODEL)
    assert shown.modelinfo["llama.context_length"] == 8192 and "im_start" in shown.template
    assert set(shown.capabilities) == {"completion", "tools", "embedding"}
    assert (shown.details.family, shown.details.quantization_level) == ("llama", "F16")


def test_it_says_that_it_is_not_ollama(server):
    told = httpx.get(f"{server.base_url}/api/version").json()
    assert told["version"] and told["server"].startswith("labkit ")
    assert "labkit" in httpx.get(server.base_url).text and httpx.head(server.base_url).status_code == 200


def test_chat_is_what_the_model_says_directly(client, slm):
    whole, direct = client.chat(MODEL, PARIS), slm.chat(PARIS)
    assert whole.message.content == direct.text and whole.done and whole.done_reason == "stop"
    assert (whole.prompt_eval_count, whole.eval_count) == (direct.usage.prompt_tokens, direct.usage.completion_tokens)
    assert 0 < whole.prompt_eval_duration < whole.prompt_eval_duration + whole.eval_duration <= whole.total_duration


def test_a_stream_is_the_same_answer(client):
    parts = list(client.chat(MODEL, PARIS, stream=True))
    assert "".join(p.message.content for p in parts) == client.chat(MODEL, PARIS).message.content
    assert [p.done for p in parts] == [False] * (len(parts) - 1) + [True] and len(parts) > 5


def test_generate_takes_a_prompt_and_a_system(client, slm):
    system, prompt = "You are a pirate. You say Aye.", "Who are you?"
    whole = client.generate(MODEL, prompt, system=system, options={"num_predict": 12})
    direct = slm.chat([{"role": "system", "content": system}, {"role": "user", "content": prompt}], max_tokens=12)
    assert whole.response == direct.text and whole.done_reason == "length"
    parts = client.generate(MODEL, prompt, system=system, options={"num_predict": 12}, stream=True)
    assert "".join(p.response for p in parts) == whole.response


def test_options_reach_the_model(client, slm):
    options = {"temperature": 0.9, "top_p": 0.8, "seed": 7, "num_predict": 20}
    direct = slm.chat(STORY, temperature=0.9, top_p=0.8, seed=7, max_tokens=20).text
    assert client.chat(MODEL, STORY, options=options).message.content == direct
    words = client.chat(MODEL, STORY, options={"num_predict": 20}).message.content
    stopped = client.chat(MODEL, STORY, options={"num_predict": 20, "stop": [words[10:13]]}).message.content
    assert stopped == words[:words.index(words[10:13])]
    endless = {"num_predict": -1, "seed": -1, "stop": ["\n", "."]}  # -1: until it ends by itself; any seed
    assert client.chat(MODEL, PARIS, options=endless).message.content


def test_options_that_are_ignored_are_named(server):
    body = {"model": MODEL, "messages": PARIS, "stream": False,
            "options": {"top_k": 5, "num_predict": 2, "mirostat": 1}}
    assert httpx.post(f"{server.base_url}/api/chat", json=body).headers["labkit-ignored"] == "mirostat, top_k"
    del body["options"]
    assert "labkit-ignored" not in httpx.post(f"{server.base_url}/api/chat", json=body).headers


def test_a_body_as_curl_sends_it(server):
    body = json.dumps({"model": f"{MODEL.lower()}:latest", "prompt": "Hi", "stream": False,
                       "options": {"num_predict": 2}})
    told = httpx.post(f"{server.base_url}/api/generate", content=body,
                      headers={"content-type": "application/x-www-form-urlencoded"})
    assert told.status_code == 200 and told.json()["response"]


def test_a_schema_is_kept_and_json_is_json(client):
    value = json.loads(client.chat(MODEL, PARIS, format=CITY).message.content)
    assert value["capital"] in ("Rome", "Paris") and 1 <= value["population"] <= 99
    streamed = client.generate(MODEL, PARIS[0]["content"], format=CITY, stream=True)
    assert json.loads("".join(p.response for p in streamed))["capital"] in ("Rome", "Paris")
    free = client.chat(MODEL, PARIS, format="json", options={"num_predict": 100})
    assert free.message.content.startswith("{")


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_loop_ends_in_words(client, stream):
    def order_status(order_id: str) -> str:
        """Status of an order.

        Args:
            order_id: like A-1042
        """
        return run_tool("order_status", {"order_id": order_id})

    def ask(messages):
        told = client.chat(MODEL, messages, tools=[order_status, TOOLS[1]], stream=stream)
        parts = list(told) if stream else [told]
        calls = [call for part in parts for call in part.message.tool_calls or ()]
        return "".join(part.message.content or "" for part in parts), calls

    words, [call] = ask(ORDER)
    assert words == "" and call.function.arguments == {"order_id": "A-1042"}
    result = order_status(**call.function.arguments)
    words, calls = ask([*ORDER, {"role": "assistant", "tool_calls": [call]},
                        {"role": "tool", "tool_name": "order_status", "content": result}])
    assert words and calls == []


def test_the_async_client(server):
    async def both():
        client = ollama.AsyncClient(server.base_url)
        stream = await client.chat(MODEL, PARIS, stream=True)
        text = "".join([part.message.content async for part in stream])
        return text, (await client.chat(MODEL, ORDER, tools=TOOLS)).message.tool_calls[0].function.name
    text, name = asyncio.run(both())
    assert "Paris" in text and name == "order_status"


def test_embeddings_new_and_old(client, slm):
    [one, two] = client.embed(MODEL, ["A cat.", "A dog."]).embeddings
    assert len(one) == len(two) == 576 and one != two
    assert list(client.embeddings(MODEL, "A cat.").embedding) == pytest.approx(list(one), abs=1e-3)
    assert list(one) == pytest.approx(slm.backend.embed(["A cat."])[0], abs=1e-3)


def test_loading_and_unloading_are_answered(client):
    assert client.generate(MODEL, "").done_reason == "load"
    assert client.chat(MODEL, [], keep_alive=0).done_reason == "load"  # it stays: it is the one model
    assert client.ps().models[0].model == MODEL


def test_one_model_is_all_there_is(client, server, tmp_path):
    assert client.pull(MODEL).status == "success" and [p.status for p in client.pull(MODEL, stream=True)] == ["success"]
    for stream in (False, True):
        with pytest.raises(ollama.ResponseError, match=f"pulls none.*There is: {MODEL}") as caught:
            list(client.pull("llama3.2", stream=stream))
        assert caught.value.status_code == 404
    for ask in (lambda: client.chat("llama3.2", PARIS), lambda: client.show("llama3.2"), lambda: client.embed("x", "x"),
                lambda: list(client.generate("llama3.2", "Hi", stream=True))):
        with pytest.raises(ollama.ResponseError, match=f"There is: {MODEL}") as caught:
            ask()
        assert caught.value.status_code == 404
    file = tmp_path / "x.gguf"
    file.write_bytes(b"GGUF")
    for ask in (lambda: client.create("mine", from_=MODEL), lambda: client.delete(MODEL),
                lambda: client.copy(MODEL, "x"), lambda: client.create_blob(file)):
        with pytest.raises(ollama.ResponseError, match="labkit serves one model") as caught:
            ask()
        assert caught.value.status_code == 501


@pytest.mark.parametrize("given, said", [
    ({"format": "yaml"}, "format='yaml'"), ({"format": {"type": "nonsense"}}, "cannot be enforced"),
    ({"think": True}, "think=True"), ({"logprobs": True}, "logprobs"), ({"options": 5}, "options: "),
    ({"options": {"temperature": -1}}, "temperature=-1"), ({"options": {"num_predict": 0}}, "max_tokens=0"),
    ({"options": {"stop": 5}}, "stop=5"),
    ({"messages": [{"role": "user", "content": "x", "images": ["aGk="]}]}, "text only"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "role 'robot'"), ({"messages": 5}, "messages: "),
    ({"model": None}, "model: "), ({"tools": [{"type": "function"}]}, "tool dict"),
    ({"messages": [{"role": "user", "content": "word " * 9000}]}, "context holds 8192"),
])
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_done_is_a_400_in_ollamas_shape(server, given, said, stream):
    body = {"model": MODEL, "messages": PARIS, "stream": stream, **given}
    told = httpx.post(f"{server.base_url}/api/chat", json=body, timeout=60)
    assert told.status_code == 400 and said in told.json()["error"]
