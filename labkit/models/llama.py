"""llama.cpp's library, loaded once and the right way: quiet, and a good neighbour."""
from __future__ import annotations

import atexit
import ctypes
import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from labkit.models.hardware import cpu_flags


@cache
def library():
    """The module `llama_cpp`. Import it through here, never directly.

    Its threads wait for each other hundreds of times per token. By default they wait spinning, and as
    soon as anything else wants a core (a browser, a second notebook) the spinning threads starve the
    one they wait for: two processes at once ran at 0 to 35 tokens/s each. Spinning briefly and then
    sleeping gave 83 each, and the same speed alone. The variables count only if set before the
    library is loaded; yours win.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "100")
    import llama_cpp
    logging.getLogger("llama-cpp-python").setLevel(logging.CRITICAL)
    if "amx_int8" in cpu_flags():
        _without_tiles(llama_cpp)
    return llama_cpp


def _without_tiles(llama_cpp) -> None:
    """Keep llama.cpp away from Intel's matrix tiles (AMX).

    Compilers drop what its code writes into the tiles' configuration (seen with GCC 12; llama.cpp's pull request
    26954), and the first product of quantised weights ends the process: illegal instruction. The switch there is
    also turns off weights laid out anew for the processor, so it is used on such processors alone.
    """
    defaults = llama_cpp.llama_model_default_params

    def without_tiles():
        params = defaults()
        params.use_extra_bufts = False
        return params
    for names in (llama_cpp, llama_cpp.llama_cpp):  # the package, and the module from which its classes take it
        names.llama_model_default_params = without_tiles


_turns: weakref.WeakSet = weakref.WeakSet()


def turn_lock():
    """A lock to hold while llama.cpp computes. When the process ends, it is taken for good.

    A thread of the background would go on computing while the library is taken apart under it: a crash at exit.
    """
    lock = threading.RLock()
    _turns.add(lock)
    return lock


@atexit.register
def _halt() -> None:
    for lock in list(_turns):
        lock.acquire(timeout=10)  # a step takes less than a second


class Log:
    """What llama.cpp said at level error while the block ran."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def reason(self) -> str:
        """The first error line, without the C++ function's name."""
        first = next((line for line in self.errors if line.strip()), "llama.cpp gave no reason")
        return first.strip().split(": ", 1)[-1]


@contextmanager
def captured_log(on_line: Callable[[str], object] = lambda line: None) -> Iterator[Log]:
    """Collect llama.cpp's error lines instead of printing them; `on_line` gets every line of any level."""
    llama_cpp, log, begun = library(), Log(), ""
    from llama_cpp._logger import llama_log_callback as printing

    @llama_cpp.llama_log_callback
    def keep(level, text, _):
        nonlocal begun
        text = text.decode("utf-8", "replace")
        if level == 4:  # GGML_LOG_LEVEL_ERROR; see ggml.h
            log.errors.append(text)
        *lines, begun = (begun + text).split("\n")
        for line in lines:
            on_line(line)

    llama_cpp.llama_log_set(keep, ctypes.c_void_p(0))
    try:
        yield log
    finally:
        llama_cpp.llama_log_set(printing, ctypes.c_void_p(0))
