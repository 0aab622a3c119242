"""labkit against llama-cpp-python used directly, and the waits that a learner feels.

Both run in this process on the same file with the same settings (context, threads, batch, flash
attention, greedy), on prompts that neither has seen, one after the other, each first in half of the
pairs. What is reported is the median over the pairs of a ratio (decode) or a difference (time to
first token), so a machine that slows down for a minute slows both sides of a pair.
"""
from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from labkit.errors import LabkitError
from labkit.models.hardware import Machine, machine
from labkit.table import Shown, Table

PAIRS, ANSWER, IMPORTS, STARTS = 10, 96, 5, 3
FIRST_CELL = "Say hello, and say in one sentence what you are."
SUBJECTS = ("Rivers", "Clocks", "Bread", "Lighthouses", "Bees", "Paper", "Bridges", "Salt", "Glaciers",
            "Libraries", "Windmills", "Maps", "Volcanoes", "Tea", "Trains", "Cotton", "Owls", "Glass",
            "Harbours", "Kites", "Forests")
REQUESTS = tuple(f"{ask} {thing}?" for ask, things in (
    ("Where is my order", ("A-1042", "B-2210", "C-3001", "A-7785", "D-4119", "B-9034", "E-5520")),
    ("What is the weather in", ("Lisbon", "Oslo", "Nairobi", "Lima", "Hanoi", "Cairo", "Quito")),
    ("How many kilometres are", ("3 miles", "26 miles", "40 miles", "7 miles", "112 miles", "61 miles")),
) for thing in things)


@dataclass(frozen=True)
class Side:
    """One answer of one of the two."""

    ttft_s: float
    tokens_per_s: float
    text: str


@dataclass(frozen=True)
class Pair:
    labkit: Side
    raw: Side

    @property
    def decode_ratio(self) -> float:
        return self.labkit.tokens_per_s / self.raw.tokens_per_s

    @property
    def ttft_difference_ms(self) -> float:
        return (self.labkit.ttft_s - self.raw.ttft_s) * 1000


@dataclass(frozen=True)
class Comparison(Shown):
    """What `run` found. Times in seconds; an empty tuple was not measured."""

    model: str
    settings: dict[str, Any]
    machine: Machine
    pairs: tuple[Pair, ...]
    import_s: tuple[float, ...] = ()
    first_token_s: tuple[float, ...] = ()   # from the start of a fresh process
    tool_call_s: tuple[float, ...] = ()     # 3 tools, warm
    tool_calls: int = 0                     # how many of those ended in a call

    @property
    def decode_ratio(self) -> float:
        return statistics.median(pair.decode_ratio for pair in self.pairs)

    @property
    def ttft_difference_ms(self) -> float:
        return statistics.median(pair.ttft_difference_ms for pair in self.pairs)

    @property
    def same_text(self) -> int:
        """Pairs whose two answers are the same, letter for letter."""
        return sum(pair.labkit.text == pair.raw.text for pair in self.pairs)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "decode_ratio": self.decode_ratio, "same_text": self.same_text,
                "ttft_difference_ms": self.ttft_difference_ms}

    def table(self) -> Table:
        note = (f"{len(self.pairs)} pairs, {self.same_text} with the same answer on both sides. "
                f"{_settings(self.settings)}. {self.machine}")
        return Table(("measure", "median", "range", "target"), (*self._pair_rows(), *self._wait_rows()),
                     title=f"Against llama-cpp-python: {self.model}", note=note)

    def _pair_rows(self) -> list[tuple[str, ...]]:
        ours, raw = ([getattr(pair, side) for pair in self.pairs] for side in ("labkit", "raw"))
        return [
            _row("decode, labkit (tokens/s)", [s.tokens_per_s for s in ours], ".1f"),
            _row("decode, llama-cpp-python (tokens/s)", [s.tokens_per_s for s in raw], ".1f"),
            _row("decode, labkit / raw", [p.decode_ratio for p in self.pairs], ".3f", "0.98 or more"),
            _row("first token, labkit (ms)", [s.ttft_s * 1000 for s in ours], ".1f"),
            _row("first token, llama-cpp-python (ms)", [s.ttft_s * 1000 for s in raw], ".1f"),
            _row("first token, labkit - raw (ms)", [p.ttft_difference_ms for p in self.pairs], "+.2f",
                 "+2 or less"),
        ]

    def _wait_rows(self) -> list[tuple[str, ...]]:
        calls = f"tool call, 3 tools, warm (s), {self.tool_calls} of {len(self.tool_call_s)} called"
        waits = (("import labkit (s)", self.import_s, "under 0.3"),
                 ("fresh process to first token (s)", self.first_token_s, "under 3"),
                 (calls, self.tool_call_s, "under 0.4"))
        return [_row(name, values, ".3f", target) for name, values, target in waits if values]


def _row(name: str, values, form: str, target: str = "") -> tuple[str, ...]:
    low, middle, high = (format(f(values), form) for f in (min, statistics.median, max))
    return name, middle, f"{low} to {high}", target


def _settings(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in settings.items())


def run(chat=None, *, pairs: int = PAIRS, answer_tokens: int = ANSWER, waits: bool = True,
        progress: Callable[[int, int, str], None] | None = None) -> Comparison:
    """Measure everything; about 60 s on two cores. `waits=False`: only the pairs.

    chat: what connect("llama.cpp") returned. Raises LabkitError where a fresh process fails.
    """
    from labkit import connect
    chat = chat or connect("llama.cpp")
    report, steps = progress or (lambda *_: None), pairs + (3 if waits else 0)
    settings = settings_of(chat)
    raw = _raw(chat, settings)
    try:
        found = []
        for i in range(-1, pairs):  # the first pair warms up and is not kept
            report(max(i, 0), steps, f"pair {i + 1} of {pairs}" if i >= 0 else "warm-up")
            found.append(_pair(chat, raw, _prompt(i), answer_tokens, labkit_first=i % 2 == 0))
    finally:
        raw.close()
    rest = _waits(chat, pairs, steps, report) if waits else {}
    report(steps, steps, "done")
    return Comparison(chat.backend.model, settings, machine(), tuple(found[1:]), **rest)


def settings_of(chat) -> dict[str, Any]:
    """The settings that the other side is given."""
    engine = chat.backend.engine
    return {"n_ctx": engine.context_length, "n_threads": engine.threads, "n_batch": 512, "flash_attn": True}


def _raw(chat, settings: dict[str, Any]):
    from labkit.models.llama import library
    return library().Llama(str(chat.backend.engine.path), n_threads_batch=settings["n_threads"],
                           n_ubatch=settings["n_batch"], verbose=False, **settings)


def _prompt(i: int) -> str:
    """Differs from every other from its first word on, so only the template's start can be cached."""
    subject = SUBJECTS[(i + 1) % len(SUBJECTS)]
    again = (i + 1) // len(SUBJECTS)
    return (f"{subject}{f', part {again + 1}' if again else ''}: write a long article for a school "
            "newspaper. Begin with their history, then how they work, then why they matter today.")


def _pair(chat, raw, prompt: str, answer_tokens: int, labkit_first: bool) -> Pair:
    sides = {"labkit": lambda: _labkit_side(chat, prompt, answer_tokens),
             "raw": lambda: _raw_side(raw, prompt, answer_tokens)}
    order = sorted(sides, reverse=not labkit_first)
    return Pair(**{name: sides[name]() for name in order})


def _labkit_side(chat, prompt: str, answer_tokens: int) -> Side:
    return _timed(lambda: chat.stream(prompt, max_tokens=answer_tokens, temperature=0.0))


def _raw_side(raw, prompt: str, answer_tokens: int) -> Side:
    def pieces():
        for chunk in raw.create_chat_completion([{"role": "user", "content": prompt}], stream=True,
                                                temperature=0.0, max_tokens=answer_tokens):
            yield chunk["choices"][0]["delta"].get("content", "")
    return _timed(pieces)


def _timed(start: Callable) -> Side:
    """One clock for both: from the call to the first text, and from there to the last.

    A piece is a token on both sides but for characters of several tokens, rare in English.
    """
    begin, times, text = time.perf_counter(), [], []
    for piece in start():
        if piece:
            times.append(time.perf_counter())
            text.append(piece)
    if len(times) < 2:
        raise LabkitError("The answer was too short to time. Run the comparison again with more tokens.")
    return Side(times[0] - begin, (len(times) - 1) / (times[-1] - times[0]), "".join(text))


def _waits(chat, done: int, steps: int, report) -> dict[str, Any]:
    report(done, steps, "import labkit")
    imports = tuple(import_seconds() for _ in range(IMPORTS))
    report(done + 1, steps, "fresh process to first token")
    starts = tuple(first_token_seconds() for _ in range(STARTS))
    report(done + 2, steps, "tool calls")
    seconds, calls = tool_call_seconds(chat)
    return {"import_s": imports, "first_token_s": starts, "tool_call_s": seconds, "tool_calls": calls}


def import_seconds() -> float:
    """`import labkit` in a fresh interpreter, without the interpreter's own start."""
    return float(_fresh("from time import perf_counter as now; t = now(); import labkit; print(now() - t)"))


def first_token_seconds() -> float:
    """From the start of a fresh process to the first token of the first cell's answer."""
    begin = time.time()  # the one clock that both processes share
    code = ("import labkit as lk, time; slm = lk.connect(); begin = time.time(); "
            f"reply = slm.chat({FIRST_CELL!r}); print(begin + reply.timing.ttft_s)")
    return float(_fresh(code)) - begin


def _fresh(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise LabkitError(f"A fresh process failed: {reason}. Run: labkit doctor")
    return done.stdout.strip().splitlines()[-1]


def tool_call_seconds(chat) -> tuple[tuple[float, ...], int]:
    """Seconds for each of REQUESTS with three tools, after a warm-up, and how many ended in a call."""
    tools, seconds, calls = _tools(), [], 0
    chat.chat("Where is my order Z-1?", tools=tools)
    for request in REQUESTS:
        begin = time.perf_counter()
        reply = chat.chat(request, tools=tools)
        seconds.append(time.perf_counter() - begin)
        calls += bool(reply.tool_calls)
    return tuple(seconds), calls


def _tools() -> list:
    from labkit import tool

    @tool
    def order_status(order_id: str) -> str:
        """Where an order is.

        Args:
            order_id: a letter, a dash and a number, like A-1042.
        """

    @tool
    def weather(city: str) -> str:
        """The weather in a city now.

        Args:
            city: the city's name.
        """

    @tool
    def miles_to_kilometres(miles: float) -> float:
        """Convert a distance in miles to kilometres.

        Args:
            miles: the distance in miles.
        """
    return [order_status, weather, miles_to_kilometres]
