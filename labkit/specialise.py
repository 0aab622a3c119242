"""Train the embedded model to call your tools: `labkit specialise`.

Puts together what the parts do: examples (labkit.tools.examples) become texts, the texts train an adapter
(labkit.models.adapter), and `connect(adapter=…)` calls tools with it.
"""
from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labkit.errors import BadRequest
from labkit.models.adapter import OnEvent, Settings, Trained, train
from labkit.models.adapter_file import TOOLS
from labkit.models.search import Search
from labkit.models.search import search as run_search
from labkit.tools import examples, trained
from labkit.tools.examples import Examples


def specialise(given: Sequence[Examples] | str | Path, target: str | Path, *,
               valid: Sequence[Examples] | str | Path | None = None, settings: Settings | None = None,
               start: str | Path | None = None, on_event: OnEvent | None = None) -> Trained:
    """Train an adapter on examples and write it to `target`, a .gguf file.

    given, valid: examples, or a file of them. Without `valid`, every tenth of the given is kept back for it.
    start: an adapter of the same rank to go on from, for example the course's own.
    Raises BadRequest for examples that cannot be used, BackendUnavailable or ModelFileError when the workshop
    environment or the model's hf form is missing, LabkitError when the training fails.
    """
    rows, kept = _split(given, valid)
    known = trained.fingerprints(tool for row in rows for tool in row.tools)
    return train(examples.lines(rows), examples.lines(kept), Path(target), settings, format=trained.FORMAT,
                 about={TOOLS: json.dumps(known)} if known else None,
                 start=Path(start) if start else None, on_event=on_event)


def search(given: Sequence[Examples] | str | Path, *, valid: Sequence[Examples] | str | Path | None = None,
           on_event: OnEvent | None = None, **wanted: Any) -> Search:
    """Which settings suit these examples best: short runs by successive halving, see labkit.models.search.

    wanted: ranks, rates, shares, extra (examples to mix in), seconds for all runs together, candidates, seed.
    `specialise(…, settings=found.best.settings)` then trains with them.
    """
    rows, kept = _split(given, valid)
    extra = examples.lines(_read(wanted.pop("extra", ())))
    return run_search(examples.lines(rows), examples.lines(kept), extra=extra, format=trained.FORMAT,
                      on_event=on_event, **wanted)


def _split(given: Sequence[Examples] | str | Path, valid: Sequence[Examples] | str | Path | None,
           ) -> tuple[list[Examples], list[Examples]]:
    """(to train on, to judge by)."""
    rows = _read(given)
    if valid is not None:
        return rows, _read(valid)
    if len(rows) < 2:
        raise BadRequest("One example is too few: one trains, and another one must judge.")
    rows, n = random.Random(0).sample(rows, len(rows)), len(rows) // 10 or 1
    return rows[n:], rows[:n]


def _read(given: Sequence[Examples] | str | Path) -> list[Examples]:
    return examples.read(given) if isinstance(given, str | Path) else list(given)
