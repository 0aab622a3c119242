"""The embedded model in other runtimes' forms, each made once from the same GGUF and kept.

    hf    a Hugging Face folder: what vLLM, PyTorch and the makers of the other two forms read
    onnx  a folder for ONNX Runtime GenAI and Foundry Local
    mlx   a folder for MLX

A form is built beside its place and renamed when whole: a killed build leaves at most a `.part` folder,
which the next build removes. Its manifest says by what it was made and how long each file is.
"""
from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from labkit.errors import BadRequest, LabkitError, ModelFileError
from labkit.models import manifest
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
    """How a kind of form is made: arguments for the environment's interpreter, with {source} and {target}.

    precisions: what is added to the command for each. The first is the default, chosen by measurement.
    """

    environment: str
    command: tuple[str, ...]                # begins with -m MODULE, or a script beside this file
    precisions: dict[str, tuple[str, ...]]
    tools: tuple[str, ...]                  # distributions whose versions the manifest names
    bytes: int                              # of the largest, for a check of the room before the work
    source: str | None = None               # another kind that it is made from; None: the GGUF

    def arguments(self, source: Path, target: Path, precision: str) -> list[str]:
        places = {"{source}": str(source), "{target}": str(target)}
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
}


@dataclass(frozen=True)
class Form:
    """One form of the embedded model, made or not."""

    kind: str
    precision: str

    @property
    def folder(self) -> Path:
        return home() / "models" / f"{NAME}.{self.kind}-{self.precision}-from-{WHEEL}-{version(WHEEL)}"

    @property
    def recipe(self) -> Recipe:
        return RECIPES[self.kind]

    @property
    def command(self) -> str:
        chosen = "" if self.precision == next(iter(self.recipe.precisions)) else f":{self.precision}"
        return f"Run: labkit models build {self.kind}{chosen}"

    def fault(self, verify: bool = False) -> str | None:
        """None when it is there and whole, else what is wrong. `verify` also reads every byte (1 s)."""
        if not self.folder.is_dir():
            return "is not made yet"
        facts = manifest.read(self.folder)
        if facts is None:
            return f"is damaged: its {manifest.NAME} cannot be read"
        if facts.get("maker") != self.maker():
            return "was made by another version of labkit or of its tools"
        return manifest.fault(self.folder, facts["files"], verify)

    def why_not(self) -> str | None:
        """None when it is there and whole, else one line that says what would make it so."""
        fault = self.fault()
        return fault and f"its form of the model {fault}. {self.command}"

    def require(self) -> Path:
        """Its folder. Raises ModelFileError, with the command that makes it, when it is not whole."""
        if fault := self.fault():
            raise ModelFileError(f"The {self.kind} form of {NAME} {fault}. {self.command}")
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
                                  "tools": _versions(tools, self.recipe.tools)})
            shutil.rmtree(self.folder, ignore_errors=True)
            part.rename(self.folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _source(self, say: OnProgress) -> Path:
        return build(self.recipe.source, say) if self.recipe.source else wheel_file()

    def _convert(self, tools: Environment, source: Path, target: Path, say: OnProgress) -> None:
        say(f"Making the {self.kind} form in {self.precision}", 0.0)
        arguments = self.recipe.arguments(source, target, self.precision)
        code, tail = stream(tools.command(*arguments), lambda line: _progress(line, say), offline())
        if code:
            raise _failed(self, code, tail)


def offline() -> dict[str, str]:
    """Variables for the workshop's tools: one that asks a hub for what it has in its hands waits for a network."""
    return {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TQDM_DISABLE": "1"}


def build(kind: str, on_progress: OnProgress | None = None, *, precision: str | None = None,
          verify: bool = False) -> Path:
    """The folder of the embedded model as "hf", "onnx" or "mlx", made now if it is not there and whole.

    What it needs is made first: its private environment (from the network, the first time) and, for onnx
    and mlx, the hf form. on_progress gets (text, fraction done or None). precision: one of
    RECIPES[kind].precisions. verify also compares checksums. Raises ModelFileError or BackendUnavailable.
    """
    return form_of(kind, precision).build(on_progress, verify)


def form(kind: str, precision: str | None = None) -> Path | None:
    """The folder of a form that is there and whole, else None. Builds nothing."""
    found = form_of(kind, precision)
    return found.folder if found.fault() is None else None


def require(kind: str, precision: str | None = None) -> Path:
    """The folder of a form. Raises ModelFileError, with the command that makes it, when it is not whole."""
    return form_of(kind, precision).require()


def form_of(kind: str, precision: str | None = None) -> Form:
    """The form by its name and precision (None: the default). Raises BadRequest for an unknown one."""
    if kind not in RECIPES:
        raise BadRequest(f"Unknown form {kind!r}. Use one of: {', '.join(RECIPES)}.")
    precisions = RECIPES[kind].precisions
    if precision is not None and precision not in precisions:
        raise BadRequest(f"{kind} has no precision {precision!r}. Use one of: {', '.join(precisions)}.")
    return Form(kind, precision or next(iter(precisions)))


def all_forms() -> list[Form]:
    """Every form that can be made, the default of each kind first."""
    return [Form(kind, precision) for kind, recipe in RECIPES.items() for precision in recipe.precisions]


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
