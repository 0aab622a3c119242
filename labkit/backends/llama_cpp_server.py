"""llama.cpp's server in this process (xllamacpp): many clients at once, over HTTP on the loopback address."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from labkit.backends import probe
from labkit.backends.base import Capabilities, Chunk, Request
from labkit.backends.llama_prompt import Prompts, constrained, sampling
from labkit.backends.llama_score import Scorer
from labkit.backends.llama_server import NUMA, Settings, context_for, shared_server
from labkit.backends.openai_compatible import OpenAICompatible
from labkit.backends.openai_errors import plain_errors
from labkit.backends.options import check_whole
from labkit.backends.reply import Usage
from labkit.errors import BackendUnavailable, BadRequest, ContextFull
from labkit.tools.messages import well_formed

_KINDS = ("json_schema", "lark", "regex")


class LlamaCppServer(OpenAICompatible):
    """A GGUF model behind llama.cpp's server. Connections with the same settings share the server.

    model: a .gguf file; None for the embedded SmolLM2-135M-Instruct.
    context_length: tokens for prompts and answers of all clients together; None for what the model was trained on.
    threads: None for the physical cores this process may use.
    slots: answers written at the same time; further ones wait.
    batch_tokens: tokens of prompts evaluated at a time.
    memory_lock: keep the weights in RAM, never swapped out.
    numa: "distribute", "isolate" or "numactl" on machines with several memory nodes.
    port: 0 for any that is free; metrics: offer /metrics for Prometheus.
    ngram_draft: speculative decoding; up to this many tokens are guessed from what followed the last three
        tokens earlier on, and checked in one batch. 0 for none.
    """

    name = "llama.cpp-server"
    requires = {"xllamacpp": "xllamacpp", "llama_cpp": "llama-cpp-python", "openai": "openai"}
    how_to_start = "Call labkit.connect() for a new one."

    def __init__(self, model: str | Path | None = None, *, context_length: int | None = None,
                 threads: int | None = None, slots: int = 16, batch_tokens: int = 512, gpu_layers: int = -1,
                 memory_lock: bool = False, numa: str | None = None, port: int = 0, metrics: bool = True,
                 ngram_draft: int = 0, timeout_s: float = 120.0):
        import httpx

        from labkit.models.embedded import default_model, display_name
        from labkit.models.hardware import usable_cores
        check_whole(1, context_length=context_length, threads=threads, slots=slots, batch_tokens=batch_tokens)
        check_whole(0, port=port, ngram_draft=ngram_draft)
        if numa not in (None, *NUMA):
            raise BadRequest(f"numa={numa!r}: use {', '.join(NUMA)}, or None.")
        path = Path(model) if model else default_model()
        settings = Settings(path.resolve(), context_for(path, context_length), threads or usable_cores(), slots,
                            batch_tokens, gpu_layers, memory_lock, numa, port, metrics, ngram_draft)
        self._server = shared_server(settings, display_name(path))
        super().__init__(display_name(path), base_url=f"{self._server.url}/v1", timeout_s=timeout_s)
        self._http, self._prompts = httpx.Client(timeout=timeout_s), Prompts(self._post, self.model)

    @property
    def url(self) -> str:
        """Where the server listens, for its other routes: /metrics, /slots, /props, /v1 for any client."""
        return self.base_url.removesuffix("/v1")

    def close(self) -> None:
        super().close()
        self._http.close()
        self._server = None

    @cached_property
    def capabilities(self) -> Capabilities:
        return Capabilities(probe.constraints(self, _KINDS), scores=True, prefix_cache=True, continues=True,
                            context_tokens=self.context_tokens(), embeddings=probe.embeds(self))

    def context_tokens(self) -> int:
        return self._server.settings.context_length

    def count_tokens(self, text: str) -> int:
        return len(self._prompts.tokenize([text]))

    def prompt_tokens(self, messages: Sequence[dict[str, Any]], prefix: str = "") -> list[int]:
        """The model's chat template over the messages, and `prefix`, as token ids."""
        return self._prompts.tokens(messages, prefix)

    def _post(self, route: str, **body) -> Any:
        import openai
        with plain_errors(self):
            http = self.client and self._http  # without the official client's layers: this comes before every answer
            answer = http.post(f"{self.url}{route}", json=body)
            if answer.is_error:
                raise openai.APIStatusError(answer.text, response=answer, body=answer.json())
            return answer.json()

    def generate(self, request: Request) -> Iterator[Chunk]:
        prompt = self.prompt_tokens(request.messages, request.prefix)
        self._check_length(len(prompt))
        return self._answer(request, prompt)

    def _answer(self, request: Request, prompt: list[int]) -> Iterator[Chunk]:
        with plain_errors(self):
            stream = self.client.completions.create(
                model=self.model, prompt=prompt, max_tokens=request.max_tokens, stream=True,
                extra_body={**sampling(request), **constrained(request.constraint),
                            "timings_per_token": True, "return_progress": True})
            try:
                yield from self._chunks(stream, len(prompt))
            finally:
                stream.close()  # the server notices, and frees the slot

    def _chunks(self, stream, n_prompt: int) -> Iterator[Chunk]:
        seen = 0
        for event in stream:
            choice, timings = event.choices[0], event.timings
            # The token that ends an answer is not counted: no text comes of it.
            now = timings["predicted_n"] - (choice.finish_reason == "stop")
            usage = Usage(n_prompt, now, timings["cache_n"])
            if choice.text or choice.finish_reason or not now:
                yield Chunk(choice.text, now - seen, choice.finish_reason, usage)
                seen = now
            if choice.finish_reason:
                return
        raise BackendUnavailable(f"{self.base_url} broke off in the middle of an answer. Ask again.")

    def loglikelihood(self, pairs: Sequence[tuple[list[dict[str, Any]], str]]) -> list[float]:
        scores = [0.0] * len(pairs)
        for text in {text for _, text in pairs}:
            same = [i for i, pair in enumerate(pairs) if pair[1] == text]
            prompts = [self.prompt_tokens(pairs[i][0]) for i in same]
            self._check_length(max(map(len, prompts)) + self.count_tokens(text) - 1)
            for i, score in zip(same, Scorer(self._post).scores(prompts, well_formed(text)), strict=True):
                scores[i] = score
        return scores

    def _check_length(self, tokens: int) -> None:
        if tokens >= self.context_tokens():
            raise ContextFull(tokens, self.context_tokens())
