"""Timing, memory, energy, bandwidth and benchmarks. Parts load on first use."""
from __future__ import annotations

from labkit.lazy import lazy_names

_HOME = {
    "profile": "measure", "Profile": "measure", "rss": "memory", "peak_rss": "memory",
    "Energy": "energy", "EnergyMeter": "energy", "Bandwidth": "bandwidth", "measure_bandwidth": "bandwidth",
}
__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy_names("labkit.profiling", _HOME)
