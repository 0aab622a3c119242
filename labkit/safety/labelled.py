"""How good redaction and the injection score are, on the project's own labelled texts (data/redaction)."""
from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from labkit.data import data_folder
from labkit.errors import BadRequest
from labkit.intervals import share_interval
from labkit.safety import injection
from labkit.safety.redaction import KINDS, find
from labkit.table import Shown, Table

SPLITS = ("dev", "test")


@dataclass(frozen=True)
class Kind:
    """labels: of this kind in the texts. found: of them taken out whole. wrong: spans taken out that are none."""

    name: str
    labels: int
    found: int
    hits: int
    wrong: int
    missed: tuple[str, ...] = ()
    mistaken: tuple[str, ...] = ()

    @property
    def recall(self) -> float:
        return self.found / self.labels

    @property
    def precision(self) -> float:
        return self.hits / (self.hits + self.wrong) if self.hits + self.wrong else 1.0


@dataclass(frozen=True, repr=False)
class Score(Shown):
    """kinds: those that have labels, and "all" at the end."""

    split: str
    texts: int
    kinds: tuple[Kind, ...]

    def __getitem__(self, name: str) -> Kind:
        return next(kind for kind in self.kinds if kind.name == name)

    def table(self) -> Table:
        rows = tuple((kind.name, str(kind.labels), _share(kind.found, kind.labels),
                      _share(kind.hits, kind.hits + kind.wrong)) for kind in self.kinds)
        return Table(("kind", "labels", "recall, %", "precision, %"), rows,
                     note=f"{self.texts} texts of data/redaction ({self.split}), 95 % intervals. A label counts as "
                          "found when all of it was taken out.")

    def to_dict(self) -> dict[str, Any]:
        return {"split": self.split, "texts": self.texts, "kinds": {kind.name: {
            "labels": kind.labels, "recall": kind.recall, "precision": kind.precision} for kind in self.kinds}}


def texts(split: str) -> list[dict[str, Any]]:
    """The labelled texts of "dev" or "test": id, text, labels as [kind, start, end]. Raises BadRequest for another."""
    if split not in SPLITS:
        raise BadRequest(f"There is no split {split!r}. Take one of: {', '.join(SPLITS)}.")
    return _lines(f"{split}.jsonl")


def injections(split: str) -> list[dict[str, Any]]:
    """Requests with and without an injection: text, attack."""
    return [item for item in _lines("injections.jsonl") if item["split"] == split]


def measure(split: str = "test") -> Score:
    """Redact every text of a split, and compare with its labels, kind by kind."""
    items = texts(split)
    found = [find(item["text"]) for item in items]
    kinds = [_kind(kind, items, found) for kind in KINDS]
    kinds = [kind for kind in kinds if kind.labels]
    total = Kind("all", *(sum(getattr(kind, name) for kind in kinds) for name in ("labels", "found", "hits", "wrong")))
    return Score(split, len(items), (*kinds, total))


def measure_injections(split: str = "test", limit: float = 1.0) -> Table:
    """How many attacks the score stops, and how many harmless requests with them."""
    items = injections(split)
    rows = []
    for attack, name in ((True, "attacks"), (False, "harmless requests")):
        scores = [injection.score(item["text"]) for item in items if item["attack"] is attack]
        rows.append((name, str(len(scores)), _share(sum(score >= limit for score in scores), len(scores))))
    return Table((f"{split} requests", "there are", f"refused at a score of {limit:g}, %"), tuple(rows))


def _kind(kind: str, items: Sequence[dict], found: Sequence[list]) -> Kind:
    labels, taken, hits, wrong, missed, mistaken = 0, 0, 0, 0, [], []
    for item, spans in zip(items, found, strict=True):
        mine = [(start, end) for name, start, end in item["labels"] if name == kind]
        spans = [(span.start, span.end) for span in spans if span.kind == kind]
        covered = [any(start <= a and b <= end for start, end in spans) for a, b in mine]
        touching = [any(start < b and a < end for a, b in mine) for start, end in spans]
        labels, taken = labels + len(mine), taken + sum(covered)
        hits, wrong = hits + sum(touching), wrong + len(touching) - sum(touching)
        missed += [item["text"][a:b] for (a, b), is_in in zip(mine, covered, strict=True) if not is_in]
        mistaken += [item["text"][a:b] for (a, b), is_in in zip(spans, touching, strict=True) if not is_in]
    return Kind(kind, labels, taken, hits, wrong, tuple(missed), tuple(mistaken))


def _share(part: int, of: int) -> str:
    if not of:
        return "–"
    share, low, high = share_interval(part, of)
    return f"{100 * share:.0f} ({100 * low:.0f} to {100 * high:.0f})"


def _lines(name: str) -> list[dict[str, Any]]:
    text = (data_folder("redaction") / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]
