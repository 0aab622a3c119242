"""One turn with tools by a model that was trained for it: it decides and writes its calls in one pass."""
from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from labkit.backends import repair
from labkit.backends.base import Backend, Chunk
from labkit.backends.options import Options
from labkit.backends.reply import Reply
from labkit.backends.tool_turn import answered, said
from labkit.tools import calling, trained
from labkit.tools.tool import Tool

NONE = "[]"
NO_TOOL = "None of the tools fits this request."


class TrainedTurn:
    """mode: "auto" or "required"; several: more than one call; ground: arguments from what was said."""

    def __init__(self, backend: Backend, messages: Sequence[Mapping[str, Any]], tools: Sequence[Tool],
                 mode: str, several: bool, ground: bool, options: Options):
        self.backend, self.messages, self.tools = backend, list(messages), list(tools)
        self.mode, self.several, self.ground, self.options = mode, several, ground, options
        self._text, self._words = "", False
        self._logprob: float | None = None

    def in_words(self) -> bool:
        """Whether this turn turned out to be an answer in words."""
        return self._words

    def chunks(self) -> Iterator[Chunk]:
        if not (self.mode == "auto" and answered(self.messages)):
            yield from self._calls()
        if self._text in ("", NONE):
            self._words = True
            yield from self.backend.generate(self.options.request(self.messages))

    def _calls(self) -> Iterator[Chunk]:
        """The list of calls as it is written; of an empty one nothing is shown."""
        shown = 0
        for chunk in repair.generate(self.backend, self._request()):
            self._text += chunk.text
            if chunk.logprob is not None:
                self._logprob = (self._logprob or 0.0) + chunk.logprob
            if NONE.startswith(self._text) and chunk.finish_reason != "length":
                yield Chunk("", chunk.tokens)
            else:
                yield replace(chunk, text=self._text[shown:])
                shown = len(self._text)

    def _request(self):
        first, *rest = self.messages if self.messages[0]["role"] == "system" else ({"content": ""}, *self.messages)
        constraint = trained.constraint(self.tools, auto=self.mode == "auto", several=self.several,
                                        source=said(self.messages) if self.ground else None)
        # A stop string is for words: within a call it would break the JSON.
        options = replace(self.options, stop=None)
        system = {"role": "system", "content": trained.prompt(self.tools, first["content"])}
        return replace(options.request([system, *rest], constraint), trained=True)

    def finish(self, reply: Reply) -> Reply:
        """The reply with its calls read, a question for what is missing, or its words as they are."""
        reply = replace(reply, confidence=None if self._logprob is None else math.exp(self._logprob))
        if self.in_words():  # a model that the adapter is merged into has no other words
            return replace(reply, text=NO_TOOL) if reply.text.strip() == NONE else reply
        if reply.finish_reason == "cancelled":
            return replace(reply, text="")
        calls = calling.read_calls(reply.text, reply.finish_reason, self.options.max_tokens)
        if missing := trained.missing(calls, self.tools):
            return replace(reply, text=trained.question(missing), finish_reason="stop")
        return replace(reply, text="", tool_calls=calls, finish_reason="tool_calls")
