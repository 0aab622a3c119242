"""Ollama, through its official client. Its daemon loads models on demand and lets them go when unused."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from labkit.backends import probe
from labkit.backends.base import Capabilities, Chunk, Request
from labkit.backends.ollama_address import address, answers, not_running
from labkit.backends.ollama_errors import patient_transport, plain_errors
from labkit.backends.remote import Remote
from labkit.backends.reply import Usage
from labkit.errors import BackendUnavailable, ContextFull, LabkitError
from labkit.tools.messages import well_formed

_LONGEST = 8192  # tokens, unless more is asked for: the daemon reserves memory for all of them
# Ollama samples by rules of its own unless told not to; here temperature and top_p are all there is.
_PLAIN_SAMPLING = {"top_k": 0, "repeat_penalty": 1.0}


class Ollama(Remote):
    """A model in a running Ollama.

    model: a name as `ollama list` shows it; None for a SmolLM2 if one is there, else the first.
    base_url: None for OLLAMA_HOST, else http://127.0.0.1:11434.
    context_length: tokens (num_ctx); None for what the model was trained on, at most 8192.
    threads, batch_tokens, gpu_layers: Ollama's num_thread, num_batch, num_gpu; None leaves them to it.
    keep_alive: how long the model stays loaded after an answer, like "5m"; 0 unloads it, -1 keeps it.
    timeout_s: longest wait (s) for the next bytes; loading a large model takes long.
    retries: after 429 and 503, waiting as long as the server says.
    """

    name = "ollama"
    requires = {"ollama": "ollama"}

    def __init__(self, model: str | None = None, *, base_url: str | None = None, context_length: int | None = None,
                 threads: int | None = None, batch_tokens: int | None = None, gpu_layers: int | None = None,
                 keep_alive: float | str | None = None, api_key: str | None = None, timeout_s: float = 120.0,
                 retries: int = 2):
        import httpx
        import ollama
        self.base_url, self.timeout_s, self.keep_alive = address(base_url), timeout_s, keep_alive
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else None
        self._client = ollama.Client(
            self.base_url, headers=headers, transport=patient_transport(retries),
            timeout=httpx.Timeout(timeout_s, connect=min(5.0, timeout_s)))
        self.model = self._chosen(model)
        self.context_tokens = context_length or min(self._trained_for(), _LONGEST)
        given = {"num_thread": threads, "num_batch": batch_tokens, "num_gpu": gpu_layers}
        self._settings = {"num_ctx": self.context_tokens, **{k: v for k, v in given.items() if v is not None}}

    def models(self) -> list[str]:
        """The names of the models that Ollama has on its disk."""
        with plain_errors(self):
            return [entry.model for entry in self.client.list().models]

    def _chosen(self, model: str | None) -> str:
        there = self.models()
        if not there:
            raise BackendUnavailable(f"Ollama at {self.base_url} has no model. Get one: ollama pull smollm2:135m")
        if model is None:
            return next((name for name in there if "smollm2" in name.lower()), there[0])
        if model not in there and f"{model}:latest" not in there:
            raise BackendUnavailable(f"Ollama at {self.base_url} has no model {model!r}. There is: {', '.join(there)}. "
                                     f"Get it: ollama pull {model}")
        return model

    def _trained_for(self) -> int:
        """The context (tokens) the model was trained on; _LONGEST where Ollama does not say."""
        with plain_errors(self):
            about = self.client.show(self.model).modelinfo or {}
        return next((int(n) for key, n in about.items() if key.endswith(".context_length") and n), _LONGEST)

    @cached_property
    def capabilities(self) -> Capabilities:
        # Not `tools`: Ollama calls some models' tools, and cannot be told that a call is required.
        return Capabilities(probe.constraints(self), context_tokens=self.context_tokens,
                            prefix_cache=True, embeddings=probe.embeds(self))

    def generate(self, request: Request) -> Iterator[Chunk]:
        with plain_errors(self):
            self._check_length(request)
            messages = [{**message, "content": well_formed(message["content"])} for message in request.messages]
            schema = request.constraint and request.constraint.plain_schema()
            parts = self.client.chat(self.model, messages, stream=True, keep_alive=self.keep_alive,
                                     options=self._options(request), format=schema)
            try:
                yield from self._chunks(parts)
            finally:
                parts.close()  # the server notices, and stops

    def _options(self, request: Request) -> dict[str, Any]:
        options = {**self._settings, **_PLAIN_SAMPLING, "num_predict": request.max_tokens,
                   "temperature": request.temperature, "top_p": request.top_p}
        if request.stop and request.constraint is None:  # within a value a stop string would break the JSON
            options["stop"] = list(request.stop)
        return options if request.seed is None else {**options, "seed": request.seed}

    def _chunks(self, parts) -> Iterator[Chunk]:
        """One per line. Ollama counts at the end; `labkit serve` counts in every line."""
        seen = 0
        for part in parts:
            _ = self.client  # closed meanwhile?
            text = part.message.content or ""
            now = max(part.eval_count or (seen if part.done else seen + 1), seen)
            usage = Usage(part.prompt_eval_count or 0, now) if part.prompt_eval_count or part.done else None
            reason = ("length" if part.done_reason == "length" else "stop") if part.done else None
            yield Chunk(text, now - seen, reason, usage)
            seen = now
            if part.done:
                return
        raise BackendUnavailable(f"Ollama at {self.base_url} broke off in the middle of an answer. "
                                 "Ask again; if it stays so, look at its log: ollama serve")

    def _check_length(self, request: Request) -> None:
        """Ollama cuts a prompt that is too long without a word, so one that may be is counted first."""
        if self._is_labkit:
            return  # counts for itself, and refuses
        text = "\n".join(message["content"] for message in request.messages)
        if len(text.encode("utf-8", "replace")) > 2 * self.context_tokens:
            tokens = self.count_tokens(text)
            if tokens >= self.context_tokens:
                raise ContextFull(tokens, self.context_tokens)

    @cached_property
    def _is_labkit(self) -> bool:
        response = self.client._client.get("/api/version")  # the client has no method for it
        return response.is_success and str(response.json().get("server", "")).startswith("labkit")

    def count_tokens(self, text: str) -> int:
        """By /tokenize where the server is labkit's; else by what the text adds to a prompt's own count."""
        with plain_errors(self):
            if self._is_labkit:
                return self.client._client.post("/tokenize", json={"content": text}).json()["count"]
            width = self.context_tokens // 2  # a token has a byte or more, and more than a context is not counted
            parts = [text[at:at + width] for at in range(0, len(text), width)]
            return sum(self._prompt_tokens(f"\n{part}") - self._prompt_tokens("\n") for part in parts)

    def _prompt_tokens(self, text: str) -> int:
        options = {**self._settings, "num_predict": 1}
        counted = self.client.generate(self.model, text, raw=True, options=options, keep_alive=self.keep_alive)
        if counted.prompt_eval_count is None:
            raise LabkitError("This Ollama does not count the tokens of a prompt it has just seen. Update it.")
        return counted.prompt_eval_count

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        with plain_errors(self):
            return [list(vector) for vector in self.client.embed(self.model, list(texts)).embeddings]

    @classmethod
    def why_not(cls) -> str | None:
        return cls.missing() or (None if answers(address(None)) else not_running(address(None)))
