"""What a learner touches: chat, trace, profiler, levels, training, builder, dashboard. Each works as plain output too.

Loaded on first use, because ipywidgets is slow to import and not everybody who uses labkit has it.
"""
from __future__ import annotations

from labkit.lazy import lazy_names

_HOME = {"AgentBuilder": "builder", "ChatBox": "chat", "Dashboard": "dashboard", "LevelChooser": "chooser",
         "LevelExplorer": "levels", "LiveProfiler": "live", "TraceView": "trace", "TrainingView": "training"}
__all__ = sorted(_HOME)
_get, __dir__ = lazy_names("labkit.widgets", _HOME)


def __getattr__(name: str):
    try:
        return _get(name)
    except ModuleNotFoundError as error:
        if error.name != "ipywidgets":
            raise
        raise ImportError(f"{name} needs ipywidgets. Install it with: pip install ipywidgets") from error
