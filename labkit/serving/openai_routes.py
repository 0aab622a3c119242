"""OpenAI's routes: models, chat completions, embeddings.

Without temperature an answer is the likeliest one (0), without max_tokens it ends at 512: a small
model is best so. What the model below cannot do is refused, not ignored: n > 1, logprobs, penalties.
"""
from __future__ import annotations

import base64
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from struct import pack
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from labkit.backends.reply import Reply, Usage
from labkit.errors import BadRequest
from labkit.serving.answering import Messages, Tools, lines_response, read, refuse, service_of, sse
from labkit.serving.failures import body_midway
from labkit.serving.generation import Generation, Service
from labkit.serving.identity import check_model, model_id

router = APIRouter()
_REFUSED = {"logprobs": "log-probabilities are not given", "top_logprobs": "log-probabilities are not given",
            "frequency_penalty": "penalties are not built in", "presence_penalty": "penalties are not built in",
            "logit_bias": "biases are not built in", "functions": "use tools", "function_call": "use tool_choice",
            "audio": "the models read and write text only"}


class StreamOptions(BaseModel):
    include_usage: bool = False
    continuous_usage_stats: bool = False  # vLLM's: the counts so far with every piece


class ChatBody(BaseModel, extra="allow"):
    """The fields of a chat completion that are acted on."""

    model: str | None = None
    user: str | None = None  # whose place in the queue it is, see tickets
    messages: Messages
    stream: bool = False
    stream_options: StreamOptions | None = None
    tools: Tools | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    grounded: bool | None = None  # labkit's: take arguments from the conversation, as in Chat.chat
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    n: int | None = 1

    def arguments(self) -> dict[str, Any]:
        """As `Chat.stream` takes them."""
        refuse(self.model_extra, _REFUSED)
        if self.n not in (None, 1):
            raise BadRequest(f"n={self.n}: this server gives one answer a request. Ask again for another.")
        limit = self.max_completion_tokens if self.max_tokens is None else self.max_tokens
        options = {"max_tokens": limit, "temperature": self.temperature, "top_p": self.top_p,
                   "seed": self.seed, "stop": self.stop or None, "tool_choice": self.tool_choice,
                   "tools": self.tools or None, "schema": response_schema(self.response_format)}
        # OpenAI's default for parallel calls is yes. One call at a time is what a small model gets right.
        return {"parallel_tool_calls": self.parallel_tool_calls is True, "grounded": self.grounded,
                **{name: value for name, value in options.items() if value is not None}}


class EmbeddingsBody(BaseModel, extra="allow"):
    model: str | None = None
    input: str | list[str] = Field(min_length=1)
    encoding_format: str | None = "float"


def response_schema(response_format: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The JSON schema that `response_format` asks for, None for text."""
    kind = (response_format or {}).get("type", "text")
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "object"}
    given = (response_format or {}).get("json_schema")
    schema = given.get("schema") if isinstance(given, Mapping) else None
    if kind != "json_schema" or not isinstance(schema, dict):
        raise BadRequest('response_format is {"type": "text"}, {"type": "json_object"}, or '
                         '{"type": "json_schema", "json_schema": {"name": …, "schema": {…}}}.')
    return schema


@router.get("/v1/models")
async def models(request: Request):
    return {"object": "list", "data": [_card(request)]}


@router.get("/v1/models/{name:path}")
async def model(request: Request, name: str):
    check_model(service_of(request), name)
    return _card(request)


def _card(request: Request) -> dict[str, Any]:
    service = service_of(request)
    return {"id": model_id(service.chat), "object": "model", "created": int(service.since), "owned_by": "labkit",
            "max_model_len": service.chat.capabilities.context_tokens}


@router.post("/v1/chat/completions")
async def chat_completions(request: Request):
    body, service = await read(request, ChatBody), service_of(request)
    check_model(service, body.model)
    ticket = service.ticket(request, body.user)
    generation = Generation(service, body.messages, body.arguments(), ticket)
    id = uuid.uuid4().hex
    if body.stream:
        events = _events(generation, _head(service, id), body.stream_options or StreamOptions())
        return await lines_response(request, generation, events, "text/event-stream")
    return completion(await generation.whole(request), service, id)


def _head(service: Service, id: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{id}", "created": int(time.time()), "model": model_id(service.chat)}


def completion(reply: Reply, service: Service, id: str) -> dict[str, Any]:
    """The whole answer, as OpenAI's clients read it."""
    choice = {"index": 0, "message": {"refusal": None, **reply.message}, "logprobs": None,
              "finish_reason": reply.finish_reason}
    return {**_head(service, id), "object": "chat.completion", "choices": [choice], "usage": _usage(reply.usage)}


async def _events(generation: Generation, head: dict[str, Any], options: StreamOptions) -> AsyncIterator[bytes]:
    """The answer as server-sent events, ended by [DONE], or by an error after which nothing comes."""
    def event(delta: dict[str, Any], usage: Usage, reason: str | None = None) -> bytes:
        chunk = {**head, "object": "chat.completion.chunk",
                 "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]}
        if options.include_usage or options.continuous_usage_stats:
            chunk["usage"] = _usage(usage) if options.continuous_usage_stats else None
        return sse(chunk)

    role: dict[str, Any] = {"role": "assistant"}
    try:
        async for piece in generation.pieces():
            yield event({**role, "content": piece.text}, piece.usage)
            role = {}
        reply = generation.reply
        calls = [{"index": i, **call.to_openai()} for i, call in enumerate(reply.tool_calls)]
        if calls or role:
            yield event({**role, "content": None, "tool_calls": calls} if calls else {**role, "content": ""},
                        reply.usage)
        yield event({}, reply.usage, reply.finish_reason)
        if options.include_usage:
            yield sse({**head, "object": "chat.completion.chunk", "choices": [], "usage": _usage(reply.usage)})
        yield b"data: [DONE]\n\n"
    except Exception as error:
        if not generation.answering:  # nothing was sent: the status can still say it
            raise
        yield sse(body_midway("/v1", error))


def _usage(usage: Usage) -> dict[str, Any]:
    return {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens, "prompt_tokens_details": {"cached_tokens": usage.cached_tokens}}


@router.post("/v1/embeddings")
async def embeddings(request: Request):
    body, service = await read(request, EmbeddingsBody), service_of(request)
    check_model(service, body.model)
    texts = [body.input] if isinstance(body.input, str) else body.input
    vectors = await service.run(service.chat.backend.embed, texts)
    tokens = sum(map(service.chat.count_tokens, texts))
    return {"object": "list", "model": model_id(service.chat),
            "data": [{"object": "embedding", "index": i, "embedding": _encoded(vector, body.encoding_format)}
                     for i, vector in enumerate(vectors)],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}


def _encoded(vector: list[float], encoding_format: str | None) -> list[float] | str:
    if encoding_format == "base64":  # the openai client's own default: little-endian float32
        return base64.b64encode(pack(f"<{len(vector)}f", *vector)).decode()
    return vector
