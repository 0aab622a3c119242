"""Where the adapters are: the course's own, and the learner's."""
from __future__ import annotations

from pathlib import Path

from labkit.data import data_folder
from labkit.errors import LabkitError

SHIPPED = "tool_calls.gguf"


def chosen(adapter: str | Path | None, *, embedded: bool) -> Path | None:
    """The file for connect's `adapter`: "tools" is the course's own on the embedded model, and none on another.

    Where the course's data folder is not at hand, the model runs as it is.
    """
    if adapter != "tools":
        return Path(adapter).resolve() if adapter else None
    try:
        file = data_folder("adapters") / SHIPPED
    except LabkitError:
        return None
    return file.resolve() if embedded and file.is_file() else None
