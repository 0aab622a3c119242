"""ONNX Runtime in this process, through onnxruntime-genai, which also enforces constraints."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from labkit.backends.base import Backend, Capabilities, Chunk, Request
from labkit.backends.guidance import PROBES
from labkit.backends.options import check_whole
from labkit.backends.reply import Usage
from labkit.errors import BackendUnavailable, BadRequest, ContextFull
from labkit.tools.trained import FORMAT

KINDS = {"json_schema": "json_schema", "lark": "lark_grammar", "regex": "regex"}  # ours: GenAI's name
BATCH = 512     # prompt tokens evaluated at a time: how soon a stop is heard, and what the logits take
COLDEST = 1e-6  # a lower temperature is zero in the runtime's float32


class Onnx(Backend):
    """A folder made for ONNX Runtime GenAI, in this process. Connections with equal settings share weights.

    model: a folder with genai_config.json, which also names the execution provider; None for the
        embedded SmolLM2-135M-Instruct (made once by `labkit models build onnx`).
    context_length: tokens for prompt and answer; None for what the model was trained on.
    threads: within an operator; None for the physical cores this process may use.
    adapter: a .gguf file that `labkit specialise` made, or "course" for the course's own, merged into the embedded
        model by `labkit models build onnx --adapter`. The merged weights answer everything, so chat changes, too:
        they may write [] (no call) where the plain model writes words.
    """

    name = "onnx"
    requires = {"onnxruntime_genai": "onnxruntime-genai"}

    def __init__(self, model: str | Path | None = None, *, context_length: int | None = None,
                 threads: int | None = None, adapter: str | Path | None = None):
        from labkit.backends.onnx_runtime import shared_runtime
        from labkit.models import workshop
        from labkit.models.hardware import usable_cores
        check_whole(1, context_length=context_length, threads=threads)
        folder, self._trained = workshop.runnable("onnx", model, adapter, FORMAT)
        self._runtime = shared_runtime(folder, threads or usable_cores())
        self.model = self._runtime.name + (" specialised" if self._trained else "")
        trained = self._runtime.prompt.context_tokens
        self._limit = min(context_length or trained, trained)

    @classmethod
    def why_not(cls) -> str | None:
        from labkit.models import workshop
        return cls.missing() or workshop.form_of("onnx").why_not()

    @property
    def runtime(self):
        """The model and tokenizer below, for measurements."""
        if self._runtime is None:
            raise BackendUnavailable('This connection is closed. Call labkit.connect("onnx") for a new one.')
        return self._runtime

    def close(self) -> None:
        self._runtime = None

    @cached_property
    def capabilities(self) -> Capabilities:
        return Capabilities(frozenset(filter(self._enforces, KINDS)), scores=self.runtime.gives_all_logits,
                            context_tokens=self._limit, continues=True, trained=self._trained)

    def _enforces(self, kind: str) -> bool:
        try:
            self.runtime.generator(64, (KINDS[kind], PROBES[kind]))
        except RuntimeError:
            return False
        return True

    def count_tokens(self, text: str) -> int:
        return self.runtime.prompt.count(text)

    def prompt_tokens(self, messages: Sequence[dict[str, Any]], prefix: str = "") -> list[int]:
        """The model's chat template over the messages, as token ids; what a user writes is only text."""
        return self.runtime.prompt.tokens(messages, prefix)

    def generate(self, request: Request) -> Iterator[Chunk]:
        prompt = self.prompt_tokens(request.messages, request.prefix)
        if len(prompt) >= self._limit:
            raise ContextFull(len(prompt), self._limit)
        return self._answer(request, np.array(prompt, dtype=np.int32))

    def _answer(self, request: Request, prompt: np.ndarray) -> Iterator[Chunk]:
        n, limit = len(prompt), min(len(prompt) + request.max_tokens, self._limit)
        generator = self._started(request, limit)
        decode = self.runtime.tokenizer.create_stream().decode
        for start in range(0, n, BATCH):
            if start:
                yield Chunk(tokens=0, usage=Usage(n))
            generator.append_tokens(prompt[start:start + BATCH])
        count = n
        while not generator.is_done():
            self.runtime  # noqa: B018, raises when the connection was closed between two steps
            generator.generate_next_token()
            new = generator.get_sequence(0)[count:]
            count += len(new)
            done = ("length" if count >= limit else "stop") if generator.is_done() else None
            yield Chunk("".join(map(decode, new)), len(new), done, Usage(n, count - n))

    def _started(self, request: Request, limit: int):
        """A generator with the request's sampling and constraint, before its prompt."""
        search: dict[str, Any] = {"do_sample": False}
        if request.temperature > COLDEST:
            search = {"do_sample": True, "temperature": request.temperature, "top_p": request.top_p, "top_k": 0}
        if request.seed is not None:
            search["random_seed"] = request.seed % 2**31
        guidance = request.constraint and (KINDS[request.constraint.kind], request.constraint.text)
        try:
            return self.runtime.generator(limit, guidance, **search)
        except RuntimeError as error:
            raise BadRequest(f"ONNX Runtime GenAI refuses this request: {error}") from error

    def loglikelihood(self, pairs: Sequence[tuple[list[dict[str, Any]], str]]) -> list[float]:
        prompt = self.runtime.prompt
        return [self._score(prompt.tokens(messages), prompt.tokenizer.tokenize_str(text))
                for messages, text in pairs]

    def _score(self, prompt: list[int], text: list[int]) -> float:
        if len(prompt) + len(text) > self._limit:
            raise ContextFull(len(prompt) + len(text), self._limit)
        return self.runtime.score(prompt, text, BATCH)
