"""The openai connector against servers that refuse, stall, break off and lie."""
from __future__ import annotations

import socket
import time

import pytest
from lying import events, lying_server, piece, status

import labkit as lk

END = piece(finish="stop")
USED = piece(usage={"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5})
GOOD = events(piece("Hel"), piece("lo"), END, {**USED, "choices": []}, "[DONE]")


@pytest.fixture
def server():
    with lying_server() as (url, lies):
        lies.url = url
        yield lies


@pytest.fixture
def slm(server):
    return lk.connect("openai", base_url=server.url, timeout_s=0.5, retries=0)


def test_an_honest_answer(server, slm):
    server.answers = [GOOD]
    reply = slm.chat("Hi", seed=3, max_tokens=5, temperature=0.5, top_p=0.9)
    assert (reply.text, reply.finish_reason, reply.model) == ("Hello", "stop", "m")
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (3, 2)
    asked = server.asked[-1]
    assert [asked[name] for name in ("model", "seed", "max_tokens", "temperature", "top_p")] == ["m", 3, 5, 0.5, 0.9]


@pytest.mark.parametrize("answer, said", [
    (status(401, {"error": {"message": "bad key"}}), r"refuses the key \(401\).*api_key=…"),
    (status(403, {"error": {"message": "no"}}), r"refuses the key \(403\)"),
    (status(404, {"error": {"message": "no such model, there is: a, b"}}), r"does not know the model 'm'.*a, b"),
    (status(429, {"error": {"message": "slow down"}}, retry_after="200"), r"busy \(429\). Try again in 200 s: slow"),
    (status(500, {"error": {"message": "boom"}}), r"failed \(500\): boom"),
    (status(503, b"<html>down</html>"), r"failed \(503\)"),
    (status(200, b"<html>Welcome!</html>"), r"broke off|does not speak"),
    (events("no json at all"), "does not speak OpenAI's API"),
    (events("[1, 2]"), "does not speak OpenAI's API"),
    (events('"text"'), "does not speak OpenAI's API"),
    (events({"choices": [{"delta": 5}]}), "does not speak OpenAI's API"),
    (events({"choices": "none"}), "does not speak OpenAI's API"),
    (events(piece("Hel")), "broke off in the middle"),
    (events(), "broke off in the middle"),
    (events(piece("Hel"), then=lambda handler: "broken"), "broke off in the middle"),
    (events(piece("Hel"), {"error": {"message": "out of memory"}}), "failed in the middle.*out of memory"),
    (events(piece("Hel"), then=lambda handler: time.sleep(1.2)), "said nothing for 0.5 s"),
    (lambda handler: time.sleep(1.2), "said nothing for 0.5 s"),
    (lambda handler: handler.connection.close(), "127.0.0.1"),
], ids=lambda value: value[:24] if isinstance(value, str) else "")
def test_a_server_that_fails_is_named_and_the_connection_goes_on(server, slm, answer, said):
    server.answers = [answer]
    with pytest.raises(lk.BackendUnavailable, match=said) as caught:
        slm.chat("Hi")
    assert server.url in str(caught.value)
    server.answers = [GOOD]
    assert slm.chat("Hi").text == "Hello"


@pytest.mark.parametrize("body", [
    {"error": {"message": "The prompt has 900 tokens, the context holds 512. Shorten it.", "code": 400}},
    {"error": {"message": "This model's maximum context length is 512 tokens. However, your request has 900 input "
                          "tokens. Please reduce the length of the input messages.", "code": 400}},
    {"error": {"message": "the request exceeds the available context size, try increasing it", "code": 400,
               "type": "exceed_context_size_error", "n_prompt_tokens": 900, "n_ctx": 512}},
])
def test_a_prompt_that_is_too_long_in_the_words_of_each_server(server, slm, body):
    server.answers = [status(400, body)]
    with pytest.raises(lk.ContextFull) as caught:
        slm.chat("Hi")
    assert (caught.value.prompt_tokens, caught.value.context_tokens) == (900, 512)


def test_another_bad_request_says_what_the_server_said(server, slm):
    server.answers = [status(422, {"error": {"message": "temperature: too hot"}})]
    with pytest.raises(lk.BadRequest, match="refuses the request: temperature: too hot"):
        slm.chat("Hi")


def test_a_busy_server_is_asked_again(server):
    server.answers = [status(429, {"error": {"message": "wait"}}, retry_after="0.01"), GOOD]
    slm = lk.connect("openai", base_url=server.url, retries=1)
    assert slm.chat("Hi").text == "Hello" and len(server.asked) == 2


def test_nothing_there():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(lk.BackendUnavailable, match=f"{url} cannot be reached"):
            lk.connect("openai", base_url=url, retries=0)


@pytest.mark.parametrize("answer, said", [
    (status(200, b"<html>hello</html>"), "does not speak OpenAI's API"),
    (status(200, {"data": []}), "lists no model. Give its name"),
    (status(404, {}), "lists no model. Give its name"),
    (status(401, {}), "refuses the key"),
])
def test_connecting_looks_who_is_there(server, answer, said):
    server.model_list = answer
    with pytest.raises(lk.BackendUnavailable, match=said):
        lk.connect("openai", base_url=server.url, retries=0)


def test_a_model_that_is_not_there_names_those_that_are(server):
    with pytest.raises(lk.BackendUnavailable, match="no model 'x'. There is: m"):
        lk.connect("openai", "x", base_url=server.url)


def test_a_server_without_a_list_takes_the_name_it_is_given(server):
    server.model_list, server.answers = status(404, {}), [GOOD]
    assert lk.connect("openai", "mine", base_url=server.url).chat("Hi").model == "mine"


def test_without_an_address_it_says_how_to_give_one(monkeypatch):
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(lk.BackendUnavailable, match="openai: no address.*base_url="):
        lk.connect("openai")


def test_the_key_goes_with_the_request_and_not_into_errors(server):
    keys = []
    server.answers = [lambda handler: (keys.append(handler.headers["authorization"]), GOOD(handler))]
    slm = lk.connect("openai", base_url=server.url, api_key="secret-1", retries=0)
    slm.chat("Hi")
    assert keys == ["Bearer secret-1"] and "secret-1" not in repr(slm)
    server.answers = [status(401, {"error": {"message": "no"}})]
    with pytest.raises(lk.BackendUnavailable) as caught:
        slm.chat("Hi")
    assert "secret-1" not in str(caught.value)


def test_leaving_early_closes_the_connection(server, slm):
    broken = []

    def endless(handler):
        try:
            while True:
                handler.wfile.write(b"1\r\n\n\r\n")
                time.sleep(0.01)
        except OSError:
            broken.append(True)
        return "broken"
    server.answers = [events(piece("Hel"), then=endless)]
    with slm.stream("Hi") as stream:
        assert next(stream) == "Hel"
    for _ in range(200):
        if broken:
            break
        time.sleep(0.02)
    assert broken


def test_pieces_that_hold_several_tokens_are_counted_by_the_servers_own_count(server, slm):
    server.answers = [events(piece("Hello there"), END, {**USED, "choices": []})]
    reply = slm.chat("Hi")
    assert sum(count for _, count in reply.timing.arrivals) == reply.usage.completion_tokens == 2
