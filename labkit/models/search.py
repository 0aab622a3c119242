"""Search an adapter's settings under a time budget, by successive halving: many short runs, then few longer ones.

Knows texts and losses, not tools, and keeps no adapter: the caller trains the best candidate for as long as wanted.
Karnin et al. 2013, Almost Optimal Exploration in Multi-Armed Bandits; Jamieson & Talwalkar 2016, Non-stochastic
Best Arm Identification and Hyperparameter Optimization.
"""
from __future__ import annotations

import math
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import cycle, islice, product
from pathlib import Path
from typing import Any

from labkit.errors import BadRequest, LabkitError
from labkit.models import adapter
from labkit.models.adapter import Line, OnEvent, Settings, Trained
from labkit.table import Shown, Table


@dataclass(frozen=True)
class Candidate:
    settings: Settings  # for a run of any length: those of a rung's short runs are made from them
    share: float        # of the extra lines in the mixture, 0 to 1

    @property
    def facts(self) -> dict[str, float]:
        return {"rank": self.settings.rank, "rate": self.settings.rate, "share": self.share}


@dataclass(frozen=True)
class Tried:
    candidate: Candidate
    rung: int         # from 0
    seconds: float    # that the run took, with loading the model and judging
    loss: float       # the lowest validation loss, nats a token; infinite for a run that failed
    failed: str = ""  # why it did


@dataclass(frozen=True)
class Search(Shown):
    tried: tuple[Tried, ...]
    best: Candidate

    def table(self) -> Table:
        rows = tuple((str(t.rung), *(f"{fact:.4g}" for fact in t.candidate.facts.values()), f"{t.seconds:.0f}",
                      f"{t.loss:.3f}" if math.isfinite(t.loss) else "failed")
                     for t in sorted(self.tried, key=lambda t: (t.rung, t.loss)))
        return Table(("rung", *self.best.facts, "seconds", "validation loss, nats a token"), rows,
                     title="Best: " + ", ".join(f"{name} {fact:.4g}" for name, fact in self.best.facts.items()))

    def to_dict(self) -> dict[str, Any]:
        """Fit for JSON, which knows no infinity: the loss of a run that failed is None."""
        return {"best": asdict(self.best), "tried": [
            {**t.candidate.facts, "rung": t.rung, "seconds": t.seconds,
             "loss": t.loss if math.isfinite(t.loss) else None, "failed": t.failed} for t in self.tried]}


def search(lines: Iterable[Line], valid: Iterable[Line], *, extra: Iterable[Line] = (),
           ranks: Sequence[int] = (8, 16, 32), rates: Sequence[float] = (6e-4, 2e-3, 6e-3),
           shares: Sequence[float] = (0.0,), seconds: float = 600.0, candidates: int = 9, seed: int = 0, format: str,
           on_event: OnEvent | None = None, train: Callable[..., Trained] = adapter.train) -> Search:
    """Try combinations of ranks, rates and shares: at most `candidates` of them, drawn by `seed`.

    A rung trains each that is left for seconds / (rungs * left), from the beginning, and keeps the third with the
    lowest loss on `valid`, rounded up, until one is left. Loading the model and the last look at `valid` come on
    top, for each run: give few validation lines. shares: of `extra` in what is trained on, see `mixed`. on_event gets
    {"event": "candidate", "rung", "n" (from 1), "of", "rank", "rate", "share"} before a run, and what it reports.
    Raises BadRequest for what cannot be searched, LabkitError when all runs of a rung fail.
    """
    lines, valid, extra, wanted = list(lines), list(valid), list(extra), list(product(ranks, rates, shares))
    _check(lines, valid, extra, wanted, seconds, candidates)
    say = on_event or (lambda event: None)
    run = partial(_tried, valid, partial(train, format=format, on_event=say))
    data = {share: mixed(lines, extra, share, seed) for share in shares}
    # alpha is the same for all: scaled by alpha / rank, an adapter's best rate hardly depends on its rank (Schulman
    # et al. 2025, LoRA Without Regret), so a rate means the same beside every rank. With alpha = 2 * rank it would not.
    left = [Candidate(Settings(rank=rank, rate=rate, alpha=32, seed=seed), share)
            for rank, rate, share in random.Random(seed).sample(wanted, min(candidates, len(wanted)))]
    tried, rungs = [], _rungs(len(left))
    for rung in range(rungs):
        each, ran = seconds / (rungs * len(left)), []
        for n, candidate in enumerate(left, 1):
            say({"event": "candidate", "rung": rung, "n": n, "of": len(left), **candidate.facts})
            ran.append(run(data[candidate.share], candidate, rung, each))
        tried += ran
        if len(left := _kept(ran)) == 1:
            break
    return Search(tuple(tried), left[0])


def mixed(lines: Sequence[Line], extra: Sequence[Line], share: float, seed: int) -> list[Line]:
    """All of `lines`, and so many of `extra`, again if need be, that they are `share` of it. 1: `extra` alone."""
    if share in (0, 1):
        return list(extra if share else lines)
    rng = random.Random(seed)
    drawn = islice(cycle(rng.sample(extra, len(extra))), round(len(lines) * share / (1 - share)))
    return rng.sample(mixture := [*lines, *drawn], len(mixture))


def _tried(valid: list[Line], train: Callable[..., Trained], lines: list[Line], candidate: Candidate, rung: int,
           seconds: float) -> Tried:
    began, loss, failed = time.monotonic(), math.inf, ""
    try:
        with tempfile.TemporaryDirectory() as folder:
            done = train(lines, valid, Path(folder, "tried.gguf"), _short(candidate.settings, seconds, len(lines)))
        loss = min((loss for _, loss, *_ in done.curve if math.isfinite(loss)), default=math.inf)
    except LabkitError as error:
        if type(error) is not LabkitError:  # an environment or a file is missing: no candidate's fault
            raise
        failed = str(error)
    return Tried(candidate, rung, time.monotonic() - began, loss, failed)


def _short(settings: Settings, seconds: float, lines: int) -> Settings:
    """For a run that its time ends. One of fewer steps than `check` looks at the validation data once, at its end."""
    # A step takes about 3 s on two cores: the rate rises for a fifth of the time. 100 lines a second are beyond them.
    return replace(settings, seconds=seconds, report=1, warmup=min(settings.warmup, 1 + int(seconds / 15)),
                   passes=1 + int(100 * seconds / lines))


def _kept(ran: list[Tried]) -> list[Candidate]:
    best = sorted(ran, key=lambda tried: tried.loss)[:-(-len(ran) // 3)]
    if not math.isfinite(best[0].loss):
        raise LabkitError(f"No candidate could be trained. What the last one said: {ran[-1].failed}")
    return [tried.candidate for tried in best if math.isfinite(tried.loss)]


def _rungs(candidates: int) -> int:
    return 1 if candidates <= 3 else 1 + _rungs(-(-candidates // 3))


def _check(lines: list, valid: list, extra: list, wanted: list, seconds: float, candidates: int) -> None:
    for wrong, what in (
        (not lines or not valid, "Nothing to search with: give a line at least to train on, and one to judge by."),
        (candidates < 1, f"candidates={candidates}: try one at least, better nine."),
        (not 0 < seconds < math.inf, f"seconds={seconds}: give the time for all runs together, such as 600."),
        (not wanted, "There is nothing to try: give a rank, a rate and a share at least."),
        (any(not 0 <= share <= 1 for *_, share in wanted), "A share is a part of the whole: give 0 to 1."),
        (not extra and any(share for *_, share in wanted), "A share above 0 is drawn from `extra`: give lines there."),
    ):
        if wrong:
            raise BadRequest(what)
