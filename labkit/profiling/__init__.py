"""Timing, memory, energy, bandwidth and benchmarks."""
