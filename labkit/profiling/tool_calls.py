"""How often the right tool is called with the right values: `labkit bench --tools`.

Compares the model that is only asked for JSON, under labkit's constraint, and with the course's adapter, on the
leaderboard's cases (labkit.profiling.bfcl) and on the course's own (labkit.profiling.held_out), all through the
public API. "required": a call must come. "auto": the model may answer in words instead.
"""
from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from labkit.agents.deciding import decided
from labkit.backends.reply import Reply
from labkit.errors import BadRequest, IncompleteOutput
from labkit.intervals import p95, share_interval
from labkit.models import adapter_file, embedded
from labkit.models.manifest import sha256
from labkit.profiling import bfcl, held_out
from labkit.profiling.kept import Kept
from labkit.profiling.tool_case import Case
from labkit.table import Shown, Table
from labkit.tools.call import ToolCall

SAMPLE = 50       # cases a row by default, spread evenly over all of them
MAX_TOKENS = 240  # for four calls
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Row:
    """One kind of cases in one mode. load: its cases, at most that many."""

    name: str
    mode: str
    load: Callable[[int | None], list[Case]]


ROWS = (
    *(Row(f"BFCL {category}", mode, partial(bfcl.load, category)) for mode in ("required", "auto")
      for category in bfcl.CATEGORIES if mode == "auto" or category != "irrelevance"),
    *(Row(f"{name}, {what}", "auto", partial(held_out.load, split, calls)) for split, name in held_out.SPLITS.items()
      for what, calls in (("a call is right", True), ("no call is right", False))),
)


@dataclass(frozen=True)
class Result:
    """One row by one of the models compared, case by case. confidences: None where the model gave none."""

    variant: str
    row: str
    mode: str
    outcomes: tuple[bool, ...]
    seconds: tuple[float, ...]
    confidences: tuple[float | None, ...]

    @property
    def right(self) -> int:
        return sum(self.outcomes)

    @property
    def share(self) -> float:
        return self.right / len(self.seconds)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share."""
        _, low, high = share_interval(self.right, len(self.seconds))
        return low, high

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)

    @property
    def p95_s(self) -> float:
        return p95(self.seconds)

    def to_dict(self) -> dict[str, Any]:
        derived = ("right", "share", "median_s", "p95_s")
        return {**asdict(self), **{name: getattr(self, name) for name in derived}}


@dataclass(frozen=True, repr=False)
class Report(Shown):
    """What `run` found."""

    model: str
    results: tuple[Result, ...]

    def table(self) -> Table:
        variants = list(dict.fromkeys(r.variant for r in self.results))
        of = {(r.variant, r.row, r.mode): r for r in self.results}
        rows = [(f"{row.name}, {row.mode}", str(len(of[variants[0], row.name, row.mode].seconds)),
                 *(_shown(of[variant, row.name, row.mode]) for variant in variants)) for row in ROWS]
        times = [[s for r in self.results if r.variant == variant for s in r.seconds] for variant in variants]
        rows.append(("a turn takes: median, 95 % within", "", *(
            f"{statistics.median(t):.2f} s, {p95(t):.2f} s" for t in times)))
        return Table(("cases, tool_choice", "n", *variants), tuple(rows), title=f"Tool calls: {self.model}",
                     note="Right in full, and the 95 % interval. BFCL by its official checker.")

    def reliability(self) -> Table:
        """Of the models that give a confidence: is what they are surer of more often right? Fifths of all cases."""
        rows = []
        for variant in dict.fromkeys(r.variant for r in self.results):
            pairs = sorted(pair for r in self.results if r.variant == variant
                           for pair in zip(r.confidences, r.outcomes, strict=True) if pair[0] is not None)
            rows += [(variant, *_trust(part)) for part in fifths(pairs) if part]
        return Table(("model", "confidence", "n", "mean", "share right"), tuple(rows),
                     title="How far to trust confidence")

    def __str__(self) -> str:
        return f"{self.table()}\n\n{self.reliability()}"

    def to_dict(self) -> dict[str, Any]:
        return {"model": self.model, "results": [result.to_dict() for result in self.results]}


def fifths(items: Sequence[Any]) -> list[Sequence[Any]]:
    """Five parts of about the same length."""
    return [items[len(items) * i // 5:len(items) * (i + 1) // 5] for i in range(5)]


def _trust(pairs: Sequence[tuple[float, bool]]) -> tuple[str, ...]:
    """Sorted (confidence, right) pairs as a row: range, number, mean confidence, share right."""
    confidences, outcomes = zip(*pairs, strict=True)
    return (f"{confidences[0]:.2f} to {confidences[-1]:.2f}", str(len(pairs)), f"{statistics.mean(confidences):.2f}",
            f"{statistics.mean(outcomes):.2f}")


def _shown(result: Result) -> str:
    low, high = result.interval
    return f"{result.share:.1%} ({100 * low:.0f} to {100 * high:.0f})"


def run(chats: Mapping[str, Any] | None = None, *, adapter: str | Path | None = "course", cases: int | None = SAMPLE,
        progress: Progress | None = None) -> Report:
    """Ask every case and check the calls.

    chats: the connected models to compare, by what to call them; None for the embedded one: only asked, under
        the constraint, and with an adapter. cases: a row; None for all.
    All cases take hours. Of the embedded model, a row that was finished before the run was interrupted is not asked
    again. Raises BackendUnavailable when the wheel with the leaderboard's cases is not installed.
    """
    keep, chats = (None, chats) if chats else (_kept(adapter, cases), _embedded(adapter))
    cases_of = {row: row.load(cases) for row in ROWS}
    total, results = len(chats) * sum(map(len, cases_of.values())), []
    for variant, row in product(chats, ROWS):
        name, before = f"{variant}: {row.name}, {row.mode}", sum(len(r.seconds) for r in results)
        result = keep.load(name) if keep else None
        if not result:
            tell = partial(_tell, progress, before, total, name)
            result = Result(variant, row.name, row.mode, *_ask_all(chats[variant], row.mode, cases_of[row], tell))
            if keep:
                keep.save(name, result)
        results.append(result)
    if keep:
        keep.forget()
    return Report(next(iter(chats.values())).model, tuple(results))


def _kept(adapter: str | Path | None, cases: int | None) -> Kept[Result]:
    return Kept("tool_calls", Result, sha256(embedded.default_model()), adapter and sha256(adapter_file.find(adapter)),
                cases)


def _tell(progress: Progress | None, before: int, total: int, name: str, done: int) -> None:
    if progress:
        progress(before + done, total, name)


def _ask_all(chat, mode: str, cases: Sequence[Case], tell: Callable[[int], None]) -> Iterator[tuple]:
    """The cases' outcomes, seconds and confidences."""
    asked = []
    for case in cases:
        asked.append(ask(chat, mode, case))
        tell(len(asked))
    return zip(*asked, strict=True)


def _embedded(adapter: str | Path | None) -> dict[str, Any]:
    from labkit import connect
    plain, trained = connect(adapter=None), connect(adapter=adapter)
    return {"only asked": OnlyAsked(plain), "constrained": plain,
            **({"with the adapter": trained} if trained.capabilities.trained else {})}


def ask(chat, mode: str, case: Case) -> tuple[bool, float, float | None]:
    """(right, seconds, confidence)."""
    started, confidence = time.perf_counter(), None
    decide = chat.decide if isinstance(chat, OnlyAsked) else partial(decided, chat)
    try:
        reply = decide(list(case.messages), tools=list(case.tools), tool_choice=mode, max_tokens=MAX_TOKENS,
                       parallel_tool_calls=case.several)
        calls = [{"name": call.name, "arguments": call.arguments} for call in reply.tool_calls]
        confidence = reply.confidence
    except (BadRequest, IncompleteOutput):
        calls = [{"name": "", "arguments": {}}]  # an answer, but no valid one
    return case.right(calls), time.perf_counter() - started, confidence


class OnlyAsked:
    """A model that is shown its tools in the prompt and asked for JSON. What is no such JSON counts as words.

    An answer that begins with anything else is broken off: it would go on for long, and count as words.
    """

    def __init__(self, chat):
        self._chat, self.model = chat, chat.model

    def decide(self, messages: Sequence[Mapping[str, Any]], *, tools, max_tokens: int, **_) -> Reply:
        listed = "\n".join(json.dumps(tool["function"]) for tool in tools)
        system = (f"You can call these tools:\n{listed}\nAnswer with a JSON list of calls, "
                  '[{"name": "...", "arguments": {...}}], or in words when no tool fits.')
        with self._chat.stream([{"role": "system", "content": system}, *messages], max_tokens=max_tokens) as stream:
            for _ in stream:
                if stream.so_far.text.lstrip()[:1] not in ("", "[", "{"):
                    stream.stop()
            return replace(stream.so_far, tool_calls=_calls(stream.so_far.text))


def _calls(text: str) -> list[ToolCall]:
    try:
        found = json.loads(text)
        return [ToolCall(call["name"], call["arguments"]) for call in (found if isinstance(found, list) else [found])]
    except (ValueError, KeyError, TypeError):
        return []
