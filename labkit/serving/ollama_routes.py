"""Ollama's routes that answer: chat and generate, over the one model served.

Durations are in nanoseconds, from this server's own clock. Options of llama.cpp that the model below
does not have are ignored, as Ollama does with options it does not know; the answer's header
Labkit-Ignored names them. Without temperature an answer is the likeliest one (0), without num_predict
it ends at 512 tokens: a small model is best so.
"""
from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from labkit.backends.reply import Reply
from labkit.errors import BadRequest
from labkit.serving.answering import Messages, Tools, lines_response, read, refuse, service_of
from labkit.serving.failures import body_midway
from labkit.serving.generation import Generation, Piece, Service
from labkit.serving.identity import check_model, model_id, time_of

router = APIRouter(prefix="/api")
MAX_HEADER = 1000  # characters
_KNOWN = {"temperature", "top_p", "seed", "stop", "num_predict"}
_REFUSED = {"images": "the models read text only", "raw": "prompts go through the model's own template",
            "template": "prompts go through the model's own template", "suffix": "there is no filling in",
            "context": "send the conversation as messages", "think": "the model does not think aloud",
            "logprobs": "log-probabilities are not given"}


class GenerateBody(BaseModel, extra="allow"):
    """What /api/generate and /api/chat have in common."""

    model: str
    stream: bool | None = True
    format: str | dict[str, Any] | None = None
    options: dict[str, Any] | None = None
    keep_alive: float | str | None = None  # the one model stays loaded
    prompt: str = ""
    system: str | None = None

    def conversation(self) -> list[dict[str, Any]]:
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": self.prompt}] if self.prompt else []

    def arguments(self, context_tokens: int | None) -> dict[str, Any]:
        """As `Chat.stream` takes them."""
        refuse(self.model_extra, _REFUSED)
        given = self.options or {}
        options = {name: given.get(name) for name in ("temperature", "top_p", "seed")}
        if isinstance(given.get("seed"), int) and given["seed"] < 0:
            options["seed"] = None  # Ollama's way to say: any
        limit = given.get("num_predict")
        options["max_tokens"] = context_tokens if isinstance(limit, int) and limit < 0 else limit
        options |= {"stop": given.get("stop") or None, "schema": self._schema()}
        return {name: value for name, value in options.items() if value is not None}

    def _schema(self) -> dict[str, Any] | None:
        if isinstance(self.format, str):
            if self.format not in ("", "json"):
                raise BadRequest(f'format={self.format!r}: use "json" or a JSON schema.')
            return {"type": "object"} if self.format else None
        return self.format

    def ignored(self) -> str:
        names = ", ".join(map(quote, sorted((self.options or {}).keys() - _KNOWN)))  # a header holds ASCII, on one line
        return names[:MAX_HEADER]


class ChatBody(GenerateBody):
    messages: Messages = []
    tools: Tools | None = None

    def conversation(self) -> list[dict[str, Any]]:
        for message in self.messages:
            refuse(message, _REFUSED)
        return [{"content": "", **message} for message in self.messages]  # Ollama's client leaves empty text out

    def arguments(self, context_tokens: int | None) -> dict[str, Any]:
        return {**super().arguments(context_tokens), **({"tools": self.tools} if self.tools else {})}


@router.post("/chat")
async def chat(request: Request):
    return await _answer(request, ChatBody, lambda text, calls: {"message": _message(text, calls)})


@router.post("/generate")
async def generate(request: Request):
    return await _answer(request, GenerateBody, lambda text, calls: {"response": text})


def _message(text: str, calls: list) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [{"id": c.id, "function": {"index": i, "name": c.name, "arguments": c.arguments}}
                                 for i, c in enumerate(calls)]
    return message


async def _answer(request: Request, kind: type[GenerateBody], payload):
    """payload: (text, tool calls) -> the fields that carry them."""
    body, service = await read(request, kind), service_of(request)
    check_model(service, body.model)
    arguments, conversation = body.arguments(service.chat.capabilities.context_tokens), body.conversation()
    if not conversation:  # Ollama's way to say: load the model
        return {**_head(service), **payload("", []), "done": True, "done_reason": "load"}
    generation = Generation(service, conversation, arguments, service.ticket(request))
    if body.stream is not False:
        response = await lines_response(request, generation, _lines(service, generation, payload),
                                        "application/x-ndjson")
    else:
        reply = await generation.whole(request)
        response = JSONResponse({**_head(service), **payload(reply.text, reply.tool_calls),
                                 **_end(generation, reply)})
    if ignored := body.ignored():
        response.headers["Labkit-Ignored"] = ignored
    return response


async def _lines(service: Service, generation: Generation, payload) -> AsyncIterator[bytes]:
    try:
        async for piece in generation.pieces():
            yield _line({**_head(service), **payload(piece.text, []), "done": False, **_counts(piece)})
        reply = generation.reply
        if reply.tool_calls:
            yield _line({**_head(service), **payload("", reply.tool_calls), "done": False})
        yield _line({**_head(service), **payload("", []), **_end(generation, reply)})
    except Exception as error:
        if not generation.answering:  # nothing was sent: the status can still say it
            raise
        yield _line(body_midway("/api", error))


def _counts(answer: Piece | Reply) -> dict[str, int]:
    """The token counts so far: Ollama gives them at the end, this server with every piece."""
    return {"prompt_eval_count": answer.usage.prompt_tokens, "eval_count": answer.usage.completion_tokens}


def _end(generation: Generation, reply: Reply) -> dict[str, Any]:
    first, last = reply.timing.ttft_s, reply.timing.total_s
    reason = "length" if reply.finish_reason == "length" else "stop"
    return {"done": True, "done_reason": reason, "total_duration": _ns(generation.elapsed_s), "load_duration": 0,
            **_counts(reply), "prompt_eval_duration": _ns(first), "eval_duration": _ns(last - first)}


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


def _head(service: Service) -> dict[str, Any]:
    return {"model": model_id(service.chat), "created_at": time_of(datetime.now(UTC))}


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"
