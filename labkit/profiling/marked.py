"""Requests whose answers can only be their own: the model has to write the request's marker, and some words of its own.

An answer that went to somebody else, or was made for another request, is seen at once.
"""
from __future__ import annotations

import json
from typing import Any


def body(marker: str, user: str = "", letters: int = 60) -> dict[str, Any]:
    """A chat completion: its marker, and a text of this length at least. For POST /v1/chat/completions and /jobs."""
    schema = {"type": "object", "required": ["marker", "text"], "properties": {
        "marker": {"const": marker}, "text": {"type": "string", "minLength": letters, "maxLength": letters + 10}}}
    return {"messages": [{"role": "user", "content": f"A story about {marker}."}], "max_tokens": 200, "user": user,
            "response_format": {"type": "json_schema", "json_schema": {"name": "marked", "schema": schema}}}


def own(completion: dict[str, Any], marker: str) -> bool:
    """Whether a chat completion is the answer to the request with this marker."""
    try:
        return json.loads(completion["choices"][0]["message"]["content"])["marker"] == marker
    except (ValueError, LookupError, TypeError):
        return False
