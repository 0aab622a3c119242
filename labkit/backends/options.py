"""The options of one answer, checked."""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from labkit.backends.base import Request
from labkit.errors import BadRequest
from labkit.tools.constraint import Constraint
from labkit.tools.messages import flatten


@dataclass(frozen=True)
class Options:
    """How to generate. temperature 0 always takes the likeliest token, and then seed has no effect."""

    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: str | Sequence[str] | None = None

    def __post_init__(self) -> None:
        _require(isinstance(self.max_tokens, Integral) and self.max_tokens >= 1,
                 f"max_tokens={self.max_tokens!r}: use a whole number of at least 1.")
        _require(_number(self.temperature) and self.temperature >= 0,
                 f"temperature={self.temperature!r}: use 0 (always the likeliest token) or more.")
        _require(_number(self.top_p) and 0 < self.top_p <= 1,
                 f"top_p={self.top_p!r}: use more than 0, at most 1.")
        _require(self.seed is None or (isinstance(self.seed, Integral) and self.seed >= 0),
                 f"seed={self.seed!r}: use a whole number from 0 up, or None.")
        _require(self.stop is None or isinstance(self.stop, Sequence),
                 f"stop={self.stop!r}: use a text or a list of them.")
        _require(all(isinstance(s, str) and s for s in self.stops),
                 f"stop={self.stop!r}: use texts, none empty.")

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings as a tuple."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    def request(self, messages: Sequence[Mapping[str, Any]], constraint: Constraint | None = None) -> Request:
        """These options with a conversation, as a backend takes them."""
        return Request(flatten(messages), constraint, self.max_tokens, self.temperature, self.top_p,
                       self.seed, self.stops)


def check_whole(least: int, **settings: int | None) -> None:
    """Raise BadRequest, with its name, for a setting that is given and no whole number of at least `least`."""
    for name, value in settings.items():
        _require(value is None or (isinstance(value, int) and value >= least),
                 f"{name}={value!r}: use a whole number of at least {least}, or leave it out.")


def _number(value) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise BadRequest(otherwise)
