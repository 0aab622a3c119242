"""What a learner touches: chat, trace, live profiler. Each also works as plain output.

Loaded on first use, because ipywidgets is slow to import and not everybody who uses labkit has it.
"""
from __future__ import annotations

from importlib import import_module

_HOME = {"ChatBox": "chat", "LiveProfiler": "live", "TraceView": "trace"}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'labkit.widgets' has no attribute {name!r}")
    try:
        value = getattr(import_module(f"labkit.widgets.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name != "ipywidgets":
            raise
        raise ImportError(f"{name} needs ipywidgets. Install it with: pip install ipywidgets") from error
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
