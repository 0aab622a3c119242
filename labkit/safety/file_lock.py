"""A lock on an open file that other processes respect. The package filelock takes longer for it than an
audit log's entry may take in all."""
from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

if os.name == "nt":
    import msvcrt
else:
    import fcntl

FAR = 2**30       # a byte that is never written: Windows locks bytes, and a locked one cannot be read
PAUSE_S = 0.002


@contextmanager
def locked(file: int) -> Iterator[None]:
    """Hold an open file (its descriptor) for this process alone. The system lets go when the process dies."""
    _lock(file)
    try:
        yield
    finally:
        _unlock(file)


def _lock(file: int) -> None:
    if os.name != "nt":
        return fcntl.flock(file, fcntl.LOCK_EX)
    while True:
        os.lseek(file, FAR, os.SEEK_SET)
        try:
            return msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            time.sleep(PAUSE_S)


def _unlock(file: int) -> None:
    if os.name != "nt":
        return fcntl.flock(file, fcntl.LOCK_UN)
    os.lseek(file, FAR, os.SEEK_SET)
    msvcrt.locking(file, msvcrt.LK_UNLCK, 1)
