"""A model that is far away: asked again when it fails, within a time limit, and left alone while it is down.

And a stand-in for it, for machines that have no network. Knows no policies: those are in routing.
"""
from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labkit.backends.reply import Reply, Usage
from labkit.errors import BackendUnavailable, BadRequest
from labkit.tools.call import ToolCall
from labkit.tools.messages import normalise
from labkit.tools.tool import as_tools

FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 2.0


@dataclass(frozen=True)
class Breaker:
    """After `failures` in a row nobody asks for `rest_s` seconds; then one request tries."""

    failures: int = 3
    rest_s: float = 30.0

    def made(self):
        from circuitbreaker import CircuitBreaker
        return CircuitBreaker(self.failures, self.rest_s, expected_exception=BackendUnavailable, name="large model")


class Guarded:
    """slm: has labkit's chat(). Safe to call from several threads."""

    def __init__(self, slm: Any, tries: int, time_limit_s: float, breaker: Breaker):
        if tries < 1 or time_limit_s <= 0:
            raise BadRequest(f"tries={tries}, time_limit_s={time_limit_s}: at least 1, and more than 0 seconds.")
        self.slm, self.tries, self.time_limit_s = slm, tries, time_limit_s
        self.breaker = breaker.made()

    def chat(self, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> Reply:
        """Raises BackendUnavailable when it fails for good, takes too long, or is being left alone."""
        if self.breaker.opened:
            raise BackendUnavailable(f"It failed {self.breaker.failure_count} times in a row and is left alone for "
                                     f"{self.breaker.open_remaining} s more.")
        import tenacity
        end = time.monotonic() + self.time_limit_s
        again = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.tries) | tenacity.stop_before_delay(self.time_limit_s),
            wait=tenacity.wait_exponential(FIRST_WAIT_S, LONGEST_WAIT_S) + tenacity.wait_random(0, FIRST_WAIT_S),
            retry=tenacity.retry_if_exception_type(BackendUnavailable), reraise=True)
        with self.breaker:
            return again(self._in_time, messages, options, end)

    def _in_time(self, messages, options, end: float) -> Reply:
        """One try, in a thread of its own: a server that hangs must not hang us."""
        outcome, stream = {}, {}

        def work() -> None:
            try:
                if hasattr(self.slm, "stream"):
                    stream["it"] = self.slm.stream(messages, **options)
                    outcome["reply"] = stream["it"].reply
                else:
                    outcome["reply"] = self.slm.chat(messages, **options)
            except Exception as error:
                outcome["error"] = error
        thread = threading.Thread(target=work, daemon=True, name="large model")
        thread.start()
        thread.join(max(0.0, end - time.monotonic()))
        if "error" in outcome:
            raise outcome["error"]
        if thread.is_alive():
            if "it" in stream:
                stream["it"].stop()
            raise BackendUnavailable(f"It gave no answer within {self.time_limit_s:g} s.")
        return outcome["reply"]


class StandIn:
    """Stands in for a large model where none can be reached: it looks answers up, and says that it does.

    key: request -> the right tool calls, [{"name", "arguments"}], none for an answer in words. It is wrong at
    `error_rate`: calls nothing where it should, or a tool where it should not; and it takes `latency_s` seconds. State
    both where you show what it did. The same seed, the same errors.
    """

    def __init__(self, key: Mapping[str, Sequence[Mapping[str, Any]]], *, error_rate: float, latency_s: float,
                 seed: int = 0, sleep: Callable[[float], None] = time.sleep):
        if not 0 <= error_rate <= 1:
            raise BadRequest(f"error_rate={error_rate}: a share, 0 to 1.")
        self.key, self.error_rate, self.latency_s, self.seed, self._sleep = key, error_rate, latency_s, seed, sleep
        self.model = f"stand-in: an answer key, wrong in {error_rate:.0%}, {latency_s:g} s"

    def knows(self, request: str) -> bool:
        """Whether it would answer this one rightly."""
        return request in self.key and random.Random(f"{self.seed} {request}").random() >= self.error_rate

    def chat(self, conversation: Any, *, tools: Sequence[Any] = (), **_: Any) -> Reply:
        self._sleep(self.latency_s)
        messages = normalise(conversation)
        request = next((m["content"] for m in reversed(messages) if m["role"] == "user"), "")
        calls = [ToolCall(call["name"], dict(call["arguments"])) for call in self.key.get(request, ())]
        if request in self.key and not self.knows(request):
            calls = [] if calls else [ToolCall(tool.name) for tool in as_tools(tools)[:1]]
        text = "" if calls else "No tool fits."
        usage = Usage(_tokens("".join(m["content"] for m in messages)), _tokens(text + "".join(map(str, calls))))
        return Reply(text, calls, usage, finish_reason="tool_calls" if calls else "stop", model=self.model)

    def __repr__(self) -> str:
        return f"<{self.model}>"


def _tokens(text: str) -> int:
    """Roughly: a token of English has four characters."""
    return -(-len(text) // 4)
