"""POST /tokenize, as llama.cpp's server and vLLM have it: how long a text, or a conversation, is in tokens."""
from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel

from labkit.errors import BadRequest
from labkit.serving.answering import Messages, read, service_of
from labkit.serving.generation import Service
from labkit.serving.identity import check_model
from labkit.tools.messages import flatten, normalise

router = APIRouter()


class TokenizeBody(BaseModel):
    """content is llama.cpp's name for the text, prompt is vLLM's; messages are counted with their template."""

    model: str | None = None
    content: str | None = None
    prompt: str | None = None
    messages: Messages | None = None


@router.post("/tokenize")
async def tokenize(request: Request):
    body, service = await read(request, TokenizeBody), service_of(request)
    check_model(service, body.model)
    if (body.content, body.prompt, body.messages) == (None, None, None):
        raise BadRequest("Give the text as content or prompt, or a conversation as messages.")
    tokens, count = await service.run(_count, service, body)
    return {"count": count, "max_model_len": service.chat.capabilities.context_tokens,
            **({"tokens": tokens} if tokens is not None else {})}


def _count(service: Service, body: TokenizeBody) -> tuple[list[int] | None, int]:
    """(the tokens, where the runtime shows them, how many they are)."""
    backend, text = service.chat.backend, body.content if body.prompt is None else body.prompt
    if body.messages is not None:
        if not hasattr(backend, "prompt_tokens"):
            raise NotImplementedError(f"{backend.name} cannot count the tokens of a conversation; send a text")
        tokens = backend.prompt_tokens(flatten(normalise(body.messages)))
        return tokens, len(tokens)
    engine = getattr(backend, "engine", None)
    if hasattr(engine, "tokenize"):
        tokens = engine.tokenize(text)
        return tokens, len(tokens)
    return None, service.chat.count_tokens(text)
