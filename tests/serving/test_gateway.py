"""A gateway before real servers, some of which fail, die, or end in the middle of an answer."""
from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from urllib.parse import urlsplit

import httpx
import openai
import pytest
from asking import MODEL, PARIS, STORY

import labkit as lk
from labkit.backends.base import Backend, Capabilities, Chunk
from labkit.backends.reply import Usage
from labkit.serving.background import serve_in_background
from labkit.serving.deployment import Canary
from labkit.serving.gateway import Gateway, GatewayInBackground
from labkit.serving.replica_pool import CONNECT_S, FALLBACK, Replica
from labkit.serving.rollout import CANARY, PROMOTED, ROLLED_BACK, Rollout


class Says(Backend):
    """Scripted: always the same answer, or the same error, after a while."""

    name = "scripted"

    def __init__(self, model: str, error: Exception | None = None, seconds: float = 0.0):
        self.model, self.error, self.seconds = model, error, seconds
        self.at_it = 0

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities()

    def generate(self, request):
        self.at_it += 1
        time.sleep(self.seconds)
        if self.error:
            raise self.error
        yield Chunk(f"I am {self.model}.")
        yield Chunk(tokens=0, finish_reason="stop", usage=Usage(1, 4))


class Dying:
    """A server that reads a request, says the given bytes, and is gone; a real socket, no HTTP library."""

    def __init__(self, said: bytes = b""):
        self._listening, self._said, self.asked = socket.create_server(("127.0.0.1", 0)), said, 0
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection:
                if connection.recv(65536).startswith(b"POST"):
                    self.asked += 1
                    connection.sendall(self._said)

    def close(self):
        self._listening.close()


@pytest.fixture
def servers():
    """servers(backend) serves it; all of them are stopped at the end."""
    running = []

    def serve(backend: Backend, **options):
        running.append(serve_in_background(lk.Chat(backend), **options))
        return running[-1]
    yield serve
    for server in running:
        server.stop()


@pytest.fixture
def dying():
    made = []
    yield lambda said=b"": made.append(Dying(said)) or made[-1]
    for server in made:
        server.close()


def gateway(*replicas: Replica, **settings) -> GatewayInBackground:
    return GatewayInBackground(Gateway(replicas, **settings))


def ask(url: str, **fields) -> httpx.Response:
    return httpx.post(f"{url}/v1/chat/completions", json={"messages": PARIS, **fields}, timeout=30)


def said(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["message"]["content"]


def test_requests_go_to_whoever_is_least_busy(servers):
    slow, fast = Says("slow", seconds=1.0), Says("fast")
    with gateway(*(Replica(servers(backend).base_url) for backend in (slow, fast))) as front:
        waiting = [threading.Thread(target=ask, args=(front.base_url,)) for _ in range(2)]
        for thread in waiting:
            thread.start()
            time.sleep(0.1)
        assert [said(ask(front.base_url)) for _ in range(5)] == ["I am fast."] * 5 and slow.at_it == 1
        for thread in waiting:
            thread.join()


def test_official_clients_and_both_dialects_pass_through(server):
    with gateway(Replica(server.base_url)) as front:
        with openai.OpenAI(base_url=f"{front.base_url}/v1", api_key="none") as client:
            pieces = list(client.chat.completions.create(model=MODEL, messages=PARIS, stream=True, max_tokens=12))
            assert "Paris" in "".join(piece.choices[0].delta.content or "" for piece in pieces) and len(pieces) > 4
        lines = httpx.post(f"{front.base_url}/api/chat", json={"model": MODEL, "messages": PARIS}, timeout=30)
        assert json.loads(lines.text.splitlines()[-1])["done"] is True
        assert httpx.get(f"{front.base_url}/nothing").status_code == 404
        assert ask(front.base_url, messages=5).status_code == 400
        assert ask(front.base_url).headers["x-labkit-version"] == "stable"


def test_pieces_come_as_they_are_made(server):
    with gateway(Replica(server.base_url)) as front, httpx.stream(
            "POST", f"{front.base_url}/v1/chat/completions",
            json={"messages": STORY, "stream": True, "max_tokens": 60}, timeout=30) as answer:
        pieces = answer.iter_raw()
        assert b"data: " in next(pieces)
        assert front.gateway.pool.replicas[0].busy == 1  # it is still at it
        assert b"[DONE]" in b"".join(pieces)


def test_a_client_that_leaves_stops_its_answer(server, slm):
    with gateway(Replica(server.base_url)) as front:
        parts = urlsplit(front.base_url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
        connection.request("POST", "/v1/chat/completions", json.dumps({"messages": STORY, "max_tokens": 4000}))
        busy = lambda: sum(slot.owner != 0 for slot in slm.backend.engine._slots)  # noqa: E731
        end = time.monotonic() + 10
        while not busy() and time.monotonic() < end:
            time.sleep(0.01)
        assert busy() == 1
        connection.sock.close()
        while busy() and time.monotonic() < end:
            time.sleep(0.01)
        assert busy() == 0


# -- replicas that fail --------------------------------------------------------------------


@pytest.mark.parametrize("last_words", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{", b"nonsense\r\n\r\n",
                                        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                                        b"transfer-encoding: chunked\r\n\r\n"])
def test_a_replica_that_dies_before_it_has_answered(servers, dying, last_words):
    dead = dying(last_words)
    with gateway(Replica(dead.url), Replica(servers(Says("well")).base_url)) as front:
        assert [said(ask(front.base_url)) for _ in range(4)] == ["I am well."] * 4
        assert dead.asked == 1  # then it was left alone
        assert httpx.get(f"{front.base_url}/health").json() == {"status": "degraded"}
        assert "labkit_gateway_retries_total 1.0" in httpx.get(f"{front.base_url}/metrics").text


def test_a_replica_that_dies_in_the_middle_of_a_stream(servers, dying):
    begun = (b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
             b"d\r\ndata: {\"a\"}\n\n\r\n")
    with gateway(Replica(dying(begun).url), Replica(servers(Says("well")).base_url)) as front:
        answer = ask(front.base_url, stream=True)
        assert answer.text.startswith('data: {"a"}') and "ended in the middle of this answer" in answer.text
        assert said(ask(front.base_url)) == "I am well."


def test_a_replica_that_comes_back(servers):
    first = servers(Says("first"))
    port = urlsplit(first.base_url).port
    with gateway(Replica(first.base_url)) as front:
        assert said(ask(front.base_url)) == "I am first."
        first.stop()
        refused = ask(front.base_url)
        assert refused.status_code == 503 and refused.headers["retry-after"] and "No replica answers" in refused.text
        servers(Says("second"), port=port)
        end = time.monotonic() + 10
        while not front.gateway.pool.own[0].healthy and time.monotonic() < end:
            time.sleep(0.05)
        assert said(ask(front.base_url)) == "I am second."


@pytest.mark.parametrize("error, status", [(lk.BackendUnavailable("gone"), 503), (ZeroDivisionError(), 500)])
def test_an_error_is_asked_for_again_elsewhere(servers, error, status):
    ill, well = Says("ill", error), Says("well")
    with gateway(Replica(servers(ill).base_url), Replica(servers(well).base_url)) as front:
        assert {said(ask(front.base_url)) for _ in range(4)} == {"I am well."} and ill.at_it >= 1
    with gateway(Replica(servers(ill).base_url)) as front:
        assert ask(front.base_url).status_code == status  # the last word, where nobody does better


def test_fallbacks_in_their_order(servers, dying):
    other, gone = servers(Says("other"), api_key="of the other"), dying()
    fallbacks = Replica(gone.url, FALLBACK), Replica(other.base_url, FALLBACK, "other", "of the other")
    with gateway(Replica(dying().url), *fallbacks) as front:
        answer = ask(front.base_url, model="whatever")
        assert said(answer) == "I am other." and answer.headers["x-labkit-version"] == "fallback" and gone.asked == 1
    well = servers(Says("well"))
    with gateway(Replica(well.base_url), *fallbacks) as front:
        assert said(ask(front.base_url)) == "I am well."
        assert ask(front.base_url, model="whatever").status_code == 404


# -- versions ------------------------------------------------------------------------------


def test_a_version_that_fails_is_rolled_back_and_no_client_notices(servers):
    old, new = servers(Says("old")), servers(Says("new", lk.BackendUnavailable("it is ill")))
    rollout = Rollout(Canary(share=25, at_least=5))
    with gateway(Replica(old.base_url), Replica(new.base_url, CANARY), rollout=rollout) as front:
        assert {said(ask(front.base_url)) for _ in range(24)} == {"I am old."}
        assert rollout.state == ROLLED_BACK and "5 of 5 failed (100.0%" in httpx.get(f"{front.base_url}/gateway").text
        old.stop()
        assert ask(front.base_url).status_code == 503  # not even then


def test_a_version_that_is_slow_is_rolled_back(servers):
    old, new = servers(Says("old")), servers(Says("new", seconds=1.0))
    rollout = Rollout(Canary(share=50, at_least=6))
    ask(old.base_url)  # a server's first answer is a slow one
    with gateway(Replica(old.base_url), Replica(new.base_url, CANARY), rollout=rollout) as front:
        answers = [said(ask(front.base_url)) for _ in range(14)]
        assert answers.count("I am new.") == 6 and rollout.state == ROLLED_BACK and "too slow" in rollout.decision


def test_a_version_that_holds_gets_everything_whatever_the_model_is_called(servers):
    old, new = servers(Says("old", seconds=0.2)), servers(Says("new", seconds=0.1))
    rollout = Rollout(Canary(share=50, at_least=5))
    with gateway(Replica(old.base_url), Replica(new.base_url, CANARY), rollout=rollout, names=["desk"]) as front:
        end = time.monotonic() + 3 * CONNECT_S
        while len(front.gateway.pool.models()) < 2 and time.monotonic() < end:
            time.sleep(0.02)
        for name in ("old", "desk", "new") * 4:
            said(ask(front.base_url, model=name))
        assert rollout.state == PROMOTED, rollout
        assert {said(ask(front.base_url, model="old")) for _ in range(4)} == {"I am new."}
        new.stop()
        assert said(ask(front.base_url, model="new")) == "I am old."  # the old one is still there


# -- who may ask ---------------------------------------------------------------------------


def test_a_key_is_asked_for_and_passed_on(servers):
    with gateway(Replica(servers(Says("locked"), api_key="k").base_url), key="k") as front:
        assert ask(front.base_url).status_code == 401 and httpx.get(f"{front.base_url}/gateway").status_code == 401
        told = httpx.post(f"{front.base_url}/v1/chat/completions", json={"messages": PARIS},
                          headers={"authorization": "Bearer k"})
        assert said(told) == "I am locked." and httpx.get(f"{front.base_url}/health").json() == {"status": "ok"}


def test_a_foreign_page_and_a_body_too_large_are_refused(servers):
    with gateway(Replica(servers(Says("x")).base_url)) as front:
        assert httpx.get(f"{front.base_url}/v1/models", headers={"origin": "http://evil.example"}).status_code == 403
        assert httpx.post(f"{front.base_url}/v1/chat/completions", content=b" " * (9 * 2**20)).status_code == 413
