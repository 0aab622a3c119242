"""llama.cpp logs to stderr by default; keep notebooks quiet and errors readable."""
from __future__ import annotations

import ctypes
import logging
from collections.abc import Iterator
from contextlib import contextmanager


class Log:
    """What llama.cpp said at level error while the block ran."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def reason(self) -> str:
        """The first error line, without the C++ function's name."""
        first = next((line for line in self.lines if line.strip()), "llama.cpp gave no reason")
        return first.strip().split(": ", 1)[-1]


@contextmanager
def captured_log() -> Iterator[Log]:
    """Collect llama.cpp's error lines instead of printing them."""
    import llama_cpp
    from llama_cpp._logger import llama_log_callback as printing
    log = Log()

    @llama_cpp.llama_log_callback
    def keep(level, text, _):
        if level == 4:  # GGML_LOG_LEVEL_ERROR; see ggml.h
            log.lines.append(text.decode("utf-8", "replace"))

    logging.getLogger("llama-cpp-python").setLevel(logging.CRITICAL)
    llama_cpp.llama_log_set(keep, ctypes.c_void_p(0))
    try:
        yield log
    finally:
        llama_cpp.llama_log_set(printing, ctypes.c_void_p(0))
