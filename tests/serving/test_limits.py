"""What the service takes on: a bounded queue, deadlines, rates, slow clients. A backend with a gate plays the model."""
from __future__ import annotations

import socket
import threading
import time

import httpx
import pytest
from asking import PARIS

import labkit as lk
from labkit.backends.base import Backend, Capabilities, Chunk
from labkit.backends.reply import Usage
from labkit.serving import guard
from labkit.serving.background import serve_in_background
from labkit.serving.tickets import Limits


class Gated(Backend):
    """Writes a word every 10 ms until its gate opens."""

    name = model = "gated"
    capabilities = Capabilities()

    def __init__(self):
        self.gate, self.writing, self.words = threading.Event(), 0, 0

    def generate(self, request):
        self.writing += 1
        try:
            while not self.gate.wait(0.01):
                self.words += 1
                yield Chunk("word ")
            yield Chunk("done", finish_reason="stop", usage=Usage(1, 1))
        finally:
            self.writing -= 1


@pytest.fixture
def gated():
    backend = Gated()
    yield backend
    backend.gate.set()


@pytest.fixture
def ask(gated):
    """ask(limits) -> a function that posts a chat to a server with these limits."""
    servers = []

    def start(limits: Limits | None = None, key: str | None = None):
        servers.append(serve_in_background(lk.Chat(gated), key, limits=limits))
        url = f"{servers[-1].base_url}/v1/chat/completions"

        def post(headers=None, **fields):
            return httpx.post(url, json={"messages": PARIS, **fields}, headers=headers, timeout=30)
        post.url, post.server = url, servers[-1]
        return post
    yield start
    gated.gate.set()
    for server in servers:
        server.stop()


def until(true, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def in_background(post, n: int, results: list, **fields) -> list[threading.Thread]:
    threads = [threading.Thread(target=lambda: results.append(post(**fields))) for _ in range(n)]
    for thread in threads:
        thread.start()
    return threads


def admission(post):
    return post.server._server.config.app.state.service.admission


def test_a_full_queue_refuses_at_once_and_says_when(ask, gated, in_thread):
    post, answers = ask(Limits(at_once=2, waiting=4)), []
    threads = in_background(post, 2, answers)
    until(lambda: gated.writing == 2)
    threads += in_background(post, 2, answers)  # half of the queue, for one client
    until(lambda: admission(post).waiting == 2)
    refused = post()
    assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    threads += in_background(post, 1, answers, user="b") + in_background(post, 1, answers, user="c")
    until(lambda: admission(post).waiting == 4)
    refused = post(user="d")
    assert refused.status_code == 503 and refused.json()["error"]["code"] == "overloaded"
    assert int(refused.headers["retry-after"]) >= 1 and "Ask again in" in refused.json()["error"]["message"]
    gated.gate.set()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200] * 6
    until(lambda: admission(post).serving == admission(post).waiting == 0)


def test_the_deadline_ends_the_answer_itself(ask, gated):
    post = ask(Limits(deadline_s=0.3))
    late = post()
    assert late.status_code == 504 and late.json()["error"]["code"] == "deadline_exceeded"
    until(lambda: gated.writing == 0)
    sooner = post({"X-Deadline-S": "0.1"})
    assert sooner.status_code == 504 and sooner.elapsed.total_seconds() < 0.3 + late.elapsed.total_seconds()
    streamed = post(stream=True)
    assert streamed.status_code == 200 and "deadline_exceeded" in streamed.text and "[DONE]" not in streamed.text


def test_a_model_that_hangs_answers_nobody_but_its_client_is_told(ask, gated, monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(Gated, "generate", lambda self, request: iter([Chunk("x")] if release.wait(20) else []))
    post = ask(Limits(at_once=1, deadline_s=0.2))
    assert post().json()["error"]["message"] == "The deadline passed, and the model does not react."
    assert admission(post).serving == 1, "its thread is still taken"
    assert post().status_code == 504, "and whoever comes next is told in time"
    release.set()
    until(lambda: admission(post).serving == 0)


def test_the_deadline_counts_the_waiting(ask, gated):
    post, answers = ask(Limits(at_once=1)), []
    threads = in_background(post, 1, answers)
    until(lambda: gated.writing == 1)
    late = post({"X-Deadline-S": "0.1"})
    assert late.status_code == 504 and "while the request waited" in late.json()["error"]["message"]
    gated.gate.set()
    threads[0].join()
    assert answers[0].status_code == 200


def test_urgent_ones_come_first(ask, gated):
    post, answers = ask(Limits(at_once=1)), []
    threads = in_background(post, 1, answers, user="first")
    until(lambda: gated.writing == 1)
    for i, (name, priority) in enumerate((("low", -1), ("urgent", 5))):
        threads += in_background(lambda n=name, p=priority: (n, post({"X-Priority": str(p)}, user=n)), 1, answers)
        until(lambda i=i: admission(post).waiting == i + 1)
    order = [ticket.client for *_, ticket in sorted(admission(post)._queue)]
    gated.gate.set()
    for thread in threads:
        thread.join()
    assert order == ["urgent", "low"]


@pytest.mark.parametrize(("headers", "words"), [
    ({"X-Priority": "10"}, "from -9 to 9"), ({"X-Priority": "high"}, "'high' is no number"),
    ({"X-Priority": "0.5"}, "whole number"), ({"X-Deadline-S": "0"}, "above 0"), ({"X-Deadline-S": "nan"}, "above 0"),
    ({"X-Deadline-S": "inf"}, "above 0"), ({"X-Deadline-S": "soon"}, "is no number"),
])
def test_headers_that_make_no_sense(ask, headers, words):
    answer = ask()(headers)
    assert answer.status_code == 400 and words in answer.json()["error"]["message"]


def test_a_rate_is_kept_to_by_each_client(ask, gated):
    gated.gate.set()
    post = ask(Limits(rate="2/minute"))
    assert [post(user="a").status_code for _ in range(3)] == [200, 200, 429] and post(user="b").status_code == 200
    refused = post(user="a")
    assert "2/minute" in refused.json()["error"]["message"] and 1 <= int(refused.headers["retry-after"]) <= 60


def test_a_key_tells_clients_apart_and_is_not_shown(ask, gated):
    post, answers = ask(Limits(at_once=1), "secret-key"), []
    threads = in_background(lambda: post({"Authorization": "Bearer secret-key"}), 2, answers)
    until(lambda: admission(post).waiting == 1)
    (client,) = {ticket.client for *_, ticket in admission(post)._queue}
    assert client.startswith("key ") and "secret" not in client
    gated.gate.set()
    for thread in threads:
        thread.join()


def test_who_leaves_while_waiting_frees_the_place(ask, gated):
    post, answers = ask(Limits(at_once=1)), []
    threads = in_background(post, 1, answers)
    until(lambda: gated.writing == 1)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(post.url, json={"messages": PARIS}, timeout=0.3)
    until(lambda: admission(post).waiting == 0)
    gated.gate.set()
    threads[0].join()
    assert post().status_code == 200


def test_a_stopped_server_tells_those_who_wait(ask, gated):
    post, answers = ask(Limits(at_once=1)), []
    threads = in_background(post, 2, answers)
    until(lambda: admission(post).waiting == 1)
    post.server.stop()
    for thread in threads:
        thread.join()
    assert [a.status_code for a in answers] == [503, 503]
    assert all("The server was stopped" in a.json()["error"]["message"] for a in answers)
    until(lambda: gated.writing == 0)


def test_a_client_that_sends_slowly_is_told_so_and_holds_nothing(ask, gated, monkeypatch):
    monkeypatch.setattr(guard, "BODY_S", 0.2)
    gated.gate.set()
    post = ask(Limits(at_once=1))
    host, port = post.server.base_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as slow:
        slow.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{")
        assert post().status_code == 200, "others go on"
        assert b"408" in slow.recv(4000).splitlines()[0]


@pytest.mark.parametrize("settings", [{"at_once": 0}, {"waiting": -1}, {"deadline_s": 0}, {"rate": "often"}])
def test_limits_that_make_no_sense_are_refused_when_they_are_made(settings):
    with pytest.raises(lk.BadRequest):
        Limits(**settings)
