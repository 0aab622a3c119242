"""Who may ask `labkit serve`, and how much at once."""
from __future__ import annotations

import json
import socket
from urllib.parse import urlsplit

import httpx
import openai
import pytest
from asking import MODEL, PARIS

import labkit as lk
from labkit.serving.app import serve
from labkit.serving.background import serve_in_background
from labkit.serving.guard import MAX_BODY

KEY = "a-key-ünd-more"
ROUTES = ["/v1/models", "/api/tags", "/"]


@pytest.fixture(scope="module")
def locked(slm):
    """A server that wants a key."""
    with serve_in_background(slm, api_key=KEY) as running:
        yield running.base_url


def raw(url: str, request: bytes) -> tuple[int, bytes]:
    """(status, everything that came back) for bytes sent as they are."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        connection.sendall(request)
        got = b"".join(iter(lambda: connection.recv(65536), b""))
    return int(got.split(b" ", 2)[1]), got


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", f"Basic {KEY}", KEY, f"Bearer {KEY}x",
                                    "Bearer ü"])
def test_without_the_key_nothing_is_told(locked, route, header):
    headers = {} if header is None else {"authorization": header.encode()}
    told = httpx.get(locked + route, headers=headers)
    assert told.status_code == 401 and told.headers["www-authenticate"] == "Bearer" and MODEL not in told.text
    error = told.json()["error"]
    assert "API key" in (error if route.startswith("/api") else error["message"])


@pytest.mark.parametrize("route", ROUTES)
def test_with_the_key_everything_is(locked, route):
    assert httpx.get(locked + route, headers={"authorization": f"Bearer {KEY}".encode()}).status_code == 200


def test_the_openai_client_brings_its_key(slm):
    with serve_in_background(slm, api_key="plain-key") as running:
        def models(key):
            return openai.OpenAI(base_url=f"{running.base_url}/v1", api_key=key, max_retries=0).models.list().data
        assert models("plain-key")[0].id == MODEL
        with pytest.raises(openai.AuthenticationError) as caught:
            models("other-key")
        assert caught.value.code == "invalid_api_key" and "plain-key" not in str(caught.value)


def test_health_needs_no_key_and_tells_nothing(locked):
    assert httpx.get(f"{locked}/health").json() == {"status": "ok"}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:80", "LOCALHOST:1", "[::1]:8484", "127.1.2.3"])
def test_this_machine_by_any_of_its_names(server, host):
    assert httpx.get(f"{server.base_url}/v1/models", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "evil.example:8484", "", "[", "10.0.0.1",
                                  "127.0.0.1.evil.example", "evil@example", "127.0.0.1@evil.example"])
def test_another_name_for_this_machine_is_refused(server, host):
    request = b"GET /v1/models HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % host.encode()
    status, got = raw(server.base_url, request)
    assert status in (400, 403) and MODEL.encode() not in got


@pytest.mark.parametrize("origin, status", [
    ("http://evil.example", 403), ("null", 403), ("https://127.0.0.1.evil.example", 403),
    ("http://localhost:8888", 200), ("http://127.0.0.1:3000", 200),
])
def test_a_page_of_another_site_cannot_use_the_model(server, origin, status):
    """A page may send such a request without asking first: it is text/plain."""
    told = httpx.post(f"{server.base_url}/v1/chat/completions",
                      headers={"origin": origin, "content-type": "text/plain"},
                      content=json.dumps({"messages": PARIS, "max_tokens": 2}), timeout=60)
    assert told.status_code == status and "access-control-allow-origin" not in told.headers


def test_no_page_is_told_that_it_may(server):
    told = httpx.options(f"{server.base_url}/v1/chat/completions", headers={
        "origin": "http://localhost:8888", "access-control-request-method": "POST"})
    assert told.status_code == 405 and "access-control-allow-origin" not in told.headers


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_an_open_address_needs_a_key(host, monkeypatch):
    for key in (None, ""):
        monkeypatch.setenv("LABKIT_API_KEY", key) if key is not None else monkeypatch.delenv("LABKIT_API_KEY", False)
        with pytest.raises(lk.BadRequest, match="give --api-key or set LABKIT_API_KEY"):
            serve(host=host, port=0)


def test_a_body_that_is_too_large_is_not_read(server):
    route = f"{server.base_url}/v1/chat/completions"
    status, got = raw(server.base_url, b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                                       b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1))
    assert status == 413 and b"request_too_large" in got
    chunks = (b"x" * 65536 for _ in range(MAX_BODY // 65536 + 2))  # a size that is not said beforehand
    told = httpx.post(route, content=chunks, timeout=60)
    assert told.status_code == 413 and told.json()["error"]["code"] == "request_too_large"
    assert httpx.get(f"{server.base_url}/v1/models").status_code == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'"text"', b"{}", b'{"messages": 1e999}',
                                  b'{"messages": [{"role": "user", "content": "\\ud800"}], "n": "x"}',
                                  b"[" * 100_000])
@pytest.mark.parametrize("route", ["/v1/chat/completions", "/api/chat", "/v1/embeddings", "/api/embed"])
def test_a_body_that_is_no_request_is_a_400(server, route, body):
    told = httpx.post(server.base_url + route, content=body, timeout=60)
    assert told.status_code == 400 and told.json()["error"] and "Traceback" not in told.text


def test_an_unknown_route_in_each_dialect(server):
    assert httpx.get(f"{server.base_url}/v1/nothing").json()["error"]["code"] == "not_found"
    assert "no /api/nothing" in httpx.get(f"{server.base_url}/api/nothing").json()["error"]
    assert httpx.get(f"{server.base_url}/v1/chat/completions").status_code == 405
    assert httpx.get(f"{server.base_url}/docs").status_code == 404
