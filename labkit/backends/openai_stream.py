"""Read the server-sent events of a chat completion."""
from __future__ import annotations

import json
from collections.abc import Iterator

from labkit.backends.base import Chunk
from labkit.backends.reply import Usage
from labkit.errors import BackendUnavailable
from labkit.tools.call import ToolCall

_ENDS = {"length": "length"}  # whatever else a server says, its answer is whole


def chunks(stream, where: str) -> Iterator[Chunk]:
    """One per event. The end is held back until the counts have come, which is after the finish reason.

    Raises BackendUnavailable, with `where`, for a stream that ends without one.
    """
    seen, usage, reason, calls = 0, None, None, _Calls()
    for event in stream:
        usage = _usage(event.usage) or usage
        choice = event.choices[0] if event.choices else None
        reason = (choice and choice.finish_reason) or reason
        delta = choice and choice.delta
        calls.take((delta and delta.tool_calls) or ())
        if text := (delta and delta.content) or "":
            now = usage.completion_tokens if event.usage else seen + 1  # some servers count as they go
            yield Chunk(text, max(now - seen, 0), usage=usage)
            seen = max(now, seen)
    if reason is None:
        raise BackendUnavailable(f"{where} broke off in the middle of an answer. "
                                 "Ask again; if it stays so, look at the server's log.")
    usage = usage or Usage(completion_tokens=seen)
    yield Chunk("", max(usage.completion_tokens - seen, 0), _ENDS.get(reason, "stop"), usage, calls.read())


class _Calls:
    """Tool calls put together from the pieces of a stream."""

    def __init__(self):
        self._parts: dict[int, list[str]] = {}  # index: name, arguments

    def take(self, pieces) -> None:
        for piece in pieces:
            part = self._parts.setdefault(piece.index, ["", ""])
            part[0] += piece.function.name or ""
            part[1] += piece.function.arguments or ""

    def read(self) -> tuple[ToolCall, ...]:
        return tuple(ToolCall(name, json.loads(arguments or "{}")) for name, arguments in self._parts.values())


def _usage(given) -> Usage | None:
    if given is None:
        return None
    details = getattr(given, "prompt_tokens_details", None)
    return Usage(given.prompt_tokens or 0, given.completion_tokens or 0, getattr(details, "cached_tokens", 0) or 0)
