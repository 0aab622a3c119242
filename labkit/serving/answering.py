"""What the routes share: reading a request's body, and sending an answer in lines as it comes."""
from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, Field, ValidationError
from starlette.responses import Response

from labkit.errors import BadRequest
from labkit.serving.generation import Generation, Service

Body = TypeVar("Body", bound=BaseModel)
# As many as OpenAI takes. Of 200 000 empty ones a chat template makes half an hour's work, and holds everybody up.
Messages = Annotated[list[dict[str, Any]], Field(max_length=2048)]
Tools = Annotated[list[dict[str, Any]], Field(max_length=512)]


def service_of(request: Request) -> Service:
    """The model behind this server."""
    return request.app.state.service


async def read(request: Request, kind: type[Body]) -> Body:
    """The request's JSON, whatever content type it claims: curl -d says it is a form."""
    data = await request.body()
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise BadRequest("; ".join(map(_sentence, error.errors()[:3]))) from error


def _sentence(error: Mapping[str, Any]) -> str:
    where = ".".join(map(str, error["loc"])) or "The body"
    return f"{where}: {error['msg']}"


def refuse(given: Mapping[str, Any] | None, refused: Mapping[str, str]) -> None:
    """Raise BadRequest for a field that asks for what is not there. Its empty value asks for nothing."""
    for name, why in refused.items():
        if (given or {}).get(name):
            raise BadRequest(f"{name}={given[name]!r} is not possible here: {why}. Leave it out.")


def sse(value: Any) -> bytes:
    """A server-sent event."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode(errors="replace")


async def lines_response(request: Request, generation: Generation, lines: AsyncIterator[bytes],
                         media_type: str) -> Response:
    """A response that begins with the first line: an error before it still gets a status of its own."""
    generation.watch(request)
    first = await anext(lines)
    generation.answering = True
    return _Lines(generation, first, lines, media_type)


class _Lines(Response):
    """Lines as they come. Whatever ends the sending ends the generation."""

    def __init__(self, generation: Generation, first: bytes, lines: AsyncIterator[bytes], media_type: str):
        super().__init__(media_type=media_type, headers={"cache-control": "no-cache"})
        del self.headers["content-length"]
        self._generation, self._first, self._lines = generation, first, lines

    async def __call__(self, scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            await send({"type": "http.response.body", "body": self._first, "more_body": True})
            async for line in self._lines:
                await send({"type": "http.response.body", "body": line, "more_body": True})
        finally:
            self._generation.stop()
        await send({"type": "http.response.body", "body": b""})
