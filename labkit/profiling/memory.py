"""Resident memory of this process, now and at its highest."""
from __future__ import annotations

import sys
from pathlib import Path

import psutil

STATUS = Path("/proc/self/status")


def rss() -> int:
    """Resident bytes now. Weights that llama.cpp maps from the file count as far as they were read."""
    return psutil.Process().memory_info().rss


def peak_rss() -> int:
    """The most resident bytes this process has had since it started."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    return _high_water(STATUS) or _ru_maxrss()


def _high_water(status: Path) -> int | None:
    """Linux's VmHWM. Preferred to ru_maxrss, which starts with the parent's peak after a fork."""
    try:
        lines = status.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def _ru_maxrss() -> int:
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, the others kB
