"""Spans and histograms of served answers: OpenTelemetry's names, nothing of the conversation, off by default."""
from __future__ import annotations

import subprocess
import sys

import httpx
import pytest
from asking import STORY
from test_limits import ask, gated  # noqa: F401  fixtures

from labkit.serving import telemetry
from labkit.serving.tickets import Limits


@pytest.fixture
def seen(monkeypatch):
    """(finished spans, what the histograms hold): providers of this test's own, which a process may set only once."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider([reader])
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry.trace, "get_tracer", tracers.get_tracer)
    monkeypatch.setattr(telemetry.metrics, "get_meter", meters.get_meter)
    telemetry._histograms.cache_clear()
    yield exporter.get_finished_spans, lambda: {
        m.name: m.data.data_points for r in reader.get_metrics_data().resource_metrics
        for s in r.scope_metrics for m in s.metrics}
    telemetry._histograms.cache_clear()


def test_an_answer_of_the_real_model(server, seen):
    spans, histograms = seen
    body = {"messages": STORY, "max_tokens": 8, "temperature": 0.5, "seed": 7}
    reply = httpx.post(f"{server.base_url}/v1/chat/completions", json=body, timeout=60).json()
    (span,) = spans()
    about = dict(span.attributes)
    assert span.name == "chat SmolLM2-135M-Instruct F16" and span.status.is_unset and span.kind.name == "SERVER"
    assert about["gen_ai.operation.name"] == "chat" and about["gen_ai.request.model"] == "SmolLM2-135M-Instruct F16"
    assert (about["gen_ai.usage.input_tokens"], about["gen_ai.usage.output_tokens"]) == (
        reply["usage"]["prompt_tokens"], 8)
    assert about["gen_ai.response.finish_reasons"] == ("length",)
    assert (about["gen_ai.request.max_tokens"], about["gen_ai.request.seed"]) == (8, 7)
    assert [event.name for event in span.events] == ["labkit.turn"]
    assert "dragon" not in span.to_json()
    found = histograms()
    assert set(found) == {"gen_ai.server.request.duration", "gen_ai.server.time_to_first_token"}
    assert found["gen_ai.server.request.duration"][0].count == 1


def test_one_that_came_too_late(ask, gated, seen):  # noqa: F811
    spans, histograms = seen
    assert ask(Limits(at_once=1))({"X-Deadline-S": "0.2"}).status_code == 504
    (span,) = spans()
    assert span.attributes["error.type"] == "too_late" and not span.status.is_ok
    assert "gen_ai.usage.output_tokens" not in span.attributes
    (point,) = histograms()["gen_ai.server.request.duration"]
    assert point.attributes["error.type"] == "too_late"


def test_nothing_is_recorded_until_a_provider_is_set():
    """As a program does it: in a process of its own, because a provider is set once."""
    code = """
from types import SimpleNamespace
from labkit.serving import telemetry
chat = SimpleNamespace(model="m")
told = telemetry.Told("chat", chat, {})
told.turn()
told.end(None, "failed", 0.1)
print(told._span.is_recording())
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
trace.set_tracer_provider(TracerProvider())
print(telemetry.Told("chat", chat, {})._span.is_recording())
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True)
    assert told.stdout.split() == ["False", "True"]
