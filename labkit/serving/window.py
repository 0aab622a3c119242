"""The last minute of a service in figures: how long answers took, how many failed, how fast they came."""
from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from labkit.intervals import percentile
from labkit.serving.admission import Admission
from labkit.serving.metrics import Ended

WINDOW_S = 60.0
UNITS = {  # every figure there can be; those of requests are of the last WINDOW_S seconds
    "requests_running": "answers in the making",
    "requests_waiting": "requests in the queue",
    "requests_per_s": "requests that ended, a second",
    "error_share": "of them, how many failed through the service: a status of 429 or from 500",
    "queue_p95_s": "seconds until a request's turn",
    "ttft_p50_s": "seconds until the first token, the waiting included",
    "ttft_p95_s": "seconds until the first token, the waiting included",
    "latency_p50_s": "seconds until the end of an answer",
    "latency_p95_s": "seconds until the end of an answer",
    "tokens_per_s": "tokens written, a second, in answers that ended",
    "uptime_s": "seconds since the service began",
}
PERCENTILES = {"queue_p95_s": ("queued_s", 95), "ttft_p50_s": ("ttft_s", 50), "ttft_p95_s": ("ttft_s", 95),
               "latency_p50_s": ("total_s", 50), "latency_p95_s": ("total_s", 95)}


def failed(ended: Ended) -> bool:
    """Whether the service, not the client, is why there was no answer. A pause is no failure: it was meant."""
    return ended.outcome != "paused" and (ended.status == 429 or ended.status >= 500)


class Window:
    """began: time.monotonic() when the service began."""

    def __init__(self, began: float):
        self._began, self._ended = began, deque()

    def figures(self, new: Iterable[Ended], admission: Admission, at: float) -> dict[str, float]:
        """All that is known at `at` (time.monotonic()). Without a request there is no latency and no share of errors,
        and they are left out. What a pause refused is in no figure: an alert that pauses must be able to end."""
        self._ended += [e for e in new if e.outcome != "paused"]
        while self._ended and self._ended[0].at < at - WINDOW_S:
            self._ended.popleft()
        seconds = max(1e-9, min(WINDOW_S, at - self._began))
        return {"requests_running": admission.serving, "requests_waiting": admission.waiting,
                "requests_per_s": len(self._ended) / seconds, "uptime_s": at - self._began,
                "tokens_per_s": sum(e.output_tokens for e in self._ended) / seconds, **self._of_requests()}

    def _of_requests(self) -> dict[str, float]:
        found = {}
        if self._ended:
            found["error_share"] = sum(map(failed, self._ended)) / len(self._ended)
        for name, (field, percent) in PERCENTILES.items():
            if values := [value for e in self._ended if (value := getattr(e, field)) is not None]:
                found[name] = percentile(values, percent)
        return found
