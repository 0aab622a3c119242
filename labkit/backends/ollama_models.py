"""Models in an Ollama: get one, make one, let one go, and how fast one was by Ollama's own clock.

Each takes the official client (`connect("ollama").backend.client`, or one of your own) and raises what
that raises: ollama.ResponseError says in words what was refused.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Progress = Callable[[str, int, int], None]  # (what is being done, bytes done, bytes in all or 0)


def pull(client, model: str, progress: Progress | None = None) -> None:
    """Download a model into Ollama, or bring it up to date. progress: None draws a bar.

    A download that fails halfway is reported in the middle of a stream that began with status 200, so
    the status alone says nothing; the client raises ollama.ResponseError for either.
    """
    bars = _Bars(model)
    try:
        for step in client.pull(model, stream=True):
            (progress or bars.show)(step.status or "", step.completed or 0, step.total or 0)
    finally:
        bars.close()


class _Bars:
    """Progress in a terminal or a notebook: a line for each step, with a bar where its size is known."""

    def __init__(self, model: str):
        self._model, self._lines, self._progress = model, {}, None

    def show(self, what: str, done: int, total: int) -> None:
        from rich.progress import Progress
        if self._progress is None:  # not before: a refused download draws nothing
            self._progress = Progress()
            self._progress.start()
        if what not in self._lines:
            self._lines[what] = self._progress.add_task(f"{self._model}: {what}", total=total or None)
        self._progress.update(self._lines[what], completed=done, total=total or None)

    def close(self) -> None:
        if self._progress:
            self._progress.stop()


def create_from_gguf(client, name: str, gguf: str | Path, *, system: str | None = None,
                     parameters: Mapping[str, Any] | None = None) -> None:
    """Give Ollama a model file of yours under a name of its own; it is sent there once, by its SHA-256.

    system, parameters: what a Modelfile's SYSTEM and PARAMETER say, like {"temperature": 0}.
    """
    path = Path(gguf)
    client.create(name, files={path.name: client.create_blob(path)}, system=system,
                  parameters=dict(parameters) if parameters else None)


def unload(client, model: str) -> None:
    """Let a model go from memory now; it stays on disk."""
    client.generate(model, "", keep_alive=0)


def loaded(client) -> list[str]:
    """The names of the models that are in memory now."""
    return [entry.model for entry in client.ps().models]


@dataclass(frozen=True)
class Spent:
    """Where the time of one answer went (s), by the durations that Ollama sends with it (ns)."""

    load_s: float
    prompt_s: float
    answer_s: float
    total_s: float
    prompt_tokens: int
    answer_tokens: int

    @property
    def tokens_per_s(self) -> float:
        """Decode speed (tokens/s), as `ollama run --verbose` gives it; not a number for an answer of one step."""
        return self.answer_tokens / self.answer_s if self.answer_s > 0 else float("nan")

    @property
    def rest_s(self) -> float:
        """What the daemon spent on neither loading, reading nor writing."""
        return self.total_s - self.load_s - self.prompt_s - self.answer_s


def spent(response) -> Spent:
    """The durations and counts of a chat or generate response, the last one of a stream."""
    seconds = [(getattr(response, f"{name}_duration") or 0) / 1e9
               for name in ("load", "prompt_eval", "eval", "total")]
    return Spent(*seconds, response.prompt_eval_count or 0, response.eval_count or 0)
