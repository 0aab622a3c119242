"""Re-encode a GGUF's weights with llama.cpp's own quantiser, and say beforehand what it will do to each tensor."""
from __future__ import annotations

import os
import re
import shutil
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from labkit.errors import BadRequest, LabkitError, ModelFileError
from labkit.models import embedded, gguf_file
from labkit.models.cache import atomic_file, home
from labkit.models.manifest import sha256
from labkit.table import Shown, Table, size

# Named as llama.cpp names them, from the most bits to the fewest.
LEVELS = ("F16", "Q8_0", "Q6_K", "Q5_1", "Q5_K_S", "Q5_K_M", "Q4_K_M", "Q4_1", "Q4_0", "Q3_K_M", "Q2_K")
LOSSLESS = "F16"   # of what has fewer bits
OnProgress = Callable[[int, int], object]  # (tensors done, of how many)
# What llama.cpp writes, for every tensor and for those it cannot encode as wanted.
DONE = re.compile(r"\[ *(\d+)/ *(\d+)\]")
FALLBACK = re.compile(r"(\S+) +- ncols +(\d+) not divisible by (\d+) .*type +(\w+)\).*back to +(\w+)")
RESULT = re.compile(r"quant size += +([\d.]+) MiB")


@dataclass(frozen=True)
class Fallback:
    """A tensor whose rows of `columns` weights are no multiple of the `block` that type `wanted` needs."""

    tensor: str
    columns: int
    block: int
    wanted: str
    used: str


@dataclass(frozen=True, repr=False)
class Plan(Shown):
    """What quantising will do. n_bytes: of the tensors afterwards."""

    level: str
    n_tensors: int
    n_bytes: int
    fallbacks: tuple[Fallback, ...]

    def table(self) -> Table:
        counts = Counter((f.wanted, str(f.columns), str(f.block), f.used) for f in self.fallbacks)
        rows = [(*kind, str(n)) for kind, n in counts.items()]
        return Table(("wanted type", "row, weights", "its block", "type used", "tensors"), tuple(rows),
                     title=f"{self.level}: {len(self.fallbacks)} of {self.n_tensors} tensors fall back",
                     note=f"{size(self.n_bytes)} of weights. A type fits where a row is a multiple of its block.")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def plan(source: Path, level: str) -> Plan:
    """What `quantise` would do, asked of llama.cpp without doing it: a few hundredths of a second.

    Raises as `quantise` does.
    """
    fallbacks, results, tensors = [], [], 0

    def read(line: str) -> None:
        nonlocal tensors
        if found := DONE.search(line):
            tensors = int(found[2])
        if found := FALLBACK.search(line):
            name, columns, block, wanted, used = found.groups()
            fallbacks.append(Fallback(name, int(columns), int(block), wanted.upper(), used.upper()))
        if found := RESULT.search(line):
            results.append(float(found[1]))
    _run(source, source.with_name("not-written.gguf"), level, read, dry_run=True)
    if not results:
        raise LabkitError("This llama-cpp-python does not say what it would do. Run: pip install -U llama-cpp-python")
    return Plan(level, tensors, round(results[0] * 2**20), tuple(fallbacks))


def quantise(source: Path, target: Path, level: str, on_progress: OnProgress = lambda done, of: None) -> None:
    """Write `source` to `target` in one of LEVELS. Takes 0.5 to 2 s for 135M parameters.

    Warns where the source's weights have been rounded before and are rounded again, with how far they move.
    Raises BadRequest for an unknown level, ModelFileError when the source is no whole GGUF file, when there is no
    room, or when llama.cpp refuses.
    """
    source, target = Path(source), Path(target)
    before, wanted = gguf_file.read(source), plan(source, level)
    if target.parent.is_dir() and (free := shutil.disk_usage(target.parent).free) < wanted.n_bytes:
        raise ModelFileError(f"No room for {level} in {target.parent}: {size(free)} free, {size(wanted.n_bytes)} "
                             "needed. Free that much, or set LABKIT_HOME to a folder with room.")

    def read(line: str) -> None:
        if found := DONE.search(line):
            on_progress(int(found[1]), int(found[2]))
    _run(source, target, level, read)
    if level != LOSSLESS and before.bits_per_weight < 8:
        warnings.warn(f"{source.name} has {before.bits_per_weight:.1f} bits a weight: its weights were rounded before, "
                      f"and {level} moves them by another {moved(source, target):.1%}. Start from a file with 16 bits.",
                      stacklevel=2)


def made(level: str, source: Path | None = None, on_progress: OnProgress = lambda done, of: None) -> Path:
    """The file of a level, from the cache, or written there once. source: None for the embedded model's F16.

    Raises as `quantise` does, ModelFileError also where the cache cannot be written.
    """
    check(level)
    origin = start(source)
    if not source and level == LOSSLESS:
        return origin
    target = _cached(origin, level) if source else embedded.form_path(level)
    if not target.is_file():
        try:
            with atomic_file(target) as part:
                quantise(origin, part, level, on_progress)
        except OSError as error:
            raise ModelFileError(f"{level} cannot be written in {target.parent}: {error.strerror}. Set LABKIT_HOME to "
                                 "a folder with room.") from error
    return target


def check(level: str) -> None:
    """Raises BadRequest for a level that is none of LEVELS."""
    if level not in LEVELS:
        raise BadRequest(f"Unknown level {level!r}. Use one of: {', '.join(LEVELS)}.")


def start(source: Path | None) -> Path:
    """The file that levels are made from: `source`, or the embedded model's F16. Raises ModelFileError for none."""
    if source and not Path(source).is_file():
        raise ModelFileError(f"There is no file {source}. Name a .gguf file, or none for the embedded model.")
    return Path(source) if source else embedded.default_model()


def moved(source: Path, target: Path) -> float:
    """How far quantising moved the weights of the first feed-forward matrix: root mean square of the differences, as
    a share of the weights' own."""
    import numpy as np
    one, other = gguf_file.read(source), gguf_file.read(target)
    name = next((t.name for t in one.tensors if t.group == "feed-forward"), one.tensors[0].name)
    before, after = one.weights(name), other.weights(name)
    return float(np.sqrt(np.mean((after - before) ** 2) / np.mean(before ** 2)))


def _cached(source: Path, level: str) -> Path:
    return home() / "models" / f"{source.stem}.{level}-from-{sha256(source)[:12]}.gguf"


def _run(source: Path, target: Path, level: str, on_line: Callable[[str], object], dry_run: bool = False) -> None:
    check(level)
    from labkit.models.llama import captured_log, library
    llama_cpp = library()
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{level}")
    params.allow_requantize, params.dry_run = True, dry_run
    with captured_log(on_line) as log:
        failed = llama_cpp.llama_model_quantize(os.fsencode(source), os.fsencode(target), params)
    if failed:
        raise ModelFileError(f"{Path(source).name} could not be written as {level}: {log.reason()}")
