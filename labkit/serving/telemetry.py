"""A served answer as OpenTelemetry sees it: a span and two histograms, named as its conventions for generative AI say.

Off until the program that serves sets a provider; then every answer is told, and nothing of what was asked or said:

    from opentelemetry import trace
    trace.set_tracer_provider(TracerProvider())     # with the exporter of your choice

Names: OpenTelemetry, Semantic conventions for generative AI systems. They stand here as text, because the constants of
the Python package have moved more than once.
"""
from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from labkit.backends.chat import Chat
from labkit.backends.reply import Reply

NAME = "labkit.serving"
OPTIONS = {name: f"gen_ai.request.{name}" for name in ("max_tokens", "temperature", "top_p", "seed")}


class Told:
    """One request, from its arrival to its end. operation: "chat" or "invoke_agent"."""

    def __init__(self, operation: str, chat: Chat, arguments: Mapping[str, Any]):
        self._about = {"gen_ai.operation.name": operation, "gen_ai.provider.name": "labkit",
                       "gen_ai.request.model": chat.model}
        asked = {name: arguments[key] for key, name in OPTIONS.items() if arguments.get(key) is not None}
        self._span = trace.get_tracer(NAME).start_span(f"{operation} {chat.model}", kind=SpanKind.SERVER,
                                                       attributes={**self._about, **asked})

    def turn(self) -> None:
        """Its waiting is over."""
        self._span.add_event("labkit.turn")

    def end(self, reply: Reply | None, outcome: str, total_s: float) -> None:
        """outcome: as in labkit's metrics; "ok", or what went wrong."""
        about = {**self._about, **({} if outcome == "ok" else {"error.type": outcome})}
        duration, first = _histograms()
        duration.record(total_s, about)
        if reply is not None:
            self._span.set_attributes({
                "gen_ai.response.model": reply.model, "gen_ai.response.finish_reasons": (reply.finish_reason,),
                "gen_ai.usage.input_tokens": reply.usage.prompt_tokens,
                "gen_ai.usage.output_tokens": reply.usage.completion_tokens})
            first.record(reply.timing.ttft_s, about)
        if outcome != "ok":
            self._span.set_attribute("error.type", outcome)
            self._span.set_status(Status(StatusCode.ERROR, outcome))
        self._span.end()


@cache
def _histograms():
    """(duration, time to first token); they begin to count when a provider is set."""
    meter = metrics.get_meter(NAME)
    return (meter.create_histogram("gen_ai.server.request.duration", "s", "From a request's arrival to its end."),
            meter.create_histogram("gen_ai.server.time_to_first_token", "s", "From its turn to its first token."))
