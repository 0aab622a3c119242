"""What a backend is: one generating primitive, and a statement of what it can do natively.

A backend turns a `Request` into `Chunk`s and knows nothing of tools, agents or replies;
`labkit.backends.chat` builds those on top, once, for every runtime.
"""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar

from labkit.backends.reply import Usage
from labkit.tools.call import ToolCall
from labkit.tools.constraint import Constraint

CLOSED = "This connection is closed. Call labkit.connect() for a new one."


@dataclass(frozen=True)
class Request:
    """One generation. `messages` are OpenAI's (role, content), already flattened to plain text.

    prefix: how the answer begins, already written; only the rest is generated. Given only to a
        backend that says it `continues`.
    tools, tool_choice: OpenAI's. Given only to a backend that says it can call `tools`; the
        messages are then OpenAI's with their tool calls and results.
    """

    messages: Sequence[dict[str, Any]]
    constraint: Constraint | None = None
    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    prefix: str = ""
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: str = "auto"
    several: bool = False  # more than one call
    trained: bool = False  # by the adapter for tool calls. Given only to a backend that says it has it `trained`


@dataclass(frozen=True)
class Chunk:
    """A piece of the answer. The last one carries `finish_reason` and the token counts.

    Earlier ones may carry the counts so far. One without tokens says that a long prompt is being read.
    """

    text: str = ""
    tokens: int = 1
    finish_reason: str | None = None  # "stop" | "length"
    usage: Usage | None = None
    tool_calls: tuple[ToolCall, ...] = ()  # of a backend that can call tools, in one piece
    logprob: float | None = None  # nats, of the tokens that were chosen and not forced; None where it is not known


@dataclass(frozen=True)
class Capabilities:
    """What the runtime does natively, found by probing it."""

    constraints: frozenset[str] = frozenset()  # kinds of Constraint it enforces while decoding
    scores: bool = False                       # log-likelihood of a given text
    context_tokens: int | None = None
    prefix_cache: bool = False
    embeddings: bool = False
    continues: bool = False                    # goes on from a given beginning of the answer
    tools: bool = False                        # takes OpenAI's tools and calls the one that fits
    trained: bool = False                      # has an adapter that was trained to call tools

    def __repr__(self) -> str:
        on = ", ".join(sorted(self.constraints)) or "none (validate and repair)"
        return (f"Capabilities(constraints: {on}; scores: {self.scores}; "
                f"context: {self.context_tokens} tokens; prefix cache: {self.prefix_cache})")


class Backend(ABC):
    """A runtime with a model loaded. Safe to call from several threads."""

    name: str   # as in connect(name)
    model: str  # what the runtime calls the model
    requires: ClassVar[dict[str, str]] = {}  # module it imports: the package to install
    trained_on: Mapping[str, str] = {}  # tools its adapter knows by name; see labkit.tools.trained.fingerprints

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

    def next_tokens(self, request: Request) -> list[tuple[str, float]]:
        """The likeliest next tokens with their log-probabilities (nats), likeliest first; none if unknown."""
        return []

    def count_tokens(self, text: str) -> int:
        """Length of `text` in this model's tokens."""
        raise NotImplementedError(f"{self.name} cannot count tokens")

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector per text, all of the same length."""
        raise NotImplementedError(f"{self.name} cannot embed text")

    def close(self) -> None:  # noqa: B027, a runtime may hold nothing
        """Release the model. A later call raises BackendUnavailable."""

    @classmethod
    def missing(cls) -> str | None:
        """The packages that are not installed, as one line that says how to get them, or None."""
        packages = [package for module, package in cls.requires.items() if not _importable(module)]
        return f"not installed. Run: pip install {' '.join(packages)}" if packages else None

    @classmethod
    def why_not(cls) -> str | None:
        """None when usable on this machine as it is, else one line that says what would make it so."""
        return cls.missing()


def _importable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # a parent package is absent, or half imported
        return False
