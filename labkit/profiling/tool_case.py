"""One request with tools on offer, and whether the calls that came are the right ones. Knows no model."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Case:
    """messages: OpenAI's. tools: OpenAI's dicts. several: whether more than one call may come.

    right: given the calls, [{"name", "arguments"}], whether they are right; none at all: an answer in words.
    """

    messages: tuple[Mapping[str, Any], ...]
    tools: tuple[Mapping[str, Any], ...]
    several: bool
    right: Callable[[Sequence[Mapping[str, Any]]], bool]
