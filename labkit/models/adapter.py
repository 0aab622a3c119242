"""Train a LoRA adapter on the embedded model and keep it as a GGUF that llama.cpp loads.

Knows texts, not tools: a line of the data is a beginning and the turns that follow it. The work is done by
train_lora.py in the workshop environment; a run that was killed goes on from its last checkpoint when it is started
again with the same data and settings.
"""
from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from labkit.errors import BadRequest, LabkitError
from labkit.models import workshop
from labkit.models.cache import atomic_file, home
from labkit.models.embedded import NAME
from labkit.models.environments import environment
from labkit.models.hardware import usable_cores
from labkit.models.private_environment import stream

Line = tuple[str, list[tuple[str, str]]]  # (beginning, [(question, answer)])
OnEvent = Callable[[Mapping[str, Any]], object]
# glibc gives the large blocks of every step back to the system and asks for them again: a fifth of the time.
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000", "MALLOC_TOP_PAD_": "64000000"}


@dataclass(frozen=True)
class Settings:
    """How to train. It ends after `steps`, after `seconds`, or after `passes`, whatever comes first."""

    rank: int = 32
    alpha: int = 32              # the adapter is scaled by alpha / rank: so the best rate hardly depends on the rank
    rate: float = 1.8e-3         # highest learning rate; rises over `warmup` steps, then falls as a cosine
    warmup: int = 40
    batch_tokens: int = 2600     # of a step, with the padding
    layers: int | None = None    # how many of the last layers learn; the others stay as they begin. None: all
    passes: int = 1              # how often the data are gone through
    steps: int = 100_000
    seconds: float = 3600.0
    check: int = 50              # steps between two looks at the validation data, each with a checkpoint
    patience: int = 4            # looks without a new best one until it stops
    report: int = 5              # steps between two events
    seed: int = 0

    def __post_init__(self) -> None:
        if self.layers is not None and self.layers < 1:
            raise BadRequest(f"layers={self.layers}: one at least must learn. None trains all.")


@dataclass(frozen=True)
class Trained:
    """The outcome of a run.

    curve: (step, validation loss in nats a token, share of validation answers written as they are); from step 0 when
    it went on from an adapter, which is then kept if nothing better came.
    """

    path: Path
    steps: int
    seconds: float
    curve: tuple[tuple[int, float, float], ...]


def train(lines: Iterable[Line], valid: Iterable[Line], target: Path, settings: Settings | None = None, *,
          format: str, about: Mapping[str, str] | None = None, start: Path | None = None,
          on_event: OnEvent | None = None) -> Trained:
    """Train on `lines`, keep what does best on `valid`, and write it to `target`.

    format: what the answers look like; kept in the file, for whoever loads it. about: what else the file should say
    of itself, by GGUF key. start: an adapter of the same rank to go on from; None begins with one that changes
    nothing. on_event gets what train_lora.py reports:
    {"event": "step" | "valid" | "resumed" | "nan" | "early stop" | "done", …}.
    Raises LabkitError when the data are empty or the training fails.
    """
    settings = settings or Settings()
    model, tools = workshop.require("hf"), environment("workshop")
    tools.require()
    said = {"general.name": f"{NAME} tool calls", "labkit.base": NAME, "labkit.format": format, **(about or {})}
    folder = _run_folder(list(lines), list(valid), settings, model, start, said)
    events: list[Mapping[str, Any]] = []

    def hear(line: str) -> None:
        if line.startswith('{"event"'):
            events.append(json.loads(line))
            (on_event or (lambda event: None))(events[-1])
    command = tools.command("train_lora.py", folder / "settings.json")
    code, tail = stream(command, hear, {**workshop.offline(), **KEEP_MEMORY})
    if code:
        raise LabkitError(_failed(code, tail))
    if not (folder / "best.gguf").is_file():
        shutil.rmtree(folder)
        raise LabkitError("The loss was no number from the beginning. Train with a lower rate.")
    with atomic_file(target) as part:
        shutil.copyfile(folder / "best.gguf", part)
    done, looks = events[-1], [(e["step"], e["loss"], e["right"]) for e in events if e["event"] == "valid"]
    shutil.rmtree(folder)
    return Trained(target, done["step"], done["seconds"], tuple(looks))


def _run_folder(lines: list[Line], valid: list[Line], settings: Settings, model: Path, start: Path | None,
                about: Mapping[str, str]) -> Path:
    """A folder named after what is trained, so that the same wish finds its checkpoint."""
    if not lines or not valid:
        raise LabkitError("There is nothing to train on: the training and the validation data need a line each.")
    texts = ["".join(json.dumps({"first": first, "turns": turns}, ensure_ascii=False) + "\n"
                     for first, turns in part) for part in (lines, valid)]
    begun = hashlib.sha256(start.read_bytes()).hexdigest() if start else None
    wish = json.dumps([asdict(settings), model.name, begun, *texts])
    folder = home() / "training" / hashlib.sha256(wish.encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in zip(("train", "valid"), texts, strict=True):
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    facts = {**asdict(settings), "model": str(model), "folder": str(folder), "threads": usable_cores(),
             "start": str(start) if start else None, "about": about,
             "train": str(folder / "train.jsonl"), "valid": str(folder / "valid.jsonl")}
    (folder / "settings.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder


def _failed(code: int, tail: list[str]) -> str:
    killed = code in (-9, 137)
    why = "The system ended it, most likely for want of memory: train with less batch_tokens. " if killed else ""
    return f"The training failed (exit code {code}). {why}Its last lines:\n" + "\n".join(tail)
