"""A lesson's source: read it and derive the learner's and the solved text of each cell. Writes nothing."""
from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from labkit.errors import LabkitError

MAX_LINES = 30  # of a code cell, in either form
_CHECK = re.compile(r"""^check\(\s*["'](\d\d\.\d)["']""", re.MULTILINE)
_BEGIN, _END, _STUB = "# solution", "# end", "#~"


class SourceError(LabkitError):
    """A lesson's source breaks the format; the message says where and what to write."""


@dataclass
class SourceCell:
    kind: str            # "markdown", "code" or "raw"
    tags: list[str]
    raw: str             # as written, markers and all
    learner: str
    solved: str
    exercise: str = ""   # "01.2" when this cell holds that exercise


@dataclass
class Source:
    path: Path
    cells: list[SourceCell]


def read_source(path: Path) -> Source:
    """Parse `NN_name.py` (jupytext percent format). Raises SourceError for a broken exercise."""
    import jupytext
    text = path.read_text(encoding="utf-8")
    cells = [
        SourceCell(c.cell_type, list(c.metadata.get("tags", [])), c.source,
                   *forms(c.source, c.cell_type, path.name))
        for c in jupytext.reads(text, fmt="py:percent").cells
        if not (c.cell_type == "raw" and c.source.startswith("---"))  # jupytext's own header
    ]
    _name_exercises(cells, path)
    for cell in cells:
        _verify(cell, path.name)
    return Source(path, cells)


def forms(raw: str, kind: str = "code", where: str = "source") -> tuple[str, str]:
    """The learner's and the solved form of one cell's text."""
    if kind != "code":
        return raw, raw
    learner, solved, indent = [], [], None
    for line in raw.splitlines():
        text, margin = line.strip(), line[: len(line) - len(line.lstrip())]
        if text == _BEGIN:
            if indent is not None:
                raise SourceError(f"{where}: a '{_BEGIN}' inside another, in the cell\n{raw}")
            indent = margin
        elif text == _END and indent is not None:
            if margin != indent:
                raise SourceError(f"{where}: '{_END}' is not indented like its '{_BEGIN}' in the cell\n{raw}")
            indent = None
        elif text == _STUB or text.startswith(_STUB + " "):
            learner.append(margin + text[len(_STUB) + 1:])
        else:
            solved.append(line)
            if indent is None:
                learner.append(line)
    if indent is not None:
        raise SourceError(f"{where}: '{_BEGIN}' without '{_END}', in the cell\n{raw}")
    return "\n".join(learner), "\n".join(solved)


def _name_exercises(cells: list[SourceCell], path: Path) -> None:
    """Each exercise is named by the first check(...) in its own cell or after it."""
    open_cell, seen = None, set()
    for cell in cells:
        if cell.kind != "code":
            continue
        if cell.learner != cell.solved:
            if open_cell:
                raise SourceError(f"{path.name}: no check(\"NN.N\", …) follows the exercise\n{open_cell.raw}")
            open_cell = cell
        for id in _CHECK.findall(cell.solved):
            if id in seen or open_cell is None:
                raise SourceError(f"{path.name}: check {id} is there twice or has no exercise before it.")
            if id[:2] != path.name[:2]:
                raise SourceError(f"{path.name}: exercise {id} belongs to another lesson.")
            seen.add(id)
            open_cell.exercise, open_cell = id, None
    if open_cell:
        raise SourceError(f"{path.name}: no check(\"NN.N\", …) follows the exercise\n{open_cell.raw}")


def _verify(cell: SourceCell, where: str) -> None:
    if cell.kind != "code":
        return
    for form, text in (("learner's", cell.learner), ("solved", cell.solved)):
        lines = text.count("\n") + 1
        if lines > MAX_LINES:
            raise SourceError(f"{where}: a cell has {lines} lines, at most {MAX_LINES} are allowed:\n{text}")
        if cell.exercise:
            try:
                ast.parse(text)
            except SyntaxError as error:
                message = f"{where}: the {form} form of {cell.exercise} is not Python ({error.msg}):\n{text}"
                raise SourceError(message) from None
