"""A small table that shows itself in a notebook and in a terminal."""
from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

NOTE_WIDTH = 100  # characters a line, or the table's width where that is more


@dataclass(frozen=True)
class Table:
    """Text cells. Columns of figures are right-aligned, but for a table of names and values."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    note: str = ""

    def __str__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        rule = tuple("-" * width for width in widths)
        lines = [self._line(cells, widths) for cells in (self.columns, rule, *self.rows)]
        note = [_wrapped(line, max(NOTE_WIDTH, *map(len, lines))) for line in self.note.splitlines()]
        return "\n".join([*filter(None, [self.title]), *lines, *note])

    def _repr_markdown_(self) -> str:
        rule = tuple("---:" if right else "---" for right in self._right)
        lines = [f"| {' | '.join(map(_escape, cells))} |" for cells in (self.columns, rule, *self.rows)]
        title = f"**{self.title}**" if self.title else ""
        note = f"<small>{self.note}</small>" if self.note else ""
        return "\n\n".join(part for part in (title, "\n".join(lines), note) if part)

    @property
    def _right(self) -> list[bool]:
        """Of each column, whether it is one of figures: at least half of its cells begin with a number."""
        if len(self.columns) == 2:
            return [False, False]
        cells = zip(*self.rows, strict=True) if self.rows else ((),) * len(self.columns)
        return [i > 0 and 2 * sum(map(_is_figure, column)) >= len(column) for i, column in enumerate(cells)]

    def _line(self, cells: tuple[str, ...], widths: list[int]) -> str:
        return "  ".join(text.rjust(width) if right else text.ljust(width)
                         for text, width, right in zip(cells, widths, self._right, strict=True)).rstrip()

    __repr__ = __str__


def _wrapped(line: str, width: int) -> str:
    if line.startswith(" "):  # a path below a heading
        return line
    return textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)


def _is_figure(cell: str) -> bool:
    return re.match(r"[-+–−~<>≤≥ ]*\.?\d", cell) is not None


def _escape(text: str) -> str:
    return text.replace("|", r"\|")


class Shown:
    """Mixin: a result whose `table()` is how it shows itself."""

    def table(self) -> Table:
        raise NotImplementedError

    def __str__(self) -> str:
        return str(self.table())

    def __repr__(self) -> str:  # a dataclass has its own, unless it says repr=False
        return str(self)

    def _repr_markdown_(self) -> str:
        return self.table()._repr_markdown_()


def size(n_bytes: float) -> str:
    """Bytes in decimal units, as disks and bandwidths are given: 145 MB, 1.2 GB."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(n_bytes) >= scale:
            value = n_bytes / scale
            return f"{value:.3g} {unit}" if value < 999.5 else f"{value:.0f} {unit}"
    return f"{n_bytes:.0f} B"
