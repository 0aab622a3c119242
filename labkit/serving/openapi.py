"""What the service says of itself at /openapi.json: its routes, what they take, and every status that can come.

Bodies are read by hand (see answering.read), so that errors are said in each dialect's own form; FastAPI cannot know
them, and they are listed here. A route that is not listed takes no body.
"""
from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib.metadata import version as installed
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from labkit.serving import agent_routes, ollama_about, ollama_routes, openai_routes, token_routes
from labkit.serving.identity import model_id

STATUSES = {
    400: "The request makes no sense; the message says why.", 401: "The API key is missing or wrong.",
    403: "A web page of another site, or an address that is not this machine's.", 404: "That is not here.",
    408: "The request was not complete in time.", 409: "The session is answering another request.",
    413: "The request is too large.", 422: "The model, or a tool, gave nothing that can be used.",
    429: "This client asks for more than its share. Retry-After says when to ask again.",
    500: "The model or the server failed. The server's log says why.", 501: "The model's runtime cannot do that.",
    503: "The queue is full, the server is being stopped, or something it needs is away. See Retry-After.",
    504: "The deadline passed.",
}
ALWAYS = (401, 403, 413)
READS = (400, 404, 408)
COMPUTES = (*READS, 500, 501, 503)
GENERATES = (*COMPUTES, 422, 429, 504)
TAKES: dict[str, tuple[type[BaseModel], tuple[int, ...]]] = {
    "/chat": (agent_routes.MessageBody, (*GENERATES, 409)),
    "/v1/chat/completions": (openai_routes.ChatBody, GENERATES),
    "/v1/embeddings": (openai_routes.EmbeddingsBody, COMPUTES),
    "/jobs": (openai_routes.ChatBody, (*READS, 429, 503)),
    "/tokenize": (token_routes.TokenizeBody, COMPUTES),
    "/api/chat": (ollama_routes.ChatBody, GENERATES),
    "/api/generate": (ollama_routes.GenerateBody, GENERATES),
    "/api/embed": (ollama_about.EmbedBody, COMPUTES),
    "/api/embeddings": (ollama_about.EmbedBody, COMPUTES),
    "/api/show": (ollama_about.NameBody, READS),
    "/api/pull": (ollama_about.NameBody, READS),
}
NO_BODY = {"/v1/models/{name}": (404,), "/jobs/{id}": (404, 503), "/figures": (400, 503)}
STREAMS = {"/chat": "text/event-stream", "/v1/chat/completions": "text/event-stream",
           "/api/chat": "application/x-ndjson", "/api/generate": "application/x-ndjson"}
TEXTS = {"/", "/metrics"}
TEXT = {"type": "string"}
ROLES = {"enum": ["system", "developer", "user", "assistant", "tool"]}
OBJECT = {"type": "object"}
FUNCTION = {"type": "object", "required": ["name"], "properties": {
    "name": {"type": "string", "pattern": "^[A-Za-z0-9_.:/-]{1,64}$"}, "description": TEXT, "parameters": OBJECT}}
FIELDS = {  # what the models of the bodies leave to be checked later
    "messages": {"type": "array", "minItems": 1, "maxItems": 2048, "items": {
        "type": "object", "required": ["role", "content"], "properties": {"role": ROLES, "content": TEXT}}},
    "tools": {"type": "array", "maxItems": 512, "items": {
        "type": "object", "required": ["type", "function"], "properties": {
            "type": {"const": "function"}, "function": FUNCTION}}},
    "tool_choice": {"anyOf": [{"enum": ["auto", "none", "required"]}, OBJECT]},
    "response_format": {"type": "object", "required": ["type"], "properties": {
        "type": {"enum": ["text", "json_object", "json_schema"]},
        "json_schema": {"type": "object", "properties": {"name": TEXT, "schema": OBJECT}}}},
    "max_tokens": {"type": "integer", "minimum": 1}, "max_completion_tokens": {"type": "integer", "minimum": 1},
    "temperature": {"type": "number", "minimum": 0}, "seed": {"type": "integer", "minimum": 0},
    "top_p": {"type": "number", "exclusiveMinimum": 0, "maximum": 1}, "n": {"const": 1},
}
HEADERS = {"X-Priority": {"type": "integer", "minimum": -9, "maximum": 9},
           "X-Deadline-S": {"type": "number", "exclusiveMinimum": 0}}


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of an application, made once."""
    if app.openapi_schema is None:
        found = get_openapi(title="labkit", version=installed("labkit"), routes=app.routes)
        fields = {**FIELDS, "model": {"const": model_id(app.state.service.chat)}}
        for path, methods in found["paths"].items():
            for operation in methods.values():
                _describe(path, operation, fields)
        found["components"] = {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}}
        found["security"] = [{}, {"key": []}]
        app.openapi_schema = found
    return app.openapi_schema


def _describe(path: str, operation: dict[str, Any], fields: Mapping[str, Any]) -> None:
    body, statuses = TAKES.get(path, (None, NO_BODY.get(path, ())))
    operation["responses"] = {"202" if path == "/jobs" else "200": _answer(path), **_errors(path, statuses)}
    if body:
        content = {"application/json": {"schema": _schema(body, fields)}}
        operation["requestBody"] = {"required": True, "content": content}
    if 429 in statuses:
        operation["parameters"] = [{"name": name, "in": "header", "required": False, "schema": schema}
                                   for name, schema in HEADERS.items()]


def _answer(path: str) -> dict[str, Any]:
    kinds = ["text/plain"] if path in TEXTS else ["application/json", *filter(None, [STREAMS.get(path)])]
    return {"description": "The answer.", "content": {kind: {} for kind in kinds}}


def _errors(path: str, statuses: Iterable[int]) -> dict[str, Any]:
    """Ollama's form of an error under /api, OpenAI's elsewhere."""
    inner = {"type": "object", "required": ["message", "type", "code"], "properties": {
        "message": TEXT, "type": TEXT, "code": TEXT}}
    schema = {"type": "object", "required": ["error"], "properties": {
        "error": TEXT if path.startswith("/api") else inner}}
    return {str(status): {"description": STATUSES[status], "content": {"application/json": {"schema": schema}}}
            for status in sorted({*ALWAYS, *statuses})}


def _schema(body: type[BaseModel], fields: Mapping[str, Any]) -> dict[str, Any]:
    """A body's JSON schema in one piece: what it refers to is put in its place, and so is what `fields` say better."""
    schema = body.model_json_schema()
    schema["properties"] |= {name: fields[name] for name in fields if name in schema["properties"]}
    parts = schema.pop("$defs", {})
    text = json.dumps(schema)
    for name, part in parts.items():
        text = text.replace(json.dumps({"$ref": f"#/$defs/{name}"}), json.dumps(part))
    return json.loads(text)
