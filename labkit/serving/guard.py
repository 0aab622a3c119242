"""Who may ask, and how much at once: the key, the address asked for, the size of a request.

Plain ASGI, because Starlette's own middleware costs a task and a queue for every request.
"""
from __future__ import annotations

import asyncio
import json
import re
import secrets
import uuid
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

MAX_BODY = 2 * 2**20  # bytes; a full context of 8192 tokens is about 40 kB
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
BODY_S = 30.0         # seconds to send it
OPEN = {"/health"}    # says only that the server is up


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Guard:
    """Refuses before anything is read: 403 for a foreign page, 401 for a wrong key, 413 for too much.

    Without a key the server trusts this machine, and a web page in its browser is not this machine:
    a page can send requests to 127.0.0.1, and can point a name of its own there (DNS rebinding). Its
    Origin, or the Host it asked for, gives it away.
    """

    def __init__(self, app, api_key: str | None = None, max_body: int = MAX_BODY):
        self.app, self.max_body = app, max_body
        self._key = api_key.encode() if api_key else None

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        scope["request_id"] = id = _request_id(headers)
        send = _with_id(send, id)
        if refusal := self._refusal(scope["path"], headers):
            return await _answer(send, scope["path"], *refusal)
        await self.app(scope, _limited(receive, self.max_body), send)

    def _refusal(self, path: str, headers: Headers) -> tuple[int, str, str] | None:
        """(status, code, message), or None for a request that may pass."""
        if self._key and path not in OPEN and not self._knows(headers.get("authorization", "")):
            return 401, "invalid_api_key", "The API key is missing or wrong. Send it as: Authorization: Bearer KEY"
        if not self._key and not _from_here(headers):
            return 403, "forbidden_origin", ("This server answers programs on this machine, asked for as localhost "
                                             "or 127.0.0.1, not web pages of other sites.")
        size = headers.get("content-length", "0")
        if not size.isdigit() or int(size) > self.max_body:
            return 413, "request_too_large", f"A request may have {self.max_body} bytes."
        return None

    def _knows(self, authorization: str) -> bool:
        kind, _, key = authorization.partition(" ")
        sent = key.strip().encode("latin-1")  # the bytes as they came: Starlette reads headers as latin-1
        return secrets.compare_digest(sent, self._key) and kind.lower() == "bearer"


def _from_here(headers: Headers) -> bool:
    addresses = [f"//{headers.get('host', '')}", *(o for o in [headers.get("origin")] if o)]
    return all(is_loopback(_hostname(address)) for address in addresses)


def _hostname(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:  # an unfinished [ of an IPv6 address
        return ""


def _request_id(headers: Headers) -> str:
    """The client's own name for the request where it is fit for a log, else a new one."""
    given = headers.get("x-request-id", "")
    return given if _ID.fullmatch(given) else uuid.uuid4().hex


def _with_id(send, id: str):
    """`send`, with the request's name in every answer, so that it can be found in the log."""
    async def named(message):
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (b"x-request-id", id.encode())]}
        await send(message)
    return named


def _limited(receive, limit: int):
    """`receive`, counting and with a clock: a body sent in chunks says neither its size nor its end beforehand."""
    seen, whole = 0, False
    loop = asyncio.get_running_loop()
    until = loop.time() + BODY_S

    async def counted():
        nonlocal seen, whole
        if whole:  # what comes now is that the client has gone, and that may take any time
            return await receive()
        try:
            async with asyncio.timeout_at(until):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, f"The request was not complete after {BODY_S:g} s.") from None
        whole = not message.get("more_body", False)
        seen += len(message.get("body", b""))
        if seen > limit:
            raise HTTPException(413, f"A request may have {limit} bytes.")
        return message
    return counted


async def _answer(send, path: str, status: int, code: str, message: str) -> None:
    from labkit.serving.failures import body_for
    body = json.dumps(body_for(path, status, code, message)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status == 413:
        headers.append((b"connection", b"close"))  # the rest of the body is not read
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
