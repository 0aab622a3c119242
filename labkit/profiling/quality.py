"""How good a level of quantisation still is: perplexity, and how far its predictions are from a reference's.

Perplexity by llama.cpp's definition (tools/perplexity): the text is cut into windows, each is read on its own, and
every token of a window's second half is guessed from all that stands before it in the window. exp of the mean
negative log-likelihood; its error is the standard error of that mean, times the perplexity.

KL(reference || level) of the next-token distributions at the same places, in nats, and how often the likeliest token
is the same. Perplexity asks how well a text is guessed; KL asks whether the model still guesses like itself.
"""
from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from labkit.data import data_folder
from labkit.errors import BadRequest
from labkit.intervals import share_interval

WINDOW = 512    # tokens
WINDOWS = 2     # of the text, by default: 510 guesses, a second a level on two cores
Predictions = list[np.ndarray]  # log P (nats) of every next token, one array (places, vocabulary) a window


@dataclass(frozen=True)
class Perplexity:
    """value of `guesses` tokens; error: one standard error."""

    value: float
    error: float
    guesses: int

    def __str__(self) -> str:
        return f"{self.value:.2f} ± {self.error:.2f}"


@dataclass(frozen=True)
class Divergence:
    """kl: nats at each place. same_top: at how many of them the likeliest token is the reference's."""

    kl: tuple[float, ...]
    same_top: int

    @property
    def mean(self) -> float:
        return float(np.mean(self.kl))

    @property
    def error(self) -> float:
        """Standard error of the mean (nats)."""
        return float(np.std(self.kl, ddof=1) / math.sqrt(len(self.kl)))

    def percentile(self, share: float) -> float:
        return float(np.percentile(self.kl, share))

    @property
    def top(self) -> tuple[float, float, float]:
        """Share of places with the same likeliest token, and its 95 % interval (Wilson)."""
        return share_interval(self.same_top, len(self.kl))

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "mean": self.mean, "error": self.error, "p90": self.percentile(90),
                "p99": self.percentile(99)}


def prose() -> str:
    """The course's own explanations, which no model has seen."""
    return (data_folder("prose") / "course.txt").read_text(encoding="utf-8")


def windows(tokens: Sequence[int], window: int = WINDOW, most: int | None = WINDOWS) -> list[list[int]]:
    """The text's whole windows, at most that many. Raises BadRequest for a text shorter than one."""
    if window < 4 or (most is not None and most < 1):
        raise BadRequest(f"{most} windows of {window} tokens: use at least one, of at least 4.")
    starts = range(0, len(tokens) - window + 1, window)[:most]
    if not starts:
        raise BadRequest(f"The text has {len(tokens)} tokens, and a window needs {window}.")
    return [list(tokens[start:start + window]) for start in starts]


def predictions(engine: Any, window: list[int]) -> np.ndarray:
    """log P (nats) of every token at the places of a window's second half but the last: (places, vocabulary)."""
    first, parts = len(window) // 2, []
    engine.window(window, first, lambda logits: parts.append(log_softmax(logits)))
    return np.concatenate(parts)[:-1]  # what follows the window's end is not known


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Of each row (float32); its sum in double precision, for 49 152 small terms."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True, dtype=np.float64)).astype(np.float32)


def perplexity(engine: Any, text: str | None = None, *, window: int = WINDOW,
               most: int | None = WINDOWS) -> Perplexity:
    """Of a text, the course's prose by default; most: windows of it, None for all."""
    return judge(_each(engine, text, window, most))[0]


def references(engine: Any, text: str | None = None, *, window: int = WINDOW,
               most: int | None = WINDOWS) -> Predictions:
    """What an engine predicts, to compare others with: 50 MB a window of 512 tokens."""
    return [guessed for _, guessed in _each(engine, text, window, most)]


def compare(engine: Any, reference: Predictions | None = None, text: str | None = None, *, window: int = WINDOW,
            most: int | None = WINDOWS) -> tuple[Perplexity, Divergence | None]:
    """(perplexity, divergence from the reference) in one pass over the text."""
    return judge(_each(engine, text, window, most), reference)


def judge(found: Iterator[tuple[list[int], np.ndarray]], reference: Predictions | None = None,
          ) -> tuple[Perplexity, Divergence | None]:
    """The figures of (window, predictions) pairs, as they come."""
    losses, kl, same = [], [], 0
    for i, (tokens, guessed) in enumerate(found):
        targets = tokens[-len(guessed):]
        losses += (-guessed[np.arange(len(targets)), targets].astype(float)).tolist()
        if reference is not None:
            p = reference[i]
            kl += np.einsum("ij,ij->i", np.exp(p), p - guessed, dtype=np.float64).tolist()
            same += int((p.argmax(1) == guessed.argmax(1)).sum())
    value = math.exp(np.mean(losses))
    ppl = Perplexity(value, value * float(np.std(losses, ddof=1)) / math.sqrt(len(losses)), len(losses))
    return ppl, None if reference is None else Divergence(tuple(kl), same)


def _each(engine: Any, text: str | None, window: int, most: int | None) -> Iterator[tuple[list[int], np.ndarray]]:
    parts = windows(engine.tokenize(prose() if text is None else text), window, most)
    if engine.c.llama_vocab_get_add_bos(engine.vocab):  # as llama.cpp does, where a model wants a first token
        begin = engine.c.llama_vocab_bos(engine.vocab)
        parts = [[begin, *part[1:]] for part in parts]
    for part in parts:
        yield part, predictions(engine, part)
