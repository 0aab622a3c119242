"""What the service has done, in figures that Prometheus reads: GET /metrics.

Names and buckets are those of OpenTelemetry's conventions for generative AI where there are any; dots become
underscores, as Prometheus wants it. A registry of its own, so that two services in one process do not add up.
"""
from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from labkit.backends.reply import Reply
from labkit.errors import BackendUnavailable, BadRequest
from labkit.serving.admission import Admission, Busy, Left, Paused, TooLate, TooMany
from labkit.serving.failures import describe

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
FIRST = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
RECENT = 20_000  # ends of requests kept for who asks for them
CLIENT_LEFT = 499  # the status that nginx gives what nobody reads
OUTCOMES = ((Paused, "paused"), (TooMany, "rate_limited"), (Busy, "overloaded"), (TooLate, "too_late"),
            (Left, "client_left"), (BadRequest, "bad_request"), (BackendUnavailable, "backend_unavailable"),
            (Exception, "failed"))


@dataclass(frozen=True)
class Ended:
    """A request that is over. at: time.monotonic().

    queued_s: until its turn; ttft_s: until its first token, the waiting included; total_s: until its end. None but for
    complete answers: how soon something failed says nothing of how fast the service is.
    """

    at: float
    outcome: str
    status: int
    queued_s: float | None = None
    ttft_s: float | None = None
    total_s: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0


class Metrics:
    """admission: its queue is shown as it is when somebody looks."""

    def __init__(self, admission: Admission):
        self.registry = own = CollectorRegistry()
        self._recent: deque[Ended] = deque(maxlen=RECENT)
        self.requests = Counter("labkit_requests", "Answers by how they ended.", ["outcome"], registry=own)
        self.tokens = Counter("gen_ai_server_token_usage", "Tokens read (input) and written (output).",
                              ["gen_ai_token_type"], registry=own)
        self.queued = Histogram("labkit_queue_seconds", "Time until a request's turn.", buckets=FIRST, registry=own)
        self.first = Histogram("gen_ai_server_time_to_first_token_seconds", "From a request's turn to its first token.",
                               buckets=FIRST, registry=own)
        self.duration = Histogram("gen_ai_server_request_duration_seconds", "From the request to its end.",
                                  buckets=SECONDS, registry=own)
        for name, about, value in (("labkit_requests_running", "Answers in the making.", lambda: admission.serving),
                                   ("labkit_requests_waiting", "In the queue.", lambda: admission.waiting)):
            Gauge(name, about, registry=own).set_function(value)
        ProcessCollector(registry=own)

    def ended(self, reply: Reply, queued_s: float, total_s: float) -> str:
        """An answer is complete; what its end is called here."""
        outcome = "client_left" if reply.finish_reason == "cancelled" else "ok"
        self.requests.labels(outcome).inc()
        self.tokens.labels("input").inc(reply.usage.prompt_tokens)
        self.tokens.labels("output").inc(reply.usage.completion_tokens)
        self.queued.observe(queued_s)
        self.first.observe(reply.timing.ttft_s)
        self.duration.observe(total_s)
        times = (queued_s, queued_s + reply.timing.ttft_s, total_s) if outcome == "ok" else (None, None, None)
        self._recent.append(Ended(time.monotonic(), outcome, 200 if outcome == "ok" else CLIENT_LEFT, *times,
                                  reply.usage.prompt_tokens, reply.usage.completion_tokens))
        return outcome

    def failed(self, error: BaseException) -> str:
        """An answer ended in an error; what it is called here."""
        outcome = next((name for kind, name in OUTCOMES if isinstance(error, kind)), "client_left")
        self.requests.labels(outcome).inc()
        status = describe(error)[0] if isinstance(error, Exception) and outcome != "client_left" else CLIENT_LEFT
        self._recent.append(Ended(time.monotonic(), outcome, status))
        return outcome

    def taken(self) -> list[Ended]:
        """The requests that ended since the last call. For one who asks."""
        return [self._recent.popleft() for _ in range(len(self._recent))]

    def text(self) -> bytes:
        """All of it, in Prometheus' text form."""
        return generate_latest(self.registry)
