"""Servers that labkit starts itself: it has the model's folder, so it writes and counts the prompt itself."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from labkit.backends.base import Chunk, Request
from labkit.backends.hf_prompt import HFPrompt
from labkit.backends.openai_compatible import OpenAICompatible
from labkit.backends.reply import Usage
from labkit.errors import ContextFull


class Prompted(OpenAICompatible):
    """A server whose prompts are made here, from `prompt`. Without one it is asked as any other server is.

    So what a user writes cannot end a turn, a prompt that is too long is refused before it is sent, and an
    answer can be begun for the model.
    """

    prompt: HFPrompt | None = None

    def generate(self, request: Request) -> Iterator[Chunk]:
        if self.prompt is None:
            yield from super().generate(request)
            return
        n_prompt, limit = len(self.prompt_tokens(request)), self.context_tokens()
        if n_prompt >= limit:
            raise ContextFull(n_prompt, limit)
        seen = 0
        with closing(super().generate(replace(request, max_tokens=min(request.max_tokens, limit - n_prompt)))) as found:
            for chunk in map(_without_the_end, found):
                seen += chunk.tokens
                yield chunk if chunk.usage else replace(chunk, usage=Usage(n_prompt, seen))

    def prompt_tokens(self, request: Request) -> list[int]:
        """The prompt as token ids, the beginning of the answer included."""
        return self.prompt.tokens(request.messages, request.prefix)

    def count_tokens(self, text: str) -> int:
        _ = self.client  # closed says so
        return self.prompt.count(text) if self.prompt else super().count_tokens(text)

    def _open(self, request: Request):
        if self.prompt is None:
            return super()._open(request)
        return _AsChat(self.client.completions.create(
            model=self.model_id, prompt=self._given(request), stream=True, stream_options=self.stream_options,
            **self._sampling(request), **self._constrained(request.constraint)))

    def _given(self, request: Request) -> str | list[int]:
        """The prompt as this server takes it."""
        return self.prompt_tokens(request)

    model_id: str  # what the server calls the model, where `model` is the name to show


def _without_the_end(chunk: Chunk) -> Chunk:
    """These servers count the token that ends an answer; no one else does."""
    if chunk.finish_reason != "stop" or not chunk.usage or not chunk.tokens:
        return chunk
    usage = replace(chunk.usage, completion_tokens=chunk.usage.completion_tokens - 1)
    return replace(chunk, tokens=chunk.tokens - 1, usage=usage)


class _AsChat:
    """The events of a text completion in the shape of a chat's."""

    def __init__(self, stream):
        self.stream, self.close = stream, stream.close

    def __iter__(self) -> Iterator[Any]:
        for event in self.stream:
            choices = [SimpleNamespace(finish_reason=choice.finish_reason,
                                       delta=SimpleNamespace(content=choice.text, tool_calls=None))
                       for choice in event.choices]
            yield SimpleNamespace(usage=event.usage, choices=choices)
