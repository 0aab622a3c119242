"""Load a LoRA adapter into llama.cpp and set it on a context."""
from __future__ import annotations

import ctypes
import os
from pathlib import Path

from labkit.errors import ModelFileError
from labkit.models.llama import captured_log


def attach(c, weights, context, path: Path) -> None:
    """Set the adapter at `path` on a context. It is loaded once for its weights, and freed with them.

    Raises ModelFileError for a file that is no adapter, or one for another model.
    """
    loaded = weights.adapters.get(path) or _load(c, weights.model, path)
    weights.adapters[path] = loaded
    one = (c.llama_adapter_lora_p_ctypes * 1)(loaded)
    if c.llama_set_adapters_lora(context, one, 1, (ctypes.c_float * 1)(1.0)):
        raise ModelFileError(f"{path.name} cannot be set on this model.")


def _load(c, model, path: Path):
    if not path.is_file():
        raise ModelFileError(f"There is no adapter {path}. Name a .gguf file, or adapter=None for none.")
    with captured_log() as log:
        loaded = c.llama_adapter_lora_init(model, os.fsencode(path))
    if not loaded:
        raise ModelFileError(f"{path.name} could not be loaded as an adapter: {log.reason()}. "
                             "Was it trained on this model?")
    return loaded
