"""The league table: the same model and prompts in every runtime that is here, and a choice from it."""
from __future__ import annotations

import hashlib
import inspect
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from labkit.errors import BackendUnavailable, BadRequest
from labkit.models import workshop
from labkit.models.cache import atomic_file, home
from labkit.models.environments import ENVIRONMENTS
from labkit.models.hardware import Machine, machine
from labkit.profiling import league_entry
from labkit.profiling.league_entry import CLIENTS, Entry
from labkit.table import Shown, Table, size

Progress = Callable[[int, int, str], None]
CASES, ANSWER_TOKENS = 6, 12  # tool calls, and tokens an answer: some 10 s a runtime, MLX on a processor minutes

# What one may want most: (how it is called in the sentence, the figure, whether more is better).
NEEDS: dict[str, tuple[str, Callable[[Entry], float], bool]] = {
    "first word": ("ms to the first token", lambda e: e.ttft_s * 1000, False),
    "one reader": ("tokens/s for one client", lambda e: e.tokens_per_s[1], True),
    "many clients": (f"tokens/s for {CLIENTS[-1]} clients", lambda e: e.tokens_per_s[CLIENTS[-1]], True),
    "little memory": ("MB of memory", lambda e: e.rss_bytes / 1e6, False),
    "quick start": ("s until it is loaded", lambda e: e.load_s, False),
    "tools": ("% of tool calls right", lambda e: 100 * e.right / e.cases, True),
}


@dataclass(frozen=True)
class League(Shown):
    """Every runtime measured, and why the others were not."""

    entries: tuple[Entry, ...]
    left_out: dict[str, str]
    machine: Machine

    def table(self) -> Table:
        columns = ("runtime", "load, s", "first token, ms", *(f"tokens/s, {n}" for n in CLIENTS), "memory",
                   "tool calls", "schema")
        rows = tuple(_row(entry) for entry in self.entries)
        note = [f"tokens/s: all clients together, {', '.join(map(str, CLIENTS))} of them, for answers of "
                f"{self.entries[0].answer_tokens} tokens and their prompts. Tool calls: right of "
                f"{self.entries[0].cases}, untrained model. Schema: enforced while decoding, or how it is repaired."
                if self.entries else "Nothing was measured."]
        note += [f"Not here: {name} ({why})" for name, why in self.left_out.items()]
        return Table(columns, rows, title=f"One model, every runtime: {self.machine.cpu}, {self.machine.cores} cores",
                     note="\n".join(note))

    def choose(self, need: str, *, memory_bytes: float | None = None) -> str:
        """The runtime that serves a need best on this machine, in a sentence with its figures.

        need: one of NEEDS. memory_bytes: those that take more are out.
        """
        if need not in NEEDS:
            raise BadRequest(f"need={need!r}: use one of {', '.join(NEEDS)}.")
        unit, figure, more = NEEDS[need]
        fitting = [e for e in self.entries if memory_bytes is None or e.rss_bytes <= memory_bytes]
        if not fitting:
            least = min(self.entries, key=lambda e: e.rss_bytes)
            return f"None fits in {size(memory_bytes or 0)}: the smallest, {least.name}, takes {size(least.rss_bytes)}."
        best, *others = sorted(fitting, key=figure, reverse=more)
        then = f"; next is {others[0].name} with {figure(others[0]):.3g}" if others else ""
        return f"{best.name}: {figure(best):.3g} {unit}{then}."

    def to_dict(self) -> dict[str, Any]:
        return {"entries": [asdict(entry) for entry in self.entries], "left_out": self.left_out,
                "machine": asdict(self.machine)}


def run(names: str | Sequence[str] = "all", *, cases: int = CASES, answer_tokens: int = ANSWER_TOKENS,
        kept: bool = False, limit_s: float = 600.0, progress: Progress | None = None) -> League:
    """Measure runtimes one after the other, each in a process of its own (10 to 90 s each).

    names: "all" for every one usable here, or names (a list, or with commas).
    kept: take what was measured before on this machine with these versions, and measure the rest only.
    limit_s: for one runtime; one that takes longer is left out.
    Raises BadRequest for an unknown name; one that fails is left out, with its reason.
    """
    wanted, left_out = _wanted(names)
    entries = []
    for i, name in enumerate(wanted):
        if progress:
            progress(i, len(wanted), name)
        place = kept_file(name, cases, answer_tokens)
        try:
            entries.append(_read(place) if kept and place.is_file() else
                           _measured(name, cases, answer_tokens, limit_s, place))
        except BackendUnavailable as error:
            left_out[name] = str(error)
    return League(tuple(entries), left_out, machine())


def kept_file(name: str, cases: int, answer_tokens: int) -> Path:
    """Where a runtime's entry is kept. Another version, form of the model or machine is another file."""
    here = machine()
    facts = [name, cases, answer_tokens, here.cpu, here.cores, _versions(name), inspect.getsource(league_entry)]
    return home() / "league" / f"{name}-{hashlib.sha256(repr(facts).encode()).hexdigest()[:12]}.json"


def _versions(name: str) -> list[str]:
    """What the figures depend on: labkit, the runtime's packages, and the forms of the model."""
    from labkit.backends.registry import backend_class
    forms = [f"{form.folder.name} {form.maker()}" for form in workshop.all_forms()]
    own = [ENVIRONMENTS[name].fingerprint()] if name in ENVIRONMENTS else []
    return [version("labkit"), *(version(package) for package in backend_class(name).requires.values()), *own, *forms]


def _wanted(names: str | Sequence[str]) -> tuple[list[str], dict[str, str]]:
    from labkit.backends.registry import list_backends
    known = {found.name: found.why_not for found in list_backends()}
    if names == "all":
        return [name for name, why in known.items() if not why], {name: why for name, why in known.items() if why}
    chosen = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    if unknown := [name for name in chosen if name not in known]:
        raise BadRequest(f"There is no backend {unknown[0]!r}. Use: all, or of {', '.join(known)}.")
    return chosen, {}


def _read(path: Path) -> Entry:
    found = json.loads(path.read_text(encoding="utf-8"))
    return Entry(**{**found, "tokens_per_s": {int(n): rate for n, rate in found["tokens_per_s"].items()}})


def _measured(name: str, cases: int, answer_tokens: int, limit_s: float, place: Path) -> Entry:
    command = [sys.executable, "-m", "labkit.profiling.league_entry", name,
               "--cases", str(cases), "--answer-tokens", str(answer_tokens)]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=limit_s)
    except subprocess.TimeoutExpired:
        raise BackendUnavailable(f"took more than {limit_s:g} s. Measure it: labkit bench --backends {name}") from None
    if done.returncode:
        raise BackendUnavailable((done.stderr.strip().splitlines() or ["it ended without a word"])[-1])
    with atomic_file(place) as part:
        part.write_text(done.stdout.splitlines()[-1], encoding="utf-8")
    return _read(place)


def _row(entry: Entry) -> tuple[str, ...]:
    return (entry.name, f"{entry.load_s:.1f}", f"{entry.ttft_s * 1000:.0f}",
            *(f"{entry.tokens_per_s[n]:.0f}" for n in CLIENTS), size(entry.rss_bytes),
            f"{entry.right} of {entry.cases}", _schema(entry.capabilities))


def _schema(capabilities: dict[str, Any]) -> str:
    if "json_schema" in capabilities["constraints"]:
        return "enforced"
    return "continued" if capabilities["continues"] else "asked again"
