"""What a gateway changes in a request and an answer on their way: headers, the model's name, the session."""
from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.requests import Request

from labkit.serving.failures import body_for
from labkit.serving.replica_pool import FALLBACK, Replica

# Of one connection, or set anew.
_OWN = {"host", "connection", "keep-alive", "transfer-encoding", "te", "upgrade", "content-length", "expect",
        "x-request-id", "date", "server"}
_EVENTS = "text/event-stream"
PIECES = (_EVENTS, "application/x-ndjson")


def parsed(body: bytes) -> dict[str, Any] | None:
    """A JSON object; None for anything else."""
    try:
        asked = json.loads(body)
    except ValueError:
        return None
    return asked if isinstance(asked, dict) else None


def session_of(path: str, asked: dict[str, Any] | None) -> str | None:
    """The session of a request to an agent, chosen here where the client has none: one replica keeps it."""
    if path != "/chat" or asked is None:
        return None
    if not asked.get("session"):
        asked["session"] = uuid.uuid4().hex
    return str(asked["session"])


def body_to(replica: Replica, asked: dict[str, Any] | None, body: bytes, names: Iterable[str]) -> bytes:
    """The body for this replica, with its own name for a model that the client calls by one of `names`.

    A fallback is asked for its own model whatever the client named.
    """
    if asked is None:
        return body
    name = str(asked.get("model") or "").replace(" ", "-").removesuffix(":latest").lower()
    if replica.model and (replica.version == FALLBACK or name in {known.lower() for known in names}):
        asked = {**asked, "model": replica.model}
    return json.dumps(asked).encode()


def headers_to(replica: Replica, request: Request) -> dict[str, str]:
    """The client's headers, without what was meant for the gateway."""
    kept = {name: value for name, value in request.headers.items() if name.lower() not in _OWN}
    if replica.version == FALLBACK:  # this service's key is no business of another's
        kept.pop("authorization", None)
    key = {"authorization": f"Bearer {replica.key}"} if replica.key else {}
    return {"accept-encoding": "identity", **kept, **key, "x-request-id": request.scope.get("request_id", "")}


def headers_back(headers: Mapping[str, str], replica: Replica) -> list[tuple[bytes, bytes]]:
    """The replica's headers, and which version it was."""
    kept = [(name.encode(), value.encode("latin-1")) for name, value in headers.items() if name.lower() not in _OWN]
    return [*kept, (b"x-labkit-version", replica.version.encode())]


def kind_of(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0]


def cut(path: str, kind: str) -> bytes:
    """The last piece of an answer whose replica died."""
    told = json.dumps(body_for(path, 502, "backend_unavailable", "The replica ended in the middle of this answer."))
    return f"data: {told}\n\n".encode() if kind == _EVENTS else f"{told}\n".encode()
