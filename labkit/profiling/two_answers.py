"""The same question to two levels of a model: both answers, and the first token at which they part."""
from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from labkit.models.quantise import made
from labkit.table import Shown, Table

TOKENS = 40
MARK = "▶"


@dataclass(frozen=True)
class Answer:
    """pieces: the text of each token."""

    level: str
    pieces: tuple[str, ...]
    tokens_per_s: float | None

    @property
    def text(self) -> str:
        return "".join(self.pieces)


@dataclass(frozen=True, repr=False)
class TwoAnswers(Shown):
    """One question, answered greedily by two levels."""

    question: str
    one: Answer
    other: Answer

    @property
    def parts_at(self) -> int | None:
        """Number of the first token that differs, from 0; None where the answers are the same."""
        a, b = self.one.pieces, self.other.pieces
        return None if a == b else next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))

    def table(self) -> Table:
        at = self.parts_at
        note = "The answers are the same." if at is None else f"They part at token {at + 1}, marked {MARK}."
        rows = tuple((answer.level, self._marked(answer)) for answer in (self.one, self.other))
        return Table(("level", "answer"), rows, title=self.question, note=note)

    def _marked(self, answer: Answer) -> str:
        at = len(answer.pieces) if self.parts_at is None else self.parts_at
        mark = "" if self.parts_at is None else MARK
        return " ".join(("".join(answer.pieces[:at]) + mark + "".join(answer.pieces[at:])).split())

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "parts_at": self.parts_at}


def ask(question: str, one: str, other: str, *, source: Path | None = None, max_tokens: int = TOKENS) -> TwoAnswers:
    """Both levels' answers; a level is made if it is not in the cache. Raises as `labkit.models.quantise.made` does."""
    return TwoAnswers(question, *(_answer(question, level, source, max_tokens) for level in (one, other)))


def _answer(question: str, level: str, source: Path | None, max_tokens: int) -> Answer:
    from labkit import connect
    with connect("llama.cpp", str(made(level, source)), adapter=None) as chat:
        reply, engine = chat.chat(question, max_tokens=max_tokens), chat.backend.engine
        raw = [engine.piece(token) for token in engine.tokenize(reply.text)]
    return Answer(level, tuple(piece.decode("utf-8", "replace") for piece in raw), reply.timing.tokens_per_s)
