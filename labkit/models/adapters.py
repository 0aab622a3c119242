"""Where the adapters are: the course's own, and the learner's."""
from __future__ import annotations

from pathlib import Path

SHIPPED = "tool_calls.gguf"


def chosen(adapter: str | Path | None) -> Path | None:
    """The file for connect's `adapter`: "tools" is the course's own, None is none.

    Raises LabkitError where the course's data folder is not at hand.
    """
    if adapter == "tools":
        from labkit.data import data_folder
        return (data_folder("adapters") / SHIPPED).resolve()
    return Path(adapter).resolve() if adapter else None
