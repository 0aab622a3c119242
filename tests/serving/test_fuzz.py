"""The service by its own OpenAPI document, asked at random: every answer is one that the document declares."""
from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import suppress

import httpx
import hypothesis
import pytest
import schemathesis
from asking import PARIS
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

import labkit as lk
from labkit.backends.base import Backend, Capabilities, Chunk
from labkit.backends.reply import Usage
from labkit.serving.app import create_app
from labkit.serving.background import serve_in_background
from labkit.serving.job_store import JobStore
from labkit.serving.openapi import TAKES
from labkit.serving.tickets import Limits

CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]


class Brief(Backend):
    """Says one word, whatever it is asked: many requests in little time, and none is the model's fault."""

    name = model = "brief"
    capabilities = Capabilities()

    def generate(self, request):
        yield Chunk("word", finish_reason="stop", usage=Usage(1, 1))


def described(slm, folder, limits=None):
    """A server with all its routes, and what it says of itself; afterwards it must answer as before."""
    with serve_in_background(slm, limits=limits, store=JobStore(folder / "jobs.sqlite"), agent=lk.Agent(slm)) as server:
        yield schemathesis.openapi.from_url(f"{server.base_url}/openapi.json")
        with httpx.Client(base_url=server.base_url, timeout=30) as client:
            told = client.post("/v1/chat/completions", json={"messages": PARIS, "max_tokens": 4})
            assert told.status_code == 200 and told.json()["choices"][0]["message"]["content"]
            assert client.post("/chat", json={"message": "Hello"}).status_code == 200


@pytest.fixture(scope="module")
def brief(tmp_path_factory):
    yield from described(lk.Chat(Brief()), tmp_path_factory.mktemp("brief"))


@pytest.fixture(scope="module")
def real(slm, tmp_path_factory):
    yield from described(slm, tmp_path_factory.mktemp("real"), Limits(deadline_s=10.0))


def ask_at_random(schema, examples: int, paths=None, **options) -> dict[str, Counter]:
    """Each route, with what fits its description and with what does not, the same each time; how often which status."""
    seen: dict[str, Counter] = defaultdict(Counter)

    def ask(case):
        answer = case.call_and_validate(checks=CHECKS, timeout=30, **options)
        seen[case.operation.label][answer.status_code] += 1
        assert answer.status_code != 500, answer.text
    settings = hypothesis.settings(max_examples=examples, deadline=None, database=None, derandomize=True,
                                   suppress_health_check=list(hypothesis.HealthCheck))
    for operation in (found.ok() for found in schema.get_all_operations()):
        for mode in schemathesis.GenerationMode:
            if paths is None or operation.path in paths:
                with suppress(hypothesis.errors.Unsatisfiable):  # a route that takes nothing can be asked in one way
                    settings(hypothesis.given(operation.as_strategy(generation_mode=mode))(ask))()
    return seen


def test_every_status_is_declared_and_none_is_a_failure(brief):
    seen = ask_at_random(brief, 20)
    assert all({200, 400} <= set(seen[route]) for route in ("POST /chat", "POST /v1/chat/completions",
                                                            "POST /api/chat", "POST /api/generate")), seen
    assert {202, 400} <= set(seen["POST /jobs"]) and set(seen["GET /health"]) == {200}


def test_nor_is_one_with_the_real_model(real):
    seen = ask_at_random(real, 10, ("/v1/chat/completions", "/api/generate"), headers={"X-Deadline-S": "0.3"})
    assert seen["POST /v1/chat/completions"][400] and sum(map(sum, (c.values() for c in seen.values()))) > 20


def test_every_route_with_a_body_is_described():
    app = create_app(lk.Chat(Brief()), "key")
    document = app.openapi()
    posts = {path for path, methods in document["paths"].items() if "post" in methods}
    assert posts == set(TAKES) and all("requestBody" in document["paths"][path]["post"] for path in posts)
    assert "messages" in document["paths"]["/jobs"]["post"]["requestBody"]["content"]["application/json"]["schema"][
        "properties"]


def test_the_document_is_behind_the_key():
    with serve_in_background(lk.Chat(Brief()), "key") as server:
        url = f"{server.base_url}/openapi.json"
        assert httpx.get(url).status_code == 401
        assert httpx.get(url, headers={"Authorization": "Bearer key"}).json()["openapi"].startswith("3.")
