"""A server that answers what a test tells it to: for what no honest server can be made to do."""
from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Lies:
    """What to answer: `model_list` to GET, the next of `answers` to POST (the last one again and again).

    An answer is a function of the request handler, made by `status`, `events` or `raw`.
    """

    def __init__(self):
        self.model_list = status(200, {"object": "list", "data": [{"id": "m", "object": "model"}]})
        self.answers: list = []
        self.asked: list[dict] = []


def status(code: int, body, **headers):
    """A plain HTTP answer; body: a JSON value or bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    def answer(handler):
        handler.send_response(code)
        for name, value in {"content-length": str(len(data)), "content-type": "application/json", **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(data)
    return answer


def events(*data, then=lambda handler: None):
    """Server-sent events, each a JSON value or a str; `then` is what happens after them."""
    return chunked("text/event-stream", [f"data: {item if isinstance(item, str) else json.dumps(item)}\n\n".encode()
                                         for item in data], then)


def chunked(content_type: str, parts: list[bytes], then):
    """An answer in parts; nothing ends it when `then` returns "broken"."""
    def answer(handler):
        handler.send_response(200)
        handler.send_header("content-type", content_type)
        handler.send_header("transfer-encoding", "chunked")
        handler.send_header("connection", "close")  # said, so that no client asks again on it
        handler.end_headers()
        for part in parts:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            handler.wfile.flush()
        if then(handler) != "broken":
            handler.wfile.write(b"0\r\n\r\n")
        handler.close_connection = True
    return answer


def piece(text: str = "", finish: str | None = None, **more) -> dict:
    """One event of a chat completion."""
    return {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m",
            "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}], **more}


@contextmanager
def lying_server():
    """(its /v1 address, its Lies)."""
    lies = Lies()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            lies.model_list(self)

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            lies.asked.append(json.loads(body) if body.startswith(b"{") else body)
            answer = lies.answers.pop(0) if len(lies.answers) > 1 else lies.answers[0]
            answer(self)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", lies
    finally:
        server.shutdown()
        server.server_close()
