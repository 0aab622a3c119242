"""Prefill and decode speed by llama-bench's conventions, next to the memory bandwidth.

pp512: one prompt of 512 random token ids, evaluated from an empty cache. tg128: 128 tokens decoded
one by one after a single random token, their ids random too: no sampling, no template, no text. A
warm-up run, then five repetitions of each; mean and sample standard deviation in tokens/s.

The ceiling. One decoded token reads every weight once, so tokens/s cannot exceed bandwidth / bytes
read per token. With tied embeddings that is the whole file: the input table is the output head too.
With a separate input table, only one row of it is read, and the table is taken off. The KV cache
read at half way (64 tokens) is added. Bandwidth is read just before each repetition, because a
shared machine changes from one second to the next, and the share is of those pairs' median.

A runtime without an engine in this process (a server) is measured through its requests, with text
instead of ids: pp is prompt tokens / TTFT, tg is 1 / TPOT; the result says so.
"""
from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from labkit.backends.base import Backend, Request
from labkit.backends.reply import Timing
from labkit.errors import BadRequest, IncompleteOutput
from labkit.models.hardware import Machine, machine
from labkit.profiling.bandwidth import Bandwidth, Reader
from labkit.table import Shown, Table, size

PROMPT, ANSWER, REPETITIONS = 512, 128, 5
OWNER = -1  # always the same, so each repetition takes the same sequence over and empties it
Progress = Callable[[int, int, str], None]  # steps done, steps in all, what comes next


@dataclass(frozen=True)
class Speed:
    """Repeated measurements of one thing, in tokens/s."""

    name: str
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.mean(self.values)

    @property
    def sd(self) -> float:
        """Sample standard deviation; 0 for a single value."""
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {self.sd:.2f}"


@dataclass(frozen=True)
class Bench(Shown):
    """What `run` found."""

    backend: str
    model: str
    how: str                       # "token ids" or "requests"
    threads: int | None            # None: the runtime's own business
    machine: Machine
    prefill: Speed
    decode: Speed
    bandwidth: Bandwidth
    bytes_per_token: float | None  # None: the runtime does not say which file it runs

    @property
    def ceiling(self) -> float | None:
        """Tokens/s that the median bandwidth allows."""
        return self.bandwidth.bytes_per_s / self.bytes_per_token if self.bytes_per_token else None

    @property
    def share(self) -> float | None:
        """Decode speed over the ceiling measured just before it: median of the repetitions."""
        if not self.bytes_per_token:
            return None
        pairs = zip(self.decode.values, self.bandwidth.readings, strict=True)
        return statistics.median(speed * self.bytes_per_token / width for speed, width in pairs)

    def to_dict(self) -> dict[str, Any]:
        speeds = {speed.name: {"mean": speed.mean, "sd": speed.sd, "values": speed.values}
                  for speed in (self.prefill, self.decode)}
        return {"backend": self.backend, "model": self.model, "how": self.how, "threads": self.threads,
                "machine": asdict(self.machine), **speeds, "bandwidth": self.bandwidth.to_dict(),
                "bytes_per_token": self.bytes_per_token, "ceiling_tokens_per_s": self.ceiling,
                "share_of_ceiling": self.share}

    def table(self) -> Table:
        rows = [(speed.name, f"{speed} tokens/s") for speed in (self.prefill, self.decode)]
        low, high = min(self.bandwidth.readings) / 1e9, max(self.bandwidth.readings) / 1e9
        median = self.bandwidth.bytes_per_s / 1e9
        rows.append(("memory reads", f"{median:.1f} GB/s ({low:.1f} to {high:.1f})"))
        if self.bytes_per_token:
            rows += [("read per token", size(self.bytes_per_token)),
                     ("ceiling", f"{self.ceiling:.0f} tokens/s"),
                     (f"{self.decode.name} / ceiling", f"{self.share:.0%}")]
        threads = f", {self.threads} threads" if self.threads else ""
        note = (f"Measured with {self.how}; mean ± standard deviation of {len(self.decode.values)}, "
                f"tokens/s. {self.machine}")
        return Table(("test", "result"), tuple(rows), note=note,
                     title=f"{self.model} on {self.backend}{threads}")


def run(backend: Backend | None = None, *, prompt_tokens: int = PROMPT, answer_tokens: int = ANSWER,
        repetitions: int = REPETITIONS, progress: Progress | None = None) -> Bench:
    """Measure a backend: by default the embedded model. About 15 s on two cores.

    backend: a Backend, or what connect() returned. Raises BadRequest for counts below 1.
    """
    if min(prompt_tokens, answer_tokens, repetitions) < 1:
        raise BadRequest("prompt_tokens, answer_tokens and repetitions must be 1 or more.")
    backend = _backend(backend)
    driver = (_Engine if hasattr(backend, "engine") else _Requests)(backend, prompt_tokens, answer_tokens)
    report = progress or (lambda *_: None)
    report(0, repetitions + 1, "warm-up")
    driver.measure()
    reader, rows = Reader(), []
    for done in range(1, repetitions + 1):
        report(done, repetitions + 1, f"repetition {done} of {repetitions}")
        rows.append((reader.read(), *driver.measure()))
    report(repetitions + 1, repetitions + 1, "done")
    readings, prefill, decode = zip(*rows, strict=True)
    return Bench(
        backend.name, backend.model, driver.how, driver.threads, machine(),
        Speed(f"pp{prompt_tokens}", prefill), Speed(f"tg{answer_tokens}", decode),
        Bandwidth(readings, reader.threads, reader.buffer_bytes), driver.bytes_per_token)


def _backend(given: Any) -> Backend:
    if given is None:
        from labkit import connect
        given = connect()
    return getattr(given, "backend", given)  # connect() returns a Chat around the backend


class _Engine:
    """Token ids straight into a context of its own, on the backend's weights."""

    how = "token ids"

    def __init__(self, backend: Backend, prompt_tokens: int, answer_tokens: int):
        self.threads = backend.engine.threads
        context = max(prompt_tokens + answer_tokens, 256)  # llama.cpp's smallest
        self._own = type(backend)(backend.engine.path, context_length=context, threads=self.threads)
        self.engine = self._own.engine
        self.bytes_per_token = _bytes_per_token(Path(self.engine.path), answer_tokens // 2)
        self.prompt_tokens, self.answer_tokens = prompt_tokens, answer_tokens
        self._random = random.Random(0)

    def measure(self) -> tuple[float, float]:
        """Tokens/s of one prompt and of one answer."""
        prefill = self._time([self._ids(self.prompt_tokens)])
        ids = self._ids(self.answer_tokens)
        decode = self._time([ids[:n] for n in range(1, len(ids) + 1)])
        return self.prompt_tokens / prefill, self.answer_tokens / decode

    def _time(self, calls: list[list[int]]) -> float:
        begin = time.perf_counter()
        for tokens in calls:
            self.engine.evaluate(tokens, OWNER, _ignore)
        return time.perf_counter() - begin

    def _ids(self, count: int) -> list[int]:
        # New ids each time: the cache finds no prefix that it has seen.
        return [self._random.randrange(self.engine.n_vocab) for _ in range(count)]


def _ignore(logits) -> int:
    return 0


def _bytes_per_token(path: Path, position: int) -> float:
    """The file, less a table that is only looked up, and the KV cache at `position` (F16)."""
    from labkit.models.budget import Budget, shape_of
    shape = shape_of(path)
    weights = path.stat().st_size * shape.read_parameters / shape.parameters
    return weights + Budget(shape).kv_bytes_per_token * position


class _Requests:
    """Whole requests, for a runtime that takes text."""

    how, threads, bytes_per_token = "requests", None, None

    def __init__(self, backend: Backend, prompt_tokens: int, answer_tokens: int):
        self.backend, self.prompt_tokens, self.answer_tokens = backend, prompt_tokens, answer_tokens
        self._random = random.Random(0)

    def measure(self) -> tuple[float, float]:
        words = " ".join(f"{self._random.randrange(1000)}" for _ in range(self.prompt_tokens // 2))
        request = Request([{"role": "user", "content": f"{words}\nGo on with the numbers."}],
                          max_tokens=self.answer_tokens)
        begin, arrivals, usage = time.perf_counter(), [], None
        for chunk in self.backend.generate(request):
            if chunk.text:
                arrivals.append((time.perf_counter() - begin, chunk.tokens))
            usage = chunk.usage or usage
        timing = Timing(tuple(arrivals), time.perf_counter() - begin)
        if usage is None or len(arrivals) < 2:
            raise IncompleteOutput(f"{self.backend.name} sent too short an answer to time. Try again.")
        return usage.prompt_tokens / timing.ttft_s, timing.tokens_per_s
