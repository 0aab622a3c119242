"""What a request is about: which of seven specialists it is for, or none. Three ways, to be compared.

`Keywords` looks for words, `Words` is a linear model on TF-IDF, `Probe` a linear model on the small model's own
vectors of the texts, `Likelihood` asks the small model without any training. Requests: data/intents.
"""
from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from labkit.data import data_folder
from labkit.errors import BadRequest
from labkit.intervals import share_interval
from labkit.table import Shown, Table
from labkit.tools import choosing
from labkit.tools.tool import Tool

SPLITS = ("train", "dev", "test")
NONE = "out_of_scope"
KEYWORDS = {  # the first that is found; written down with a look at the training requests only
    "health": r"appointment|doctor|dr\.|patient|prescri|medicine|tablet|dose|clinic|ibuprofen|blood",
    "finance": r"share|stock price|portfolio|market|price of (gold|oil|copper)|trend|dividend|index",
    "business": r"invoice|meeting|e-?mail|supplier|colleague|approve|inbox|agenda",
    "retail": r"in stock|aisle|shelf|discount|cheaper|do you (have|sell|carry)|size|alternative|how much",
    "technical": r"error|does ?n.t work|crash|wi-?fi|router|screen|printer|blink|update|restart|install",
    "support": r"order|refund|parcel|deliver|ticket|complain|password|account|call me back|return",
    "assistant": r"remind|to-?do|shopping list|note|birthday|weekend|my list|don't let me forget",
}


@dataclass(frozen=True)
class Asked:
    split: str
    intent: str
    request: str


def load(split: str) -> list[Asked]:
    """The requests of "train", "dev" (to choose by) or "test" (to measure on). Raises BadRequest for another."""
    if split not in SPLITS:
        raise BadRequest(f"There is no split {split!r}. Use one of {', '.join(SPLITS)}.")
    lines = (data_folder("intents") / "requests.jsonl").read_text(encoding="utf-8").splitlines()
    return [asked for line in lines if (asked := Asked(**json.loads(line))).split == split]


def specialists() -> dict[str, str]:
    """Each intent but "out_of_scope", with what its specialist does, in a sentence."""
    said = json.loads((data_folder("intents") / "intents.json").read_text(encoding="utf-8"))
    return {name: about["description"] for name, about in said.items()}


# -- four ways to tell; each is called with a request and gives an intent ---------------------


class Keywords:
    """Rules: the first pattern that is found."""

    def __call__(self, request: str) -> str:
        return next((intent for intent, words in KEYWORDS.items() if re.search(words, request, re.IGNORECASE)), NONE)


class _Linear:
    """Logistic regression on what `vectors` makes of the texts."""

    strength = 1.0  # inverse of the regularisation, chosen on dev

    def __init__(self, examples: Sequence[Asked] | None = None):
        from sklearn.linear_model import LogisticRegression
        examples = load("train") if examples is None else examples
        if len({asked.intent for asked in examples}) < 2:
            raise BadRequest("A classifier needs examples of two intents at least.")
        self._model = LogisticRegression(C=self.strength, max_iter=5000)
        self._model.fit(self.vectors([a.request for a in examples], learn=True), [a.intent for a in examples])

    def vectors(self, texts: Sequence[str], learn: bool = False) -> Any:
        raise NotImplementedError

    def __call__(self, request: str) -> str:
        return self.scored(request)[0]

    def scored(self, request: str) -> tuple[str, float]:
        """(the likeliest intent, its probability)."""
        p = self._model.predict_proba(self.vectors([request]))[0]
        return str(self._model.classes_[p.argmax()]), float(p.max())


class Words(_Linear):
    """On TF-IDF of words, pairs of words, and runs of letters."""

    strength = 30.0

    def vectors(self, texts: Sequence[str], learn: bool = False) -> Any:
        if learn:
            from sklearn.feature_extraction.text import TfidfVectorizer
            from sklearn.pipeline import make_union
            self._tfidf = make_union(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
                                     TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True))
            return self._tfidf.fit_transform(texts)
        return self._tfidf.transform(texts)


class Probe(_Linear):
    """On the small model's vectors: the mean of its last layer's states. slm: a model whose runtime can embed."""

    strength = 1000.0  # for vectors of length 1

    def __init__(self, slm: Any, examples: Sequence[Asked] | None = None):
        if not slm.capabilities.embeddings:
            raise BadRequest(f"{slm!r} gives no vectors. Use the embedded model: labkit.connect().")
        self.slm = slm
        super().__init__(examples)

    def vectors(self, texts: Sequence[str], learn: bool = False) -> Any:
        return np.array(self.slm.backend.embed(texts))


class Likelihood:
    """Without training: the specialist whose description makes the request likeliest (labkit.tools.choosing)."""

    def __init__(self, slm: Any, described: Mapping[str, str] | None = None):
        self.slm = slm
        nothing = {"type": "object", "properties": {}}
        self.tools = [Tool(name, about, nothing) for name, about in (described or specialists()).items()]

    def __call__(self, request: str) -> str:
        found = choosing.choose(request, self.tools, self.slm.backend.loglikelihood, allow_none=True)
        return found.tool.name if found.tool else NONE


# -- how good they are ----------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """right: of requests that a specialist is for, in_scope of them; refused: of `out` that none is for."""

    name: str
    right: int
    in_scope: int
    refused: int
    out: int
    seconds: float  # for all, one after the other

    def row(self) -> tuple[str, ...]:
        shares = [share_interval(self.right, self.in_scope), share_interval(self.refused, self.out)]
        ms = 1000 * self.seconds / (self.in_scope + self.out)
        return self.name, *(f"{mid:.0%} ({low:.0%} to {high:.0%})" for mid, low, high in shares), f"{ms:.1f}"


@dataclass(frozen=True, repr=False)
class Verdicts(Shown):
    judged: tuple[Judged, ...]

    def table(self) -> Table:
        note = f"{self.judged[0].in_scope} requests in scope, {self.judged[0].out} out of it; 95 % intervals."
        return Table(("router", "right specialist", "out of scope, recalled", "ms a request"),
                     tuple(one.row() for one in self.judged), note=note)


def judge(routers: Mapping[str, Callable[[str], str]], items: Sequence[Asked]) -> Verdicts:
    """Every router on the same requests."""
    return Verdicts(tuple(_judged(name, router, items) for name, router in routers.items()))


def _judged(name: str, router: Callable[[str], str], items: Sequence[Asked]) -> Judged:
    began = time.perf_counter()
    hits = [(asked.intent == NONE, router(asked.request) == asked.intent) for asked in items]
    seconds = time.perf_counter() - began
    inside, outside = ([hit for out, hit in hits if out == wanted] for wanted in (False, True))
    return Judged(name, sum(inside), len(inside), sum(outside), len(outside), seconds)
