"""Timing, memory, energy, bandwidth and benchmarks. Parts load on first use."""
from __future__ import annotations

from importlib import import_module

_HOME = {
    "profile": "measure", "Profile": "measure", "rss": "memory", "peak_rss": "memory",
    "Energy": "energy", "EnergyMeter": "energy", "Bandwidth": "bandwidth", "measure_bandwidth": "bandwidth",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'labkit.profiling' has no attribute {name!r}")
    return getattr(import_module(f"labkit.profiling.{_HOME[name]}"), name)
