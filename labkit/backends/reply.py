"""What comes back from a model: the answer, what it cost, and when its tokens arrived."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from labkit.tools.call import ToolCall


@dataclass(frozen=True)
class Usage:
    """Token counts. `cached_tokens` of the prompt were already in the KV cache and cost nothing."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
        )


@dataclass(frozen=True)
class Timing:
    """When tokens arrived, in seconds from the request, by vLLM's definitions.

    arrivals: (seconds, tokens) per chunk, in order. A chunk of more than one token is text that
    the constraint forced, evaluated in one step.
    """

    arrivals: tuple[tuple[float, int], ...] = ()
    total_s: float = 0.0

    @property
    def ttft_s(self) -> float:
        """Time to first token (s): prefill and the first decode step."""
        return self.arrivals[0][0] if self.arrivals else self.total_s

    @property
    def itl_s(self) -> tuple[float, ...]:
        """Inter-token latencies (s): the gaps between arrivals, one per chunk after the first."""
        times = [t for t, _ in self.arrivals]
        return tuple(b - a for a, b in zip(times, times[1:], strict=False))

    @property
    def tpot_s(self) -> float:
        """Time per output token (s) after the first: (last arrival - TTFT) / (tokens - first chunk)."""
        later = sum(n for _, n in self.arrivals[1:])
        return (self.arrivals[-1][0] - self.ttft_s) / later if later else float("nan")

    @property
    def tokens_per_s(self) -> float:
        """Decode speed (tokens/s): 1 / TPOT. Not a number for an answer of one chunk."""
        return 1.0 / self.tpot_s if self.tpot_s > 0 else float("nan")


@dataclass
class Reply:
    """A whole answer."""

    text: str
    tool_calls: list[ToolCall] = field(default_factory=list)
    usage: Usage = Usage()
    timing: Timing = Timing()
    finish_reason: str = "stop"  # "stop" | "length" | "tool_calls" | "cancelled"
    parsed: Any = None           # the value of `schema=`
    model: str = ""
    confidence: float | None = None  # probability given to the tool decision, 0 to 1

    @property
    def message(self) -> dict[str, Any]:
        """This reply as an OpenAI assistant message, to append to the conversation."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text or None}
        if self.tool_calls:
            message["tool_calls"] = [call.to_openai() for call in self.tool_calls]
        return message

    def _footer(self) -> str:
        speed = self.timing.tokens_per_s
        rate = f"{speed:.0f} tokens/s" if speed == speed else "one step"
        return (f"{self.usage.prompt_tokens} + {self.usage.completion_tokens} tokens · "
                f"first after {self.timing.ttft_s * 1000:.0f} ms · {rate} · {self.finish_reason}")

    def __str__(self) -> str:
        return self.text or "\n".join(map(str, self.tool_calls))

    def _repr_markdown_(self) -> str:
        body = self.text if self.text else "\n".join(f"- `{call}`" for call in self.tool_calls)
        return f"{body}\n\n<small>{self._footer()}</small>"
