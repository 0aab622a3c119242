"""What a backend is: one generating primitive, and a statement of what it can do natively.

A backend turns a `Request` into `Chunk`s and knows nothing of tools, agents or replies;
`labkit.backends.chat` builds those on top, once, for every runtime.
"""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from labkit.backends.reply import Usage
from labkit.tools.constraint import Constraint


@dataclass(frozen=True)
class Request:
    """One generation. `messages` are OpenAI's (role, content), already flattened to plain text."""

    messages: Sequence[dict[str, Any]]
    constraint: Constraint | None = None
    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chunk:
    """A piece of the answer. The last one carries `finish_reason` and the token counts.

    Earlier ones may carry the counts so far. One without tokens says that a long prompt is being read.
    """

    text: str = ""
    tokens: int = 1
    finish_reason: str | None = None  # "stop" | "length"
    usage: Usage | None = None


@dataclass(frozen=True)
class Capabilities:
    """What the runtime does natively, found by probing it."""

    constraints: frozenset[str] = frozenset()  # kinds of Constraint it enforces while decoding
    scores: bool = False                       # log-likelihood of a given text
    context_tokens: int | None = None
    prefix_cache: bool = False
    embeddings: bool = False

    def __repr__(self) -> str:
        on = ", ".join(sorted(self.constraints)) or "none (validate and repair)"
        return (f"Capabilities(constraints: {on}; scores: {self.scores}; "
                f"context: {self.context_tokens} tokens; prefix cache: {self.prefix_cache})")


class Backend(ABC):
    """A runtime with a model loaded. Safe to call from several threads."""

    name: str   # as in connect(name)
    model: str  # what the runtime calls the model

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities: ...

    @abstractmethod
    def generate(self, request: Request) -> Iterator[Chunk]:
        """Yield the answer in pieces; closing the iterator stops the generation.

        Raises ContextFull, BackendUnavailable or BadRequest; never yields an empty failure.
        """

    def loglikelihood(self, pairs: Sequence[tuple[list[dict[str, Any]], str]]) -> list[float]:
        """Sum of log P(token | before) (nats) over each text, as the answer to its messages."""
        raise NotImplementedError(f"{self.name} cannot score text")

    def count_tokens(self, text: str) -> int:
        """Length of `text` in this model's tokens."""
        raise NotImplementedError(f"{self.name} cannot count tokens")

    def close(self) -> None:  # noqa: B027, a runtime may hold nothing
        """Release the model. A later call raises BackendUnavailable."""

    @classmethod
    def why_not(cls) -> str | None:
        """None when usable on this machine, else one line that says what would make it so."""
        return None
