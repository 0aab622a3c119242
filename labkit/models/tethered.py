"""Run a program that ends when its parent does: `python tethered.py (-m MODULE | FILE) [ARGUMENT ...]`.

The parent holds the other end of stdin. A parent that goes, even by kill -9, closes it, and this process
ends with everything it started. Runs inside private environments: it may import nothing but Python's own.
"""
from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def end_with(line: int) -> None:
    """Block until the parent's end of `line` (a file descriptor) closes, then end at once."""
    while os.read(line, 64):
        pass
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def main() -> None:
    line = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)  # children must not inherit the tether; on Windows a pending read would hang them
    threading.Thread(target=end_with, args=(line,), daemon=True).start()
    sys.argv.pop(0)
    if sys.argv[0] == "-m":
        sys.argv.pop(0)
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.path.append(os.path.dirname(sys.argv[0]))  # for its neighbours; last, so that none hides a package
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
