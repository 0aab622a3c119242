"""What goes wrong on purpose: slow heads, bodies like bombs, clocks that jump, many clients at once, a server's end."""
from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest
from asking import PARIS, STORY
from test_limits import until

import labkit as lk
from labkit.backends.base import Backend, Capabilities, Chunk
from labkit.backends.reply import Usage
from labkit.serving import connection
from labkit.serving.background import serve_in_background
from labkit.serving.tickets import Limits


class Echo(Backend):
    """Repeats the last message letter by letter, with a short sleep now and then: answers of many overlap."""

    name = model = "echo"
    capabilities = Capabilities()

    def __init__(self):
        self.running = 0

    def generate(self, request):
        self.running += 1
        try:
            said = request.messages[-1]["content"]
            for i, letter in enumerate(said):
                time.sleep(0.002 * (i % 3 == 0))
                yield Chunk(letter)
            yield Chunk("", tokens=0, finish_reason="stop", usage=Usage(1, len(said)))
        finally:
            self.running -= 1


@pytest.fixture(scope="module")
def echo():
    """(URL, backend) of a server whose answer is what it was asked."""
    backend = Echo()
    slm = lk.Chat(backend)
    with serve_in_background(slm, limits=Limits(at_once=8, waiting=200), agent=lk.Agent(slm)) as server:
        yield server.base_url, backend


def connected(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), timeout=10)


def answers(url: str) -> bool:
    told = httpx.post(f"{url}/v1/chat/completions", json={"messages": [{"role": "user", "content": "still here"}]})
    return told.json()["choices"][0]["message"]["content"] == "still here"


# -- what is sent ----------------------------------------------------------------------------


def test_a_head_that_comes_too_slowly_is_not_waited_for(echo, monkeypatch):
    monkeypatch.setattr(connection, "HEAD_S", 0.3)
    url, _ = echo
    slow = [connected(url) for _ in range(20)]
    asked_before = connected(url)
    asked_before.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    while b'"ok"' not in asked_before.recv(4000):  # a head and a body, in one packet or two
        pass
    for client in (*slow, asked_before):
        client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX-")
    assert answers(url), "others go on meanwhile"
    for client in (*slow, asked_before):
        assert client.recv(4000) == b"", "the connection was closed"
        client.close()


def test_an_answer_may_take_longer_than_a_head(echo, monkeypatch):
    monkeypatch.setattr(connection, "HEAD_S", 0.1)
    text = "a long text " * 40
    told = httpx.post(f"{echo[0]}/chat", json={"message": text}, timeout=30)
    assert told.elapsed.total_seconds() > 0.1 and told.json()["text"] == text


@pytest.mark.parametrize("request_line", [b"GET /\xff\xfe HTTP/1.1", b"GET /v1/models/%FF%FE HTTP/1.1", b"\x16\x03\x01",
                                          b"POST /chat HTTP/1.1\r\nContent-Length: -1",
                                          b"POST /chat HTTP/1.1\r\nTransfer-Encoding: x", b"GET /" + b"a" * 100_000])
def test_heads_that_are_no_http_are_refused(echo, request_line):
    with connected(echo[0]) as client:
        client.sendall(request_line + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        status = int(client.recv(4000).split(b" ", 2)[1])
    assert 400 <= status < 500 and answers(echo[0])


def deep(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


BOMBS = {
    "deep": b'{"message": "x", "messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep in what is ignored": b'{"messages": [{"role": "user", "content": "x"}], "extra": ' + deep(50_000) + b"}",
    "deep in a schema": b'{"messages": [{"role": "user", "content": "x"}], "max_tokens": 3, "response_format": {"type":'
                        b' "json_schema", "json_schema": {"name": "a", "schema": ' +
                        b'{"type":"object","properties":{"a":' * 60 + b'{"type":"string"}' + b"}}" * 60 + b"}}}",
    "wide": b'{"messages": [' + b",".join([b'{"role": "user", "content": ""}'] * 50_000) + b"]}",
    "a long number": b'{"messages": [], "seed": ' + b"9" * 1_000_000 + b"}",
    "invalid UTF-8": b'{"message": "\xc3\x28", "messages": [{"role": "user", "content": "\xff"}]}',
    "a lone surrogate": b'{"message": "\\ud800", "user": "\\ud800", "messages": [{"role": "user", '
                        b'"content": "\\ud800"}]}',
    "a form": b"message=x&messages=y", "the same name often": b"{" + b'"message": "x", ' * 100_000 + b'"messages": []}',
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("route", ["/v1/chat/completions", "/chat", "/tokenize", "/api/show"])
def test_a_body_like_a_bomb_ends_in_a_clear_answer(echo, route, bomb):
    kind = "application/x-www-form-urlencoded" if bomb == "a form" else "application/json"
    told = httpx.post(echo[0] + route, content=BOMBS[bomb], headers={"content-type": kind}, timeout=60)
    assert told.status_code in (200, 400, 404, 413, 422, 501), told.text
    assert told.status_code == 200 or told.json()["error"]
    assert answers(echo[0])


@pytest.mark.parametrize("bomb", ["deep in a schema", "a lone surrogate", "wide"])
def test_such_a_body_does_not_hurt_the_real_model(server, bomb):
    told = httpx.post(f"{server.base_url}/v1/chat/completions", content=BOMBS[bomb], timeout=120)
    assert told.status_code in (200, 400, 422) and "Traceback" not in told.text
    asked = {"messages": PARIS, "max_tokens": 8}
    assert "Paris" in httpx.post(f"{server.base_url}/v1/chat/completions", json=asked, timeout=60).text


def test_an_option_whose_name_no_header_can_hold(echo):
    body = {"model": "echo", "messages": PARIS, "stream": False, "options": {"grün\r\nX-Evil: 1": 1, "x" * 9000: 2}}
    told = httpx.post(f"{echo[0]}/api/chat", json=body)
    assert told.status_code == 200 and "x-evil" not in told.headers
    assert told.headers["labkit-ignored"].startswith("gr%C3%BCn%0D%0AX-Evil")


# -- many clients ----------------------------------------------------------------------------


def openai_whole(client: httpx.Client, text: str) -> str:
    told = client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": text}]})
    return told.json()["choices"][0]["message"]["content"]


def openai_stream(client: httpx.Client, text: str) -> str:
    body = {"messages": [{"role": "user", "content": text}], "stream": True}
    lines = client.post("/v1/chat/completions", json=body).text.split("\n\n")
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


def ollama_chat(client: httpx.Client, text: str) -> str:
    body = {"model": "echo", "messages": [{"role": "user", "content": text}]}
    return "".join(json.loads(line)["message"]["content"] for line in client.post("/api/chat", json=body).iter_lines())


def agent_chat(client: httpx.Client, text: str) -> str:
    return client.post("/chat", json={"message": text, "user": text}).json()["text"]


def leaves(client: httpx.Client, text: str) -> str:
    """Goes away in the middle: nobody else may get the rest."""
    body = {"messages": [{"role": "user", "content": text * 20}], "stream": True}
    with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        next(answer.iter_raw(20))
    return text


def test_nobody_gets_anybody_elses_answer(echo):
    url, backend = echo
    ways = (openai_whole, openai_stream, ollama_chat, agent_chat, leaves)

    def talk(n: int) -> list[tuple[str, str]]:
        with httpx.Client(base_url=url, timeout=60) as client:
            markers = [f"marker {n}-{i} of client {n}" for i in range(6)]
            return [(marker, ways[(n + i) % len(ways)](client, marker)) for i, marker in enumerate(markers)]
    with ThreadPoolExecutor(20) as clients:
        pairs = [pair for told in clients.map(talk, range(20)) for pair in told]
    assert len(pairs) == 120 and [pair for pair in pairs if pair[0] != pair[1]] == []
    until(lambda: backend.running == 0)


# -- clocks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("jump_s", [-86400.0, 86400.0])
def test_a_wall_clock_that_is_set_changes_no_deadline_and_locks_nobody_out(jump_s, monkeypatch):
    clock, backend = time.time, Echo()
    with serve_in_background(lk.Chat(backend), limits=Limits(rate="2/minute", deadline_s=60)) as server:
        def ask(user: str, text: str = "hello"):
            return httpx.post(f"{server.base_url}/v1/chat/completions", timeout=30,
                              json={"messages": [{"role": "user", "content": text}], "user": user})
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(ask, "long", "a long answer " * 50)
            until(lambda: backend.running == 1)
            monkeypatch.setattr(time, "time", lambda: clock() + jump_s)
            assert running.result().status_code == 200
        assert [ask("a").status_code for _ in range(3)] == [200, 200, 429]
        monkeypatch.setattr(time, "time", clock)
        again = [ask("a") for _ in range(3)]
        assert [answer.status_code for answer in again] == [200, 200, 429], "it counts anew, and still counts"
        assert 1 <= int(again[-1].headers["retry-after"]) <= 60


def test_a_long_name_of_a_client_is_not_kept_as_it_is(echo):
    told = httpx.post(f"{echo[0]}/chat", json={"message": "x", "session": "s", "user": "n" * 1_000_000})
    again = httpx.post(f"{echo[0]}/chat", json={"message": "x", "session": "s", "user": "n" * 999_999})
    assert told.status_code == again.status_code == 200 and told.json()["text"] == again.json()["text"] == "x"


# -- its end ---------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM that a program hears")
def test_sigterm_answers_everybody_and_ends():
    """The real service, asked to end while some are served and some wait: each is told, and its process is gone."""
    command = [sys.executable, "-m", "labkit", "serve", "--port", "0", "--at-once", "2"]
    environment = {name: value for name, value in os.environ.items() if name != "LABKIT_API_KEY"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as child:
        try:
            url = child.stdout.readline().split(" at ", 1)[1].split("/v1")[0]
            told: list[httpx.Response] = []

            def ask(n: int) -> None:
                body = {"messages": STORY, "max_tokens": 3000, "user": str(n)}
                told.append(httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60))
            clients = [threading.Thread(target=ask, args=(n,)) for n in range(6)]
            for client in clients:
                client.start()
            until(lambda: "labkit_requests_waiting 4.0" in httpx.get(f"{url}/metrics").text)
            child.send_signal(signal.SIGTERM)
            for client in clients:
                client.join(30)
            assert [answer.status_code for answer in told] == [503] * 6
            assert all("The server was stopped" in answer.json()["error"]["message"] for answer in told)
            child.wait(20)
            assert "Traceback" not in child.stderr.read()
        finally:
            child.kill()
