"""What every server with OpenAI's chat API has in common, through the official `openai` client."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from labkit.backends import probe
from labkit.backends.base import Capabilities, Chunk, Request
from labkit.backends.openai_errors import plain_errors
from labkit.backends.openai_stream import chunks
from labkit.backends.remote import Remote
from labkit.errors import BackendUnavailable
from labkit.tools.constraint import Constraint


class OpenAICompatible(Remote):
    """A model behind OpenAI's API. Retries and waits (Retry-After) are the client's.

    model: an id from /v1/models; None for the first there.
    """

    requires = {"openai": "openai"}
    how_to_start = "Start the server, or give another base_url."

    def __init__(self, model: str | None = None, *, base_url: str, api_key: str | None = None,
                 timeout_s: float = 120.0, retries: int = 2):
        import httpx
        import openai
        self.base_url, self.timeout_s = base_url.rstrip("/"), timeout_s
        self._client = openai.OpenAI(
            base_url=self.base_url, api_key=api_key or "none", max_retries=retries,
            timeout=httpx.Timeout(timeout_s, connect=min(5.0, timeout_s)))
        listed = self._listed()
        if model is not None and listed and model not in listed:
            raise BackendUnavailable(f"{self.base_url} has no model {model!r}. There is: {', '.join(sorted(listed))}.")
        if model is None and not listed:
            raise BackendUnavailable(f"{self.base_url} lists no model. Give its name: connect({self.name!r}, model=…).")
        self.model = model or next(iter(listed))
        self._about = listed.get(self.model, {})

    def generate(self, request: Request) -> Iterator[Chunk]:
        with plain_errors(self):
            stream = self._open(request)
            try:
                yield from chunks(stream, self.base_url)
            finally:
                stream.close()  # the server notices, and stops

    def _open(self, request: Request):
        """The stream of server-sent events that answers a request."""
        return self.client.chat.completions.create(
            model=self.model, messages=self._messages(request), stream=True,
            stream_options=self.stream_options, **self._sampling(request),
            **self._constrained(request.constraint), **_tools(request))

    @property
    def stream_options(self) -> dict[str, bool]:
        """Counts at the end, and where the server is known to have them, with every event."""
        counts = self._about.get("owned_by") in ("labkit", "vllm")
        return {"include_usage": True, **({"continuous_usage_stats": True} if counts else {})}

    def _messages(self, request: Request) -> list[dict[str, Any]]:
        return list(request.messages)

    def _sampling(self, request: Request) -> dict[str, Any]:
        given = {"max_tokens": request.max_tokens, "temperature": request.temperature, "top_p": request.top_p}
        return given if request.seed is None else {**given, "seed": request.seed}

    def _constrained(self, constraint: Constraint | None) -> dict[str, Any]:
        """The arguments that make the server enforce a JSON schema."""
        if constraint is None:
            return {}
        asked = {"name": "answer", "schema": constraint.plain_schema()}
        return {"response_format": {"type": "json_schema", "json_schema": asked}}

    @cached_property
    def capabilities(self) -> Capabilities:
        return Capabilities(probe.constraints(self), context_tokens=self.context_tokens(),
                            embeddings=probe.embeds(self), tools=probe.calls_tools(self))

    def context_tokens(self) -> int | None:
        """The longest prompt with its answer, where the server's list of models says it."""
        meta = self._about.get("meta") or {}
        found = [self._about.get("max_model_len"), self._about.get("context_length"), meta.get("n_ctx")]
        return next((int(n) for n in found if n), None)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        with plain_errors(self):
            answer = self.client.embeddings.create(model=self.model, input=list(texts), encoding_format="float")
            return [entry.embedding for entry in answer.data]

    def count_tokens(self, text: str) -> int:
        """By the server's /tokenize where it has one, else by what the text adds to a prompt's count."""
        from openai import APIStatusError
        asked = {"model": self.model, "prompt": text, "content": text, "add_special_tokens": False}
        with plain_errors(self):
            try:
                root = self.base_url.removesuffix("/v1")
                return len(self.client.post(f"{root}/tokenize", body=asked, cast_to=object)["tokens"])
            except (APIStatusError, TypeError, KeyError):
                return self._prompt_tokens(f"{text}\n.") - self._prompt_tokens("\n.")

    def _prompt_tokens(self, text: str) -> int:
        answer = self.client.chat.completions.create(
            model=self.model, messages=[{"role": "user", "content": text}], max_tokens=1)
        return answer.usage.prompt_tokens

    def _listed(self) -> dict[str, dict[str, Any]]:
        """id -> what the server says of the model. Empty where it keeps no list."""
        from openai import NotFoundError
        with plain_errors(self):
            try:
                return {entry.id: entry.model_dump() for entry in self.client.models.list()}
            except NotFoundError:
                return {}


def _tools(request: Request) -> dict[str, Any]:
    if not request.tools:
        return {}
    return {"tools": list(request.tools), "tool_choice": request.tool_choice, "parallel_tool_calls": request.several}
