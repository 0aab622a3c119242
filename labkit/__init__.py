"""labkit: a course and lab kit about AI agents on small language models.

Public names are loaded on first use, so `import labkit` stays fast and pulls in no runtime.
"""
from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from labkit.lazy import lazy_names

try:
    __version__ = version("labkit")
except PackageNotFoundError:  # a source tree on sys.path that nobody installed
    __version__ = "0+source"

_HOME = {
    "connect": "backends.registry",
    "Chat": "backends.chat", "Stream": "backends.stream",
    "Backend": "backends.base", "Capabilities": "backends.base", "Reply": "backends.reply",
    "ToolCall": "tools.call", "Usage": "backends.reply", "Timing": "backends.reply",
    "tool": "tools.tool", "Tool": "tools.tool",
    "choose": "profiling.level_choice",
    "Agent": "agents.agent", "Run": "agents.run", "Step": "agents.run",
    "LabkitError": "errors", "BackendUnavailable": "errors", "ModelFileError": "errors",
    "BadRequest": "errors", "ContextFull": "errors", "IncompleteOutput": "errors", "ToolError": "errors",
}
__all__ = sorted([*_HOME, "backends"])
_get, __dir__ = lazy_names("labkit", {**_HOME, "backends": ""})


def __getattr__(name: str):
    if name == "backends":  # a package that can also be called: lk.backends()
        return import_module("labkit.backends")
    return _get(name)
