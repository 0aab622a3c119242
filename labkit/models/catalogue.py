"""Models by alias: what each runtime calls them, what they cost, and which one suits a role here.

The facts are in catalogue.toml. Memory is arithmetic (labkit.models.budget), speed a rule of thumb: both are
for choosing before a download. What a runtime measures afterwards is better.
"""
from __future__ import annotations

import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from labkit.errors import BadRequest, LabkitError
from labkit.models.budget import SHAPES, Budget, Shape
from labkit.table import Shown, Table, size

RUNTIMES = ("llama.cpp", "ollama", "foundry-local", "onnx", "vllm", "mlx")
CONTEXT = 4096        # tokens of KV cache to leave room for
CORE_BANDWIDTH = 10e9  # bytes/s that one core reads from memory: an estimate for laptops of the last ten years
ALL_CORES = 40e9       # and what they all reach together
READING_SPEED = 5.0    # tokens/s below which a reader waits for the model


@dataclass(frozen=True)
class Variant:
    """A model as one runtime takes it. `id` is "embedded" for the model that comes with labkit."""

    runtime: str
    id: str
    form: str               # of the weights, a key of budget.BITS
    bytes: int              # to download
    estimated: bool         # computed, because the publisher's figure is not in the catalogue
    file: str | None = None  # within a repository

    @property
    def how(self) -> str:
        """The line that gets it. The embedded model is downloaded already."""
        if self.id != "embedded":
            named = f"{self.id}/{self.file}" if self.file else self.id
            return {"ollama": f"ollama pull {self.id}", "llama.cpp": f"download {named}",
                    "onnx": f"download {named}"}.get(self.runtime, f'lk.connect("{self.runtime}", "{self.id}")')
        form = {"onnx": "onnx", "foundry-local": "onnx", "vllm": "hf", "mlx": "mlx"}.get(self.runtime)
        return f"labkit models build {form}" if form else "lk.connect()"


@dataclass(frozen=True)
class Entry:
    """A model of the catalogue."""

    alias: str
    shape: Shape
    parameters: int
    licence: str
    roles: tuple[str, ...]
    variants: dict[str, Variant]
    guide_bytes: int | None = None  # what the guide says it takes

    def variant(self, runtime: str | None = None) -> Variant | None:
        """As `runtime` takes it; without one, as the first of RUNTIMES does. None: not for this runtime."""
        return self.variants.get(runtime or next(iter(self.variants)))

    def memory_bytes(self, runtime: str | None = None) -> int:
        """RAM to run it: weights, KV cache for CONTEXT tokens and working memory."""
        variant = self.variant(runtime)
        need = Budget(self.shape, variant.form, context=min(CONTEXT, self.shape.context))
        # An embedded file is not run as it is downloaded, so its size says nothing of the weights in memory.
        weights = need.file_bytes if variant.id == "embedded" else max(need.file_bytes, variant.bytes)
        return weights + need.kv_bytes + need.compute_bytes

    def tokens_per_s(self, cores: int, runtime: str | None = None) -> float:
        """About what it writes per second on a processor: memory bandwidth / bytes read per token."""
        budget = Budget(self.shape, self.variant(runtime).form, bandwidth=min(ALL_CORES, cores * CORE_BANDWIDTH))
        return budget.ceiling() or 0.0


@dataclass(frozen=True)
class Choice(Shown):
    """What pick() chose for a role, and the reasons against each model that it passed over."""

    role: str
    entry: Entry
    variant: Variant
    on_gpu: bool
    reasons: tuple[str, ...]

    @property
    def alias(self) -> str:
        return self.entry.alias

    @property
    def reasoning(self) -> str:
        """In words: "phi-4-mini needs 3.6 GB, 2.1 GB free: qwen2.5-0.5b"."""
        return f"{'; '.join(self.reasons) or 'the first choice fits'}: {self.alias}"

    def table(self) -> Table:
        download = f"{'~' if self.variant.estimated else ''}{size(self.variant.bytes)}"
        rows = (("model", self.alias), ("runtime", self.variant.runtime), ("runs on", "GPU" if self.on_gpu else "CPU"),
                ("download", "comes with labkit" if self.variant.id == "embedded" else download),
                ("memory", size(self.entry.memory_bytes(self.variant.runtime))), ("licence", self.entry.licence),
                ("get it", self.variant.how), ("why", self.reasoning))
        return Table(("choice", f"for {self.role}"), rows)


@dataclass(frozen=True)
class Catalogue(Shown):
    """Every model of the catalogue, smallest first."""

    entries: tuple[Entry, ...]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def table(self) -> Table:
        columns = ("model", "parameters", "download", "guide says", "memory", "roles", "licence", "runtimes")
        note = (f"Download and memory for the first runtime named. ~: computed. Memory holds {CONTEXT} tokens. "
                "1 GB is 10^9 bytes.")
        return Table(columns, tuple(map(_row, self.entries)), note=note)


def entries() -> Catalogue:
    """The catalogue, read once."""
    return _read()[0]


def table() -> Table:
    """The catalogue as a table."""
    return entries().table()


def find(alias: str) -> Entry:
    """A model by its alias. Raises BadRequest for an unknown one, naming the close ones."""
    known = {entry.alias: entry for entry in entries()}
    if alias not in known:
        from difflib import get_close_matches
        close = get_close_matches(alias, known, n=3) or list(known)
        raise BadRequest(f"No model is called {alias!r} in the catalogue. There are: {', '.join(close)}.")
    return known[alias]


def pick(role: str, *, memory_bytes: int | None = None, cores: int | None = None, gpu: int | None = None,
         runtime: str | None = None) -> Choice:
    """The best model for a role, or for one of the tasks light, balanced, capable and coding.

    memory_bytes, cores: what may be used; None for this machine's. gpu: bytes of memory on an NVIDIA GPU;
    None looks for one, 0 is none. runtime: one of RUNTIMES; None takes the first that a model has.
    Raises BadRequest for an unknown role or runtime, LabkitError when nothing fits.
    """
    from labkit.models.hardware import usable_cores, usable_memory
    wanted = _checked(role, runtime)
    gpu = gpu_memory() if gpu is None else gpu
    memory_bytes = usable_memory() if memory_bytes is None else memory_bytes
    reasons: list[str] = []
    for entry in map(find, wanted):
        reason, on_gpu = _against(entry, runtime, memory_bytes, cores or usable_cores(), gpu)
        if reason is None:
            return Choice(role, entry, entry.variant(runtime), on_gpu, tuple(reasons))
        reasons.append(reason)
    raise LabkitError(f"No model for {role} fits: {'; '.join(reasons)}. Close other programs, or choose another "
                      "runtime.")


@cache
def gpu_memory() -> int:
    """Bytes of memory on the largest NVIDIA GPU, 0 without one. Asks its driver (about 0.1 s)."""
    if not (program := shutil.which("nvidia-smi")):
        return 0
    command = [program, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):  # a driver without a GPU, or asleep
        return 0
    return max((int(line) << 20 for line in told.split() if line.isdigit()), default=0)


def _against(entry: Entry, runtime: str | None, memory: int, cores: int, gpu: int) -> tuple[str | None, bool]:
    """What speaks against a model here, or None, and whether it would run on the GPU."""
    if entry.variant(runtime) is None:
        return f"{entry.alias} is not there for {runtime}", False
    need = entry.memory_bytes(runtime)
    if need <= 0.9 * gpu:  # a tenth for everything else, as Budget.fits has it
        return None, True
    if need > 0.9 * memory:
        return f"{entry.alias} needs {size(need)}, {size(memory)} free", False
    speed = entry.tokens_per_s(cores, runtime)
    if speed < READING_SPEED:
        return f"{entry.alias} would write about {speed:.1f} tokens/s on {cores} cores", False
    return None, False


def _checked(role: str, runtime: str | None) -> list[str]:
    _, roles, tasks = _read()
    if runtime is not None and runtime not in RUNTIMES:
        raise BadRequest(f"The catalogue has no runtime {runtime!r}. Use one of: {', '.join(RUNTIMES)}.")
    if (name := tasks.get(role, role)) not in roles:
        raise BadRequest(f"Unknown role {role!r}. Use one of: {', '.join([*roles, *tasks])}.")
    return roles[name]


@cache
def _read() -> tuple[Catalogue, dict[str, list[str]], dict[str, str]]:
    facts = tomllib.loads((Path(__file__).parent / "catalogue.toml").read_text(encoding="utf-8"))
    roles = facts["roles"]
    found = [_entry(alias, fact, tuple(role for role, models in roles.items() if alias in models))
             for alias, fact in facts["models"].items()]
    return Catalogue(tuple(sorted(found, key=lambda entry: entry.parameters))), roles, facts["tasks"]


def _entry(alias: str, fact: dict[str, Any], roles: tuple[str, ...]) -> Entry:
    shape = SHAPES[fact["shape"]] if isinstance(fact["shape"], str) else Shape(alias, **fact["shape"])
    variants = {runtime: _variant(runtime, shape, fact[runtime]) for runtime in RUNTIMES if runtime in fact}
    return Entry(alias, shape, fact["parameters"], fact["licence"], roles, variants, fact.get("guide_bytes"))


def _variant(runtime: str, shape: Shape, fact: dict[str, Any]) -> Variant:
    n_bytes = fact.get("bytes") or Budget(shape, fact["form"]).file_bytes
    return Variant(runtime, fact["id"], fact["form"], n_bytes, "bytes" not in fact, fact.get("file"))


def _row(entry: Entry) -> tuple[str, ...]:
    first = entry.variant()
    return (entry.alias, f"{entry.parameters / 1e9:.3g} B", f"{'~' if first.estimated else ''}{size(first.bytes)}",
            size(entry.guide_bytes) if entry.guide_bytes else "", size(entry.memory_bytes()),
            ", ".join(entry.roles), entry.licence, ", ".join(entry.variants))
