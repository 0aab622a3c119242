"""What a summary suggests, each time with the figure that suggests it. Rules of thumb: thresholds are named here.

Where there are too few requests, nothing is said of them: a 95th percentile of ten is the slowest one.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit.serving.summary import Summary

ENOUGH = 20          # requests, to say something of them
LONG_QUEUE_S = 1.0   # 95th percentile
SLOW_START_S = 2.0   # of the first token, after the waiting
BUSY = 90.0          # % of the processors
LITTLE = 500e6       # bytes of free memory
ERRORS = 0.01        # share
LOW_BATTERY = 20.0   # %


def advice(seen: Summary) -> list[str]:
    """What could be done, the most pressing first; none when nothing stands out."""
    rules: tuple[Callable[[Summary], str | None], ...] = (_errors, _memory, _queue, _start, _battery, _idle)
    return [text for rule in rules if (text := rule(seen))]


def _over(seen: Summary) -> str:
    return f"over {seen.span_s:.0f} s" if seen.span_s < 120 else f"over {seen.span_s / 60:.3g} minutes"


def _errors(seen: Summary) -> str | None:
    if seen.counted < ENOUGH or not seen.errors or seen.error_share < ERRORS:
        return None
    kinds = ", ".join(f"{n} × {status}" for status, n in sorted(seen.errors.items()))
    most = max(seen.errors, key=seen.errors.__getitem__)
    cure = {429: "clients ask more than their rate or their half of the queue: raise --rate or --waiting, or let "
                 "them wait", 503: "the queue is full or the model away: see /health/why; then a second server",
            504: "deadlines pass: give answers fewer tokens, take on less with --waiting, or use a faster model",
            }.get(most, "the log says why")
    return f"{seen.error_share:.1%} of {seen.counted} requests failed {_over(seen)} ({kinds}): {cure}."


def _memory(seen: Summary) -> str | None:
    free = seen.figures.get("free_memory_bytes")
    if free is None or free.least >= LITTLE:
        return None
    return (f"Free memory went down to {free.least / 1e6:.0f} MB {_over(seen)}: take a smaller level of the model, "
            "a shorter context, or close other programs.")


def _queue(seen: Summary) -> str | None:
    queued, busy = seen.queued, seen.figures.get("cpu_percent")
    if queued is None or queued.n < ENOUGH or queued.p95 < LONG_QUEUE_S:
        return None
    begin = f"Queue delay p95 was {queued.p95:.1f} s {_over(seen)}, of a latency p95 of {seen.latency.p95:.1f} s"
    if busy is not None and busy.mean < BUSY:
        return f"{begin}, with processors {busy.mean:.0f} % busy: there is room for a higher --at-once."
    full = f", with processors {busy.mean:.0f} % busy" if busy else ""
    return f"{begin}{full}: more at once would only be slower; use a faster model or a second machine."


def _start(seen: Summary) -> str | None:
    if seen.ttft is None or seen.ttft.n < ENOUGH or seen.ttft.p50 - seen.queued.p50 < SLOW_START_S:
        return None
    return (f"The first token came {seen.ttft.p50 - seen.queued.p50:.1f} s after its turn (p50 {_over(seen)}), with "
            f"{seen.input_tokens / seen.ttft.n:.0f} tokens of prompt: shorten prompts, or offer fewer tools.")


def _battery(seen: Summary) -> str | None:
    left, plugged = seen.figures.get("battery_percent"), seen.figures.get("plugged")
    if left is None or plugged is None or plugged.now or left.now >= LOW_BATTERY:
        return None
    return f"The battery is at {left.now:.0f} % and not plugged in: take on less, or a smaller level of the model."


def _idle(seen: Summary) -> str | None:
    held = seen.figures.get("rss_bytes")
    if seen.count or seen.span_s < 0.9 * 60 * seen.minutes or seen.minutes < 5 or held is None:
        return None
    return f"No request came {_over(seen)}, and {held.now / 1e6:.0f} MB are held: the service could be stopped."
