"""Load a LoRA adapter into llama.cpp and set it on a context."""
from __future__ import annotations

import ctypes
import os
from pathlib import Path

from labkit.errors import LabkitError, ModelFileError
from labkit.models import adapter_file
from labkit.models.adapter_file import COURSE
from labkit.models.embedded import display_name
from labkit.models.llama import captured_log
from labkit.tools.trained import FORMAT


def chosen(adapter: str | Path | None, embedded: bool) -> Path | None:
    """The file that is meant. The course's own is for the embedded model, where the course's data are at hand."""
    if adapter != COURSE:
        return Path(adapter).resolve() if adapter else None
    try:
        file = adapter_file.course()
    except LabkitError:
        return None
    return file.resolve() if embedded and file.is_file() else None


def as_it_is(path: Path) -> tuple:
    """What tells a file from the one that was, or will be, at the same path."""
    path = Path(path).resolve()
    if not path.is_file():  # what reads it will say so
        return (path,)
    about = path.stat()
    return path, about.st_ino, about.st_size, about.st_mtime_ns


def attach(c, weights, context, path: Path) -> None:
    """Set the adapter at `path` on a context. It is loaded once for its weights, and freed with them.

    Raises ModelFileError for a file that is no adapter, or one for another model or another form of prompt.
    """
    file = as_it_is(path)
    if file not in weights.adapters:
        weights.adapters[file] = _load(c, weights, path)
    one = (c.llama_adapter_lora_p_ctypes * 1)(weights.adapters[file])
    if c.llama_set_adapters_lora(context, one, 1, (ctypes.c_float * 1)(1.0)):
        raise ModelFileError(f"{path.name} cannot be set on this model.")


def _load(c, weights, path: Path):
    adapter_file.check(path, display_name(weights.path))
    adapter_file.check_format(path, FORMAT)
    with captured_log() as log:
        loaded = c.llama_adapter_lora_init(weights.model, os.fsencode(path))
    if not loaded:
        raise ModelFileError(f"{path.name} could not be loaded as an adapter: {log.reason()}.")
    return loaded
