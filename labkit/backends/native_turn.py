"""One turn with tools on a runtime that takes OpenAI's tools itself: decision and call are left to it."""
from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from labkit.backends import guidance
from labkit.backends.base import Backend, Chunk, Request
from labkit.backends.options import Options
from labkit.backends.reply import Reply
from labkit.backends.tool_turn import check_call
from labkit.errors import IncompleteOutput
from labkit.tools import calling
from labkit.tools.call import ToolCall
from labkit.tools.messages import well_formed
from labkit.tools.tool import Tool


class NativeTurn:
    """mode: "auto" or "required"; several: more than one call."""

    def __init__(self, backend: Backend, messages: Sequence[Mapping[str, Any]], tools: Sequence[Tool],
                 mode: str, several: bool, options: Options):
        self.backend, self.messages, self.tools = backend, list(messages), list(tools)
        self.mode, self.several, self.options = mode, several, options
        self.calls: tuple[ToolCall, ...] = ()
        self._words = False

    def in_words(self) -> bool:
        """Whether this turn turned out to be an answer in words."""
        return self._words

    def chunks(self) -> Iterator[Chunk]:
        guidance.check(calling.call_constraint(self.tools))  # a schema that nothing fits is refused everywhere alike
        for chunk in self.backend.generate(self._request()):
            self.calls += chunk.tool_calls
            self._words = self._words or bool(chunk.text)
            yield chunk

    def _request(self) -> Request:
        request = self.options.request(self.messages)
        # A stop string is for words: within a call it would break the JSON. Stream looks for it in words.
        return replace(request, messages=self.messages, stop=(), tool_choice=self.mode, several=self.several,
                       tools=tuple(map(_clean, self.tools)))

    def finish(self, reply: Reply) -> Reply:
        """The reply with its calls, or its words as they are."""
        if self.calls:
            for call in self.calls:
                check_call(call, self.tools)
            return replace(reply, text="", tool_calls=list(self.calls), finish_reason="tool_calls")
        if self.mode == "required" and reply.finish_reason != "cancelled":
            raise IncompleteOutput("No valid result: a call was required, and the server answered in words: "
                                   f"{reply.text[:200]!r}")
        return reply


def _clean(tool: Tool) -> dict[str, Any]:
    """OpenAI's form, in text that has a UTF-8."""
    return json.loads(well_formed(json.dumps(tool.to_openai(), ensure_ascii=False)))
