"""Train the embedded model to call your tools: `labkit specialise`.

Puts together what the parts do: examples (labkit.tools.examples) become texts, the texts train an adapter
(labkit.models.adapter), and `connect(adapter=…)` calls tools with it.
"""
from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from labkit.errors import BadRequest
from labkit.models.adapter import OnEvent, Settings, Trained, train
from labkit.tools import examples, trained
from labkit.tools.examples import Examples


def specialise(given: Sequence[Examples] | str | Path, target: str | Path, *,
               valid: Sequence[Examples] | str | Path | None = None, settings: Settings | None = None,
               on_event: OnEvent | None = None) -> Trained:
    """Train an adapter on examples and write it to `target`, a .gguf file.

    given, valid: examples, or a file of them. Without `valid`, every tenth of the given is kept back for it.
    Raises BadRequest for examples that cannot be used, BackendUnavailable or ModelFileError when the workshop
    environment or the model's hf form is missing, LabkitError when the training fails.
    """
    rows = _read(given)
    if valid is None:
        rows = random.Random(0).sample(rows, len(rows))
        rows, kept = rows[len(rows) // 10 or 1:], rows[:len(rows) // 10 or 1]
    else:
        kept = _read(valid)
    if not rows:
        raise BadRequest("One example is too few: one trains, and another one must judge.")
    return train(examples.lines(rows), examples.lines(kept), Path(target), settings, format=trained.FORMAT,
                 on_event=on_event)


def _read(given: Sequence[Examples] | str | Path) -> list[Examples]:
    return examples.read(given) if isinstance(given, str | Path) else list(given)
