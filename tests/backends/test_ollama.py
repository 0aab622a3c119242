"""The ollama connector against servers that refuse, stall, break off and lie; and its address, and its models."""
from __future__ import annotations

import hashlib
import json
import socket
import time

import ollama
import pytest
from lying import chunked, lying_server, status

import labkit as lk
from labkit.backends import ollama_models
from labkit.backends.ollama import Ollama
from labkit.backends.ollama_address import address, answers
from labkit.serving.stand_in import ollama_or_stand_in

THERE = {"models": [{"model": "big:8b", "size": 9}, {"model": "smollm2:135m", "size": 2},
                    {"model": "mine:latest", "size": 1}]}
SHOWN = {"model_info": {"general.architecture": "llama", "llama.context_length": 512}, "capabilities": ["completion"]}


def lines(*data, then=lambda handler: None):
    """NDJSON, each item a JSON value or bytes; `then` is what happens after them."""
    return chunked("application/x-ndjson", [(item if isinstance(item, bytes) else json.dumps(item).encode()) + b"\n"
                                            for item in data], then)


def piece(text: str = "", done: bool = False, **more) -> dict:
    return {"model": "m", "message": {"role": "assistant", "content": text}, "done": done, **more}


END = piece(done=True, done_reason="stop", prompt_eval_count=3, eval_count=2)
GOOD = lines(piece("Hel"), piece("lo"), END)


@pytest.fixture
def server():
    """A server with Ollama's routes: chat answers from `answers`, the rest as Ollama would."""
    with lying_server() as (url, lies):
        lies.url, lies.routes = url.removesuffix("/v1"), {"/api/show": status(200, SHOWN)}
        gets = {"/api/tags": status(200, THERE), "/api/version": status(200, {"version": "0.12.6"})}
        lies.gets, lies.chats = gets, []
        lies.model_list = lambda handler: gets.get(handler.path, status(404, {"error": "no"}))(handler)

        def post(handler):
            if handler.path in lies.routes:
                return lies.routes[handler.path](handler)
            lies.chats.append(lies.asked[-1])
            return (lies.chat.pop(0) if len(lies.chat) > 1 else lies.chat[0])(handler)
        lies.answers, lies.chat = [post], [GOOD]
        yield lies


@pytest.fixture
def slm(server):
    return lk.connect("ollama", base_url=server.url, timeout_s=0.5, retries=0)


def test_an_honest_answer(server, slm):
    reply = slm.chat("Hi", seed=3, max_tokens=5, temperature=0.5, top_p=0.9, stop="x")
    assert (reply.text, reply.finish_reason, reply.model) == ("Hello", "stop", "smollm2:135m")
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (3, 2)
    asked = server.chats[-1]
    assert asked["options"] == {"num_ctx": 512, "seed": 3, "num_predict": 5, "temperature": 0.5, "top_p": 0.9,
                                "stop": ["x"], "top_k": 0, "repeat_penalty": 1.0}
    assert asked["messages"] == [{"role": "user", "content": "Hi"}] and asked["model"] == "smollm2:135m"


def test_settings_go_by_ollamas_names(server):
    slm = lk.connect("ollama", "mine", base_url=server.url, context_length=256, threads=3, batch_tokens=64,
                     gpu_layers=0, keep_alive="1m")
    slm.chat("Hi")
    asked = server.chats[-1]
    assert asked["keep_alive"] == "1m" and asked["model"] == "mine"
    assert {k: v for k, v in asked["options"].items() if k.startswith("num_")} == {
        "num_ctx": 256, "num_thread": 3, "num_batch": 64, "num_gpu": 0, "num_predict": 512}


def test_pieces_that_hold_several_tokens_are_counted_at_the_end(server, slm):
    server.chat = [lines(piece("Hello there"), {**END, "eval_count": 5})]
    reply = slm.chat("Hi")
    assert sum(count for _, count in reply.timing.arrivals) == reply.usage.completion_tokens == 5


def test_an_answer_that_was_cut_says_so(server, slm):
    server.chat = [lines(piece("Hel"), {**END, "done_reason": "length"})]
    assert slm.chat("Hi").finish_reason == "length"


@pytest.mark.parametrize("answer, said", [
    (status(401, {"error": "unauthorized"}), r"refuses the key \(401\).*api_key=…"),
    (status(404, {"error": "model 'smollm2:135m' not found"}), r"does not know the model 'smollm2:135m'.*ollama pull"),
    (status(429, {"error": "slow down"}, retry_after="200"), r"busy \(429\).*slow down"),
    (status(503, {"error": "maximum pending requests exceeded"}), r"busy \(503\).*maximum pending"),
    (status(500, {"error": "llama runner process has terminated"}), r"failed \(500\): llama runner"),
    (status(502, b"<html>down</html>"), r"failed \(502\)"),
    (status(200, b"<html>Welcome!</html>"), "does not speak Ollama's API"),
    (status(200, b"\xff\xfe\x00"), "does not speak Ollama's API"),
    (lines([1, 2]), "does not speak Ollama's API"), (lines("text"), "does not speak Ollama's API"),
    (lines(b""), "does not speak Ollama's API"), (lines({"done": True}), "does not speak Ollama's API"),
    (lines({"message": 5, "done": True}), "does not speak Ollama's API"),
    (lines(piece("Hel")), "broke off in the middle"), (lines(), "broke off in the middle"),
    (lines(piece("Hel"), then=lambda handler: "broken"), "broke off in the middle"),
    (lines(piece("Hel"), {"error": "out of memory"}), "failed in the middle of an answer: out of memory"),
    (lines(piece("Hel"), then=lambda handler: time.sleep(1.2)), "said nothing for 0.5 s"),
    (lambda handler: time.sleep(1.2), "said nothing for 0.5 s"),
    (lambda handler: handler.connection.shutdown(socket.SHUT_RDWR), "broke off in the middle"),
], ids=lambda value: value[:24] if isinstance(value, str) else "")
def test_a_server_that_fails_is_named_and_the_connection_goes_on(server, slm, answer, said):
    server.chat = [answer]
    with pytest.raises(lk.BackendUnavailable, match=said) as caught:
        slm.chat("Hi")
    assert server.url in str(caught.value)
    server.chat = [GOOD]
    assert slm.chat("Hi").text == "Hello"


def test_another_bad_request_says_what_the_server_said(server, slm):
    server.chat = [status(400, {"error": "invalid format"})]
    with pytest.raises(lk.BadRequest, match="refuses the request: invalid format"):
        slm.chat("Hi")


@pytest.mark.parametrize("code", [429, 503])
def test_a_busy_server_is_asked_again_when_it_says(server, code):
    server.chat = [status(code, {"error": "wait"}, retry_after="0.2"), GOOD]
    slm = lk.connect("ollama", base_url=server.url, retries=1)
    started = time.monotonic()
    assert slm.chat("Hi").text == "Hello" and len(server.chats) == 2
    assert 0.2 <= time.monotonic() - started < 3


def test_the_key_goes_with_the_request_and_not_into_errors(server):
    keys = []
    server.chat = [lambda handler: (keys.append(handler.headers["authorization"]), GOOD(handler))]
    slm = lk.connect("ollama", base_url=server.url, api_key="secret-1", retries=0)
    slm.chat("Hi")
    assert keys == ["Bearer secret-1"] and "secret-1" not in repr(slm)
    server.chat = [status(401, {"error": "no"})]
    with pytest.raises(lk.BackendUnavailable) as caught:
        slm.chat("Hi")
    assert "secret-1" not in str(caught.value)


def test_leaving_early_closes_the_connection(server, slm):
    broken = []

    def endless(handler):
        try:
            while True:
                line = json.dumps(piece("x")).encode() + b"\n"
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                time.sleep(0.01)
        except OSError:
            broken.append(True)
        return "broken"
    server.chat = [lines(piece("Hel"), then=endless)]
    with slm.stream("Hi") as stream:
        assert next(stream) == "Hel"
    end = time.monotonic() + 5
    while not broken and time.monotonic() < end:
        time.sleep(0.02)
    assert broken


# -- what a real Ollama does, that labkit serve does not --------------------------------------


def count_words(handler_body):
    """Ollama's count of a raw prompt: here a token is a word, and the prompt has one of its own."""
    return lambda handler: status(200, {"model": "m", "response": "x", "done": True,
                                        "prompt_eval_count": 1 + len(handler_body()["prompt"].split())})(handler)


def test_tokens_are_counted_by_what_a_text_adds_to_a_prompt(server, slm):
    server.routes["/api/generate"] = count_words(lambda: server.asked[-1])
    assert slm.count_tokens("one two three") == 3
    assert server.asked[-1]["raw"] is True
    long = "word " * 400  # more than a context: counted in pieces
    assert slm.count_tokens(long) == pytest.approx(400, abs=10)


def test_a_prompt_that_ollama_would_cut_silently_is_refused(server, slm):
    server.routes["/api/generate"] = count_words(lambda: server.asked[-1])
    assert slm.chat("word " * 150).text == "Hello"  # no need to count: it fits for sure
    with pytest.raises(lk.ContextFull) as caught:
        slm.chat("word " * 600)
    assert caught.value.prompt_tokens >= caught.value.context_tokens == 512


def test_a_model_for_very_long_contexts_gets_a_modest_one(server):
    long = {"model_info": {"x.context_length": 131072}}
    server.routes["/api/show"] = status(200, long)
    assert lk.connect("ollama", base_url=server.url).backend.context_tokens == 8192
    assert lk.connect("ollama", base_url=server.url, context_length=65536).backend.context_tokens == 65536
    server.routes["/api/show"] = status(200, {"model_info": {}})
    assert lk.connect("ollama", base_url=server.url).backend.context_tokens == 8192


def test_a_server_that_does_not_enforce_a_schema_is_found_out(server, slm):
    server.chat = [lines(piece('{"k": "anything"}'), END)]
    server.routes["/api/embed"] = status(501, {"error": "no"})
    able = slm.capabilities
    assert able.constraints == frozenset() and not able.embeddings and not able.tools and able.context_tokens == 512
    assert server.chats[0]["format"]["required"] == ["k"] and "x-guidance" not in server.chats[0]["format"]


# -- connecting ----------------------------------------------------------------------------


def test_nothing_there_is_known_at_once():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(lk.BackendUnavailable, match=f"Ollama is not running at {url}. Start it with: ollama serve"):
            lk.connect("ollama", base_url=url)


def test_why_not_is_quick_and_says_what_to_do(monkeypatch, server):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{taken.getsockname()[1]}")
        started = time.monotonic()
        assert "ollama serve" in Ollama.why_not()
        assert time.monotonic() - started < 0.3
    monkeypatch.setenv("OLLAMA_HOST", server.url)
    assert Ollama.why_not() is None


@pytest.mark.parametrize("tags, said", [
    (status(200, b"<html>hello</html>"), "does not speak Ollama's API"),
    (status(200, [1]), "does not speak Ollama's API"),
    (status(200, {"models": []}), "has no model. Get one: ollama pull smollm2:135m"),
    (status(401, {"error": "no"}), "refuses the key"), (status(404, b"nothing"), "this route"),
    (status(500, {"error": "boom"}), "boom"),
])
def test_connecting_looks_who_is_there(server, tags, said):
    server.gets["/api/tags"] = tags
    with pytest.raises(lk.BackendUnavailable, match=said):
        lk.connect("ollama", base_url=server.url, retries=0)


def test_a_model_that_is_not_there_names_those_that_are(server):
    said = r"no model 'phi4'. There is: big:8b, smollm2:135m.*ollama pull phi4"
    with pytest.raises(lk.BackendUnavailable, match=said):
        lk.connect("ollama", "phi4", base_url=server.url)


@pytest.mark.parametrize("given, meant", [
    (None, "http://127.0.0.1:11434"), ("", "http://127.0.0.1:11434"), ("0.0.0.0", "http://127.0.0.1:11434"),
    ("0.0.0.0:99", "http://127.0.0.1:99"), (":99", "http://127.0.0.1:99"), ("box", "http://box:11434"),
    ("http://box", "http://box:80"), ("https://box/", "https://box:443"), ("http://box:1/x/", "http://box:1/x"),
    ("[::1]:5", "http://[::1]:5"), ("http://[::]:5", "http://[::1]:5"),
])
def test_ollama_host_in_all_its_spellings(monkeypatch, given, meant):
    monkeypatch.setenv("OLLAMA_HOST", "elsewhere:1")
    if given:
        assert address(given) == meant
    monkeypatch.setenv("OLLAMA_HOST", given or "")
    assert address(None) == meant


# -- models --------------------------------------------------------------------------------


@pytest.fixture
def client(server):
    return ollama.Client(server.url)


def test_a_pull_reports_how_far_it_is(server, client, capsys):
    steps = [{"status": "pulling manifest"}, {"status": "pulling a", "total": 10, "completed": 4},
             {"status": "pulling a", "total": 10, "completed": 10}, {"status": "success"}]
    server.routes["/api/pull"] = lines(*steps)
    seen = []
    ollama_models.pull(client, "m", lambda *step: seen.append(step))
    assert seen == [("pulling manifest", 0, 0), ("pulling a", 4, 10), ("pulling a", 10, 10), ("success", 0, 0)]
    ollama_models.pull(client, "m")
    assert "m: pulling a" in capsys.readouterr().out


def test_a_pull_that_fails_halfway_is_an_error(server, client):
    server.routes["/api/pull"] = lines({"status": "pulling manifest"}, {"error": "disk full"})
    with pytest.raises(ollama.ResponseError, match="disk full"):
        ollama_models.pull(client, "m")


def test_a_file_becomes_a_model_by_its_digest(server, client, tmp_path):
    file, sent = tmp_path / "own.gguf", []
    file.write_bytes(b"GGUF")

    def blob(handler):
        sent.append(handler.path)
        status(200, {})(handler)
    digest = f"sha256:{hashlib.sha256(b'GGUF').hexdigest()}"
    server.routes["/api/create"] = status(200, {"status": "success"})
    server.routes[f"/api/blobs/{digest}"] = blob
    ollama_models.create_from_gguf(client, "own", file, system="Be brief.", parameters={"temperature": 0})
    assert sent == [f"/api/blobs/{digest}"]
    assert server.asked[-1] == {"model": "own", "stream": False, "files": {"own.gguf": digest}, "system": "Be brief.",
                                "parameters": {"temperature": 0}}


def test_durations_become_seconds_and_speed():
    spent = ollama_models.spent(ollama.ChatResponse(
        message={"role": "assistant"}, total_duration=4 * 10**9, load_duration=10**9, prompt_eval_duration=5 * 10**8,
        eval_duration=2 * 10**9, prompt_eval_count=7, eval_count=50))
    assert (spent.tokens_per_s, spent.rest_s, spent.prompt_tokens) == (25.0, 0.5, 7)
    empty = ollama_models.spent(ollama.ChatResponse(message={"role": "assistant"}))
    assert empty.tokens_per_s != empty.tokens_per_s  # not a number


def test_the_stand_in_stands_in_only_where_there_is_no_ollama(server, slm):
    real = ollama_or_stand_in(server.url)
    assert real.real and real.model == "mine:latest" and "Ollama at" in str(real)
    real.close()
    assert answers(server.url)
    server.gets["/api/tags"] = status(200, {"models": []})
    stand_in = ollama_or_stand_in(server.url)
    try:
        assert not stand_in.real and "stands in" in str(stand_in) and answers(stand_in.base_url)
        assert ollama_models.loaded(ollama.Client(stand_in.base_url)) == [stand_in.model]
    finally:
        stand_in.close()
    assert not answers(stand_in.base_url)
