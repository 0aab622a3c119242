"""Foundry Local in this process, through foundry-local-sdk 2: sessions over a model it has loaded."""
from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from labkit.backends.base import Backend, Capabilities, Chunk, Request
from labkit.backends.guidance import PROBES
from labkit.backends.onnx import COLDEST, KINDS
from labkit.backends.reply import Usage
from labkit.errors import BackendUnavailable, BadRequest, ContextFull
from labkit.tools.constraint import Constraint
from labkit.tools.messages import well_formed

_OBEYED = {"json_schema": "{", "lark": ("a", "b"), "regex": tuple("0123456789")}  # how an answer to PROBES begins


class FoundryLocal(Backend):
    """A model in Foundry Local's runtime, in this process. Connections to one model share its weights.

    model: a folder made for ONNX Runtime GenAI; an alias or id of Foundry Local's public catalogue, which
        is downloaded if need be; None for the embedded SmolLM2-135M-Instruct, registered where it lies.
    device: "cpu", "gpu" or "npu": which variant of a catalogue's model; None leaves the choice to Foundry.
    on_progress: called with the per cent done of a download.
    """

    name = "foundry-local"
    requires = {"foundry_local_sdk": "foundry-local-sdk"}

    def __init__(self, model: str | Path | None = None, *, device: str | None = None, on_progress=None):
        from labkit.backends import foundry_runtime
        from labkit.backends.onnx_runtime import GenAIPrompt
        from labkit.models import workshop
        folder = Path(model or workshop.require("onnx"))
        entry = (foundry_runtime.registered(folder) if folder.is_dir()
                 else foundry_runtime.online(str(model), device, on_progress))
        self._loaded, self.model = foundry_runtime.loaded(entry), entry.id
        self._prompt = GenAIPrompt(Path(entry.get_path()))

    @classmethod
    def why_not(cls) -> str | None:
        from labkit.models import workshop
        return cls.missing() or workshop.form_of("onnx").why_not()

    @property
    def loaded(self):
        """Foundry Local's own model below, for measurements."""
        if self._loaded is None:
            raise BackendUnavailable('This connection is closed. Call labkit.connect("foundry-local") for a new one.')
        return self._loaded.model

    def close(self) -> None:
        self._loaded = None

    @cached_property
    def capabilities(self) -> Capabilities:
        return Capabilities(frozenset(filter(self._enforces, KINDS)), context_tokens=self._prompt.context_tokens)

    def _enforces(self, kind: str) -> bool:
        """Options it does not know are ignored without a word, so only the answer tells."""
        messages = [{"role": "user", "content": "Hello"}]
        try:
            answer = list(self.generate(Request(messages, Constraint(kind, PROBES[kind]), max_tokens=2)))
        except BadRequest:
            return False
        return "".join(chunk.text for chunk in answer).lstrip().startswith(_OBEYED[kind])

    def count_tokens(self, text: str) -> int:
        self.loaded  # noqa: B018, raises when closed
        return self._prompt.count(text)

    def generate(self, request: Request) -> Iterator[Chunk]:
        self.loaded  # noqa: B018, raises when closed
        messages = [{**message, "content": self._safe(message["content"])} for message in request.messages]
        prompt, limit = len(self._prompt.tokens(messages)), self._prompt.context_tokens
        if prompt >= limit:
            raise ContextFull(prompt, limit)
        room = min(request.max_tokens, limit - prompt)
        return self._answer(replace(request, messages=messages, max_tokens=room), prompt)

    def _safe(self, text: str) -> str:
        """A text as Foundry Local can take it: UTF-8, not empty, no NUL (a C string's end), no template token."""
        return self._prompt.harmless(well_formed(text).replace("\0", "\ufffd") or " ")

    def _answer(self, request: Request, prompt: int) -> Iterator[Chunk]:
        from foundry_local_sdk import ChatSession, FoundryLocalException
        from foundry_local_sdk import Request as Asked
        held, items = self._loaded, [_item(message) for message in request.messages]  # native code points to them
        try:
            with ChatSession(held.model) as session, Asked() as asked:
                session.set_streaming(True)
                for item in items:
                    asked.add_item(item)
                asked.set_options(_options(request))
                with session.process_streaming_request(asked) as stream:
                    yield from self._chunks(stream, prompt)
        except FoundryLocalException as error:
            raise BadRequest(f"Foundry Local refuses this request: {_reason(error)}") from error

    def _chunks(self, stream, prompt: int) -> Iterator[Chunk]:
        count = 0
        for item in stream:
            self.loaded  # noqa: B018, raises when closed
            count += 1
            yield Chunk(item.text, usage=Usage(prompt, count))
        with stream.final_response as final:
            used, reason = final.get_usage(), final.finish_reason.name.lower()
        # An item is a token, or several that make up one character.
        yield Chunk("", used.completion_tokens - count, reason, Usage(used.prompt_tokens, used.completion_tokens))


def _item(message: dict[str, Any]):
    from foundry_local_sdk import MessageItem
    from foundry_local_sdk.items import MessageRole
    return MessageItem(MessageRole[message["role"].upper()], message["content"])


def _options(request: Request):
    from foundry_local_sdk import RequestOptions, SearchOptions
    seed = None if request.seed is None else request.seed % 2**31
    search = SearchOptions(temperature=0.0, max_output_tokens=request.max_tokens, seed=seed)
    if request.temperature > COLDEST:
        search = replace(search, temperature=request.temperature, top_p=request.top_p, top_k=0, do_sample=True)
    constraint = request.constraint
    return RequestOptions(search, additional_options={
        "guidance_type": KINDS[constraint.kind], "guidance_data": constraint.text} if constraint else {})


def _reason(error: Exception) -> str:
    """What was wrong, without the place in Foundry Local's source that comes before it."""
    return re.sub(r"^\S+\.cc:\d+ .*?\)(?: const)? (?=[a-z])", "", str(error))
