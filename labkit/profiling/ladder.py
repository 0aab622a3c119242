"""The ladder: one model at every level of quantisation, measured. `labkit quantise --ladder`

Each level is made from the same file (by default the embedded model's F16), loaded, and measured in the same way:
speed by llama-bench's conventions on random tokens, memory as the most that loading, reading and writing add to
the process's resident bytes, perplexity and divergence from the first level on the course's prose
(labkit.profiling.quality), and calls of a fixed set of tool requests under the constraint. Results are kept by the
source's content, level and sample (labkit.profiling.kept), so a second run shows them at once.
"""
from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from labkit.errors import BadRequest, IncompleteOutput
from labkit.models import embedded, gguf_file
from labkit.models.budget import Shape, shape_of
from labkit.models.cache import home
from labkit.models.hardware import Machine, machine
from labkit.models.manifest import sha256
from labkit.models.quantise import LEVELS, check, made, plan, start
from labkit.profiling import bench, quality, tool_requests
from labkit.profiling.bandwidth import Reader
from labkit.profiling.energy import EnergyMeter
from labkit.profiling.kept import Kept
from labkit.profiling.measure import profile
from labkit.table import Shown, Table, size

CONTEXT = 2048
LOOK_S = 0.1  # at the memory, before each repetition
QUESTION = "What is the capital of France?"
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Sample:
    """How much is measured of each level."""

    windows: int = 1       # of the prose
    window: int = 224      # tokens; its second half is guessed
    tools: int = 0         # requests for a tool call
    repetitions: int = 2   # of the speeds
    prompt: int = 64       # tokens
    answer: int = 16       # tokens


QUICK, FULL = Sample(), Sample(windows=8, window=quality.WINDOW, tools=36, repetitions=5, prompt=512, answer=128)


@dataclass(frozen=True)
class Rung:
    """One level. made_s: None where its file was there already. share: of the bandwidth's ceiling, see bench.

    divergence: None for the reference itself. joules: of the whole measurement, None where nothing tells.
    """

    level: str
    file_bytes: int
    bits_per_weight: float
    fallbacks: int
    made_s: float | None
    load_s: float
    prefill: bench.Speed
    decode: bench.Speed
    share: float
    memory_bytes: int
    perplexity: quality.Perplexity
    divergence: quality.Divergence | None
    tools_right: int
    answer: str
    joules: float | None

    @property
    def kl(self) -> float:
        """Mean, nats."""
        return self.divergence.mean if self.divergence else 0.0

    @property
    def same_top(self) -> float:
        return self.divergence.top[0] if self.divergence else 1.0


@dataclass(frozen=True, repr=False)
class Ladder(Shown):
    """The levels, the reference first. bytes_per_s: memory reads, see bandwidth."""

    model: str
    shape: Shape
    rungs: tuple[Rung, ...]
    sample: Sample
    bytes_per_s: float
    machine: Machine

    def __getitem__(self, level: str) -> Rung:
        return self._by_level[level]

    @cached_property
    def _by_level(self) -> dict[str, Rung]:
        return {rung.level: rung for rung in self.rungs}

    def undominated(self) -> list[str]:
        """Levels than which no other is both smaller and truer to the reference (by KL)."""
        return [rung.level for rung in self.rungs
                if not any(o.file_bytes <= rung.file_bytes and o.kl <= rung.kl for o in self.rungs if o != rung)]

    def table(self) -> Table:
        columns = ("level", "file", "bits per weight", "decode, tokens/s", "perplexity",
                   f"KL to {self.rungs[0].level}, nats", "KL, 90 and 99 %", "same top token")
        rows = [_row(rung) for rung in self.rungs]
        if self.sample.tools:
            columns += (f"right calls of {self.sample.tools}",)
            rows = [(*row, str(rung.tools_right)) for row, rung in zip(rows, self.rungs, strict=True)]
        note = (f"{self.rungs[0].perplexity.guesses} guesses a level; ± is one standard error. KL, 90 and 99 %: that "
                f"share of the guesses is no further off. No level is both smaller and truer than "
                f"{', '.join(self.undominated())}.")
        return Table(columns, tuple(rows), note=note, title=f"{self.model}, {len(self.rungs)} levels")

    def speeds(self) -> Table:
        """What each level took: seconds, tokens/s, bytes."""
        columns = ("level", "fall back", "made, s", "loaded, s", "prefill, tokens/s", "decode, tokens/s",
                   "of ceiling", "peak memory")
        note = (f"± is the standard deviation of {self.sample.repetitions}. Ceiling: {self.bytes_per_s / 1e9:.1f} GB/s "
                f"of memory reads. Fall back: tensors with another type than the level's. Peak memory: what loading, "
                f"reading and writing add at most. Energy: {self._energy()}. {self.machine}")
        return Table(columns, tuple(map(_speed_row, self.rungs)), note=note)

    def __str__(self) -> str:
        return f"{self.table()}\n\n{self.speeds()}"

    def _energy(self) -> str:
        told = [f"{rung.level} {rung.joules:.0f} J" for rung in self.rungs if rung.joules is not None]
        return ", ".join(told) or str(EnergyMeter().read())

    def to_dict(self) -> dict[str, Any]:
        rungs = [{**asdict(r), "divergence": r.divergence and r.divergence.to_dict(), "kl": r.kl,
                  "same_top": r.same_top} for r in self.rungs]
        return {"model": self.model, "shape": asdict(self.shape), "rungs": rungs, "sample": asdict(self.sample),
                "bytes_per_s": self.bytes_per_s, "machine": self.machine.to_dict(), "undominated": self.undominated()}


def _row(rung: Rung) -> tuple[str, ...]:
    d = rung.divergence
    apart = (f"{d.mean:.4f} ± {d.error:.4f}", f"{d.percentile(90):.3f}, {d.percentile(99):.3f}",
             f"{d.top[0]:.1%}") if d else ("0", "0", "all")
    return (rung.level, size(rung.file_bytes), f"{rung.bits_per_weight:.2f}", f"{rung.decode.mean:.0f}",
            str(rung.perplexity), *apart)


def _speed_row(rung: Rung) -> tuple[str, ...]:
    made_s = "was there" if rung.made_s is None else f"{rung.made_s:.1f}"
    speeds = (f"{speed.mean:.0f} ± {speed.sd:.0f}" for speed in (rung.prefill, rung.decode))
    return (rung.level, str(rung.fallbacks), made_s, f"{rung.load_s:.2f}", *speeds, f"{rung.share:.0%}",
            size(rung.memory_bytes))


def run(progress: Progress | None = None, *, levels: Sequence[str] = LEVELS, source: Path | None = None,
        sample: Sample = QUICK, fresh: bool = False) -> Ladder:
    """Make and measure the levels; with QUICK about a minute for all eleven on two cores.

    levels: the first is the reference of the others. source: a GGUF to make them from; None for the embedded model's
    F16. fresh: measure again what was measured before. Raises BadRequest for an unknown level or none, ModelFileError
    where a level cannot be made.
    """
    if not levels:
        raise BadRequest("Name a level.")
    for level in levels:
        check(level)
    report, origin = progress or (lambda *_: None), start(source)
    keep, reader = _kept(origin, sample, levels[0]), Reader()
    rungs = {} if fresh else {level: rung for level in levels if (rung := keep.load(level))}
    missing = [level for level in levels if level not in rungs]
    reference = missing and _references(levels[0], source, sample)
    for i, level in enumerate(missing):
        report(i, len(missing), level)
        rungs[level] = _measure(level, source, sample, None if level == levels[0] else reference, reader)
        keep.save(level, rungs[level])
    report(len(missing), len(missing), "done")
    return Ladder(embedded.display_name(origin), shape_of(origin), tuple(rungs[level] for level in levels), sample,
                  statistics.median(reader.read(LOOK_S) for _ in range(5)), machine())


def _kept(origin: Path, sample: Sample, reference: str) -> Kept[Rung]:
    return Kept("ladder", Rung, sha256(origin), sample, reference, quality.prose())


def _connect(path: Path):
    from labkit import connect
    return connect("llama.cpp", str(path), context_length=CONTEXT, adapter=None)


def _references(level: str, source: Path | None, sample: Sample) -> quality.Predictions:
    with _connect(made(level, source)) as chat:
        return quality.references(chat.backend.engine, window=sample.window, most=sample.windows)


def _measure(level: str, source: Path | None, sample: Sample, reference: quality.Predictions | None,
             reader: Reader) -> Rung:
    """reference: None for the reference itself. reader: of the memory's speed."""
    meter, there, began = EnergyMeter(), set(home().glob("models/*")), time.perf_counter()
    path = made(level, source)
    made_s = None if path in there else time.perf_counter() - began
    with profile() as used:
        began = time.perf_counter()
        chat = _connect(path)
        answer = chat.chat(QUESTION, max_tokens=10).text  # reads every weight once: the file is mapped, not copied
        load_s = time.perf_counter() - began
        driver = bench._Engine(chat.backend, sample.prompt, sample.answer)
        rounds = [(reader.read(LOOK_S), *driver.measure()) for _ in range(sample.repetitions)]
    widths, *speeds = zip(*rounds, strict=True)
    prefill, decode = map(bench.Speed, ("prefill", "decode"), speeds)
    memory = used.peak_rss_bytes - used.rss_before
    ppl, apart = quality.compare(chat.backend.engine, reference, window=sample.window, most=sample.windows)
    right = sum(_is_right(chat, item) for item in requests(sample.tools))
    file, announced = gguf_file.read(path), plan(start(source), level)
    share = decode.mean * driver.bytes_per_token / statistics.median(widths)
    return Rung(level, path.stat().st_size, file.bits_per_weight, len(announced.fallbacks), made_s, load_s, prefill,
                decode, share, memory, ppl, apart, right, answer, meter.read().joules)


def requests(n: int) -> list[tool_requests.Item]:
    """A fixed choice of the course's requests that need one call."""
    found = [item for item in tool_requests.load("test") if item.kind == "one"]
    return random.Random(4).sample(found, min(n, len(found)))


def _is_right(chat, item: tool_requests.Item) -> bool:
    try:
        calls = chat.chat(item.request, tools=item.tools, tool_choice="required", max_tokens=80).tool_calls
    except IncompleteOutput:
        return False
    return tool_requests.score(item, calls)


# -- the guide's claims --------------------------------------------------------------------


def claims(ladder: Ladder) -> Table:
    """What is often said of the levels, and what this run says. Needs F16, Q8_0, Q4_0, Q4_K_M and Q2_K."""
    f16, q8, q4, q4k, q2 = (ladder[level] for level in ("F16", "Q8_0", "Q4_0", "Q4_K_M", "Q2_K"))
    smaller, half = 1 - q4.file_bytes / f16.file_bytes, q8.file_bytes / f16.file_bytes
    fastest = max(ladder.rungs, key=lambda rung: rung.decode.mean)
    truer = [r.level for r in ladder.rungs if r.file_bytes <= q4k.file_bytes and r.kl < q4k.kl]
    return Table(("claim", "measured here", "holds"), (
        ("Q4_0 is 75 % smaller", f"{smaller:.0%} smaller than F16", _verdict(abs(smaller - 0.75) < 0.03)),
        ("Q8_0 is about half the original", f"{half:.0%} of F16", _verdict(abs(half - 0.5) < 0.05)),
        ("Q8_0 is nearly the original", f"the same next token at {q8.same_top:.1%}", _verdict(q8.same_top > 0.95)),
        ("Q2_K is under 500 MB", f"{size(q2.file_bytes)}; so is F16: {size(f16.file_bytes)}",
         _verdict(q2.file_bytes < 5e8)),
        ("Q2_K has two bits a weight", f"{q2.bits_per_weight:.1f} bits", _verdict(q2.bits_per_weight < 3)),
        ("Q4_K is the fastest", f"{fastest.level} writes {fastest.decode.mean:.0f} tokens/s, Q4_K_M "
         f"{q4k.decode.mean:.0f}", _verdict(fastest == q4k)),
        ("Q4_K_M is the balanced choice", f"smaller and truer: {', '.join(truer) or 'none'}", _verdict(not truer)),
    ), title="What is said of the levels")


def _verdict(holds: bool) -> str:
    return "yes" if holds else "no"
