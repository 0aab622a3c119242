"""What may be stored of a run: no widget that cannot be drawn again, no big picture, no machine's path."""
from __future__ import annotations

import re
import site
import sys
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path

_WIDGET = "application/vnd.jupyter.widget-view+json"


def clean_outputs(notebook) -> None:
    """Make a run's outputs fit to be stored, in place."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # timestamps
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _keep(output)]


def _keep(output) -> bool:
    """Clean one output; False when nothing worth keeping is left of it."""
    if output.output_type == "stream":
        output.text = _overwritten(output.text)
    data = output.get("data")
    if not data:
        return True
    if "image/png" in data:
        from labkit.course.plots import shrink_png
        data["image/png"] = b64encode(shrink_png(b64decode(data["image/png"]))).decode()
    # A stored widget has no kernel behind it; without an HTML form its text is only its class's name.
    return data.pop(_WIDGET, None) is None or set(data) > {"text/plain"}


def _overwritten(text: str) -> str:
    """What a terminal shows after carriage returns: progress bars leave their last state."""
    return re.sub(r"[^\n]*\r(?!\n)", "", text)


def machine_paths(notebook, extra: tuple[str, ...] = ()) -> list[str]:
    """Every path of this machine in the stored outputs, as "cell 3: /home/…"."""
    given = (Path.home(), Path.cwd(), sys.prefix, sys.base_prefix, *site.getsitepackages(),
             tempfile.gettempdir(), Path(__file__).parents[2], *extra)
    roots = {str(form) for p in given for form in (Path(p), Path(p).resolve())}
    roots = {p for p in roots if len(Path(p).parts) > 1 and p != "/usr"}  # those would be in honest text too
    forms = {re.escape(f) for p in roots for f in (p, p.replace("\\", "/"), p.replace("\\", "\\\\"))}
    longest_first = "|".join(sorted(forms, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w.])(?:{longest_first})(?![\w-])[^\s'\"<>]*")
    return [
        f"cell {index}: {match.group()}" for index, cell in enumerate(notebook.cells)
        for output in cell.get("outputs", []) for text in _texts(output) for match in pattern.finditer(text)
    ]


def _texts(value) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if not key.startswith("image/"):
                yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
