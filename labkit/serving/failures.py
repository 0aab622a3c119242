"""Errors as the two dialects say them: a status, a code, and a sentence that says what to do."""
from __future__ import annotations

import logging
from typing import Any

from labkit.errors import BackendUnavailable, BadRequest, ContextFull, IncompleteOutput, LabkitError, ToolError
from labkit.serving.admission import Busy, TooLate, TooMany
from labkit.serving.sessions import SessionBusy
from labkit.serving.sqlite_file import StoreUnavailable

RETRY_S = 5  # for what may be over soon, where nothing tells how soon
_log = logging.getLogger("labkit.serving")
_KINDS = {429: "rate_limit_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error"}


class NoSuchModel(BadRequest):
    """The model asked for is not the one served."""


class NotHere(BadRequest):
    """What was asked for is not at this server."""


def describe(error: Exception) -> tuple[int, str, str, dict[str, Any]]:
    """(status, code, message, further fields) of what went wrong. Nothing of an unknown error is told."""
    message = str(error)
    if isinstance(error, ContextFull):
        return 400, "context_length_exceeded", message, {"prompt_tokens": error.prompt_tokens,
                                                         "context_tokens": error.context_tokens}
    if isinstance(error, NoSuchModel):
        return 404, "model_not_found", message, {}
    if isinstance(error, NotHere):
        return 404, "not_found", message, {}
    if isinstance(error, BadRequest):
        return 400, "invalid_request", message, {}
    if isinstance(error, IncompleteOutput):  # asked again, it would fail again: not a 5xx, which clients repeat
        return 422, "incomplete_output", message, {}
    if isinstance(error, ToolError):
        return 422, "tool_failed", message, {}
    if isinstance(error, SessionBusy):
        return 409, "session_busy", message, {}
    if isinstance(error, Busy):
        full = not isinstance(error, TooMany)
        return (503, "overloaded", message, {}) if full else (429, "rate_limit_exceeded", message, {})
    if isinstance(error, StoreUnavailable):
        return 503, "store_unavailable", message, {}
    if isinstance(error, TooLate):
        return 504, "deadline_exceeded", message, {}
    if isinstance(error, NotImplementedError):
        return 501, "not_supported", f"{message}.", {}
    if isinstance(error, BackendUnavailable):
        return 503, "backend_unavailable", message, {}
    if isinstance(error, LabkitError):
        return 500, "backend_error", message, {}
    return 500, "internal_error", "The server failed on this request. Its log says why.", {}


def body_for(path: str, status: int, code: str, message: str, fields: dict[str, Any] | None = None) -> dict[str, Any]:
    """The error in the dialect of the route: Ollama's under /api, OpenAI's elsewhere."""
    if path.startswith("/api"):
        return {"error": message, **(fields or {})}
    kind = _KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": code, **(fields or {})}}


def body_of(path: str, error: Exception) -> tuple[int, dict[str, Any]]:
    """(status, body) of an error, in the route's dialect."""
    status, code, message, fields = describe(error)
    return status, body_for(path, status, code, message, fields)


def headers_of(status: int, error: Exception) -> dict[str, str]:
    """When to ask again, for who may."""
    if status not in (429, 503):
        return {}
    return {"retry-after": str(getattr(error, "retry_after_s", RETRY_S))}


def body_midway(path: str, error: Exception) -> dict[str, Any]:
    """The last line of an answer that failed after it had begun; the server's log gets the cause."""
    status, body = body_of(path, error)
    if status == 500:
        _log.error("An answer failed after it had begun.", exc_info=error)
    return body
