"""What the learner sees: one small card, as HTML in a notebook and as text in a terminal.

A card knows nothing of exercises. Its meaning is in its words, never in its colour.
"""
from __future__ import annotations

import sys
from dataclasses import dataclass, field
from html import escape

CHECK_MIME = "application/vnd.labkit.check+json"  # what became of a check, for a runner to read
SKIP_MIME = "application/vnd.labkit.skip+json"    # what was missing, for a runner to read


@dataclass
class Card:
    """`title`, then `lines`, then `code`; `data` goes along for a machine to read (mime type -> JSON)."""

    title: str
    lines: list[str] = field(default_factory=list)
    code: str = ""
    data: dict[str, dict] = field(default_factory=dict)

    def __str__(self) -> str:
        code = [f"    {line}".rstrip() for line in self.code.splitlines()]
        return "\n".join([self.title, *(f"  {line}" for line in self.lines), *code])

    def _repr_html_(self) -> str:
        body = "".join(f"<br>{escape(line)}" for line in self.lines)
        code = f"<pre><code>{escape(self.code)}</code></pre>" if self.code else ""
        return f"<p><strong>{escape(self.title)}</strong>{body}</p>{code}"


@dataclass
class Table:
    """A caption, column heads and rows of text."""

    caption: str
    heads: list[str]
    rows: list[list[str]]

    def __str__(self) -> str:
        lines = [self.heads, *self.rows]
        widths = [max(len(row[i]) for row in lines) for i in range(len(self.heads))]
        text = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in lines]
        return "\n".join([self.caption, *(f"  {line}" for line in text)])

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{escape(h)}</th>' for h in self.heads)
        body = "".join(
            f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(c)}</td>" for c in cells)}</tr>'
            for name, *cells in self.rows
        )
        caption = f"<caption>{escape(self.caption)}</caption>"
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def show(item: Card | Table) -> None:
    """Show it where we are: a rich output in a notebook, printed text anywhere else."""
    if not in_notebook():
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        print(str(item).encode(encoding, "replace").decode(encoding))
        return
    from IPython.display import display
    bundle = {"text/plain": str(item), "text/html": item._repr_html_(), **getattr(item, "data", {})}
    display(bundle, raw=True)


def shell():
    """The running IPython shell, or None."""
    if "IPython" not in sys.modules:  # not loaded means not running
        return None
    from IPython import get_ipython
    return get_ipython()


def in_notebook() -> bool:
    return getattr(shell(), "kernel", None) is not None
