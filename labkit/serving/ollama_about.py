"""Ollama's routes that tell: which model there is, what it can do, and that no other can be had here.

Nothing can be pulled, made or deleted: such a request is told so.
"""
from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib.metadata import version as installed
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from labkit.serving.answering import read, service_of
from labkit.serving.failures import NoSuchModel
from labkit.serving.generation import Service
from labkit.serving.identity import check_model, details, digest, file_of, metadata, model_id, time_of

router = APIRouter(prefix="/api")
API = "0.12.0"  # the version of Ollama's API that these routes follow; clients ask for a least one


class EmbedBody(BaseModel):
    model: str
    input: str | list[str] = ""
    prompt: str = ""  # of the older /api/embeddings


class NameBody(BaseModel):
    model: str | None = None
    name: str | None = None  # its older spelling


@router.get("/version")
async def version():
    return {"version": API, "server": f"labkit {installed('labkit')}"}


@router.get("/tags")
async def tags(request: Request):
    service = service_of(request)
    return {"models": [await _entry(service)]}


@router.get("/ps")
async def ps(request: Request):
    service = service_of(request)
    never = datetime.now(UTC) + timedelta(days=36500)  # it stays loaded as long as the server runs
    return {"models": [{**await _entry(service), "expires_at": time_of(never), "size_vram": 0,
                        "context_length": service.chat.capabilities.context_tokens}]}


async def _entry(service: Service) -> dict[str, Any]:
    name, path = model_id(service.chat), file_of(service.chat)
    return {"name": name, "model": name, "modified_at": _modified(service),
            "size": path.stat().st_size if path else 0,
            "digest": await service.run(digest, service.chat), "details": details(service.chat)}


def _modified(service: Service) -> str:
    path = file_of(service.chat)
    return time_of(datetime.fromtimestamp(path.stat().st_mtime if path else service.since, UTC))


@router.post("/show")
async def show(request: Request):
    body, service = await read(request, NameBody), service_of(request)
    check_model(service, body.model or body.name)
    about, can = details(service.chat), service.chat.capabilities
    info = {"general.architecture": about["family"], "general.basename": service.chat.model,
            f"{about['family']}.context_length": can.context_tokens}
    return {"modelfile": "", "parameters": "", "template": metadata(service.chat, "tokenizer.chat_template") or "",
            "modified_at": _modified(service), "details": about, "model_info": info,
            "capabilities": ["completion", "tools", *(["embedding"] if can.embeddings else [])]}


@router.post("/embed")
async def embed(request: Request):
    body, service, started = await read(request, EmbedBody), service_of(request), datetime.now(UTC)
    check_model(service, body.model)
    texts = [body.input] if isinstance(body.input, str) else body.input
    vectors = await service.run(service.chat.backend.embed, texts) if any(texts) else []
    spent = (datetime.now(UTC) - started).total_seconds()
    return {"model": model_id(service.chat), "embeddings": vectors,
            "total_duration": round(spent * 1e9), "load_duration": 0,
            "prompt_eval_count": sum(map(service.chat.count_tokens, texts))}


@router.post("/embeddings")
async def embeddings(request: Request):
    body, service = await read(request, EmbedBody), service_of(request)
    check_model(service, body.model)
    return {"embedding": (await service.run(service.chat.backend.embed, [body.prompt]))[0]}


@router.post("/pull")
async def pull(request: Request):
    body, service = await read(request, NameBody), service_of(request)
    try:
        check_model(service, body.model or body.name)
    except NoSuchModel as error:
        raise NoSuchModel(f"labkit serves one model and pulls none. {error} "
                          "To pull models, use Ollama itself.") from None
    return {"status": "success"}  # it is here already


@router.api_route("/{path:path}", methods=["GET", "HEAD", "POST", "DELETE"], include_in_schema=False)
async def cannot(request: Request, path: str):
    name = model_id(service_of(request).chat)
    return JSONResponse({"error": f"labkit serves one model, {name}, and has no /api/{path}. "
                                  "To make, copy or delete models, use Ollama itself."}, 501)
