"""Text, HTML and SVG that the widgets are drawn with. Pure: knows no widget and no model.

Colours are JupyterLab's variables, so that light and dark themes both work; the second value of
each `var()` is what nbviewer and VS Code use.
"""
from __future__ import annotations

import html
import unicodedata
from collections.abc import Sequence

from labkit.tools.messages import well_formed

BLOCKS = "▁▂▃▄▅▆▇█"
INK = "var(--jp-content-font-color1, var(--vscode-foreground, #212121))"
FAINT = "var(--jp-content-font-color2, var(--vscode-descriptionForeground, #616161))"
LINE = "var(--jp-border-color2, var(--vscode-panel-border, #bdbdbd))"
PAPER = "var(--jp-layout-color1, transparent)"
SHADE = "var(--jp-layout-color2, rgba(128, 128, 128, .14))"
ACCENT = "var(--jp-brand-color1, var(--vscode-textLink-foreground, #1976d2))"
ALARM = "var(--jp-error-color1, #c62828)"


def clean(text: object) -> str:
    """`text` as a string that every screen and every JSON writer takes.

    A model or a learner can produce NUL bytes, terminal escapes and half of a surrogate pair.
    """
    valid = well_formed(str(text))
    return "".join(char if char in "\n\t" or not _is_control(char) else "\N{REPLACEMENT CHARACTER}"
                   for char in valid.replace("\r\n", "\n"))


def _is_control(char: str) -> bool:
    return unicodedata.category(char) == "Cc"


def escape(text: object) -> str:
    """`text` as HTML that shows it and runs nothing of it."""
    return html.escape(clean(text), quote=True)


def shorten(text: object, limit: int) -> str:
    """The first `limit` characters in one line, with an ellipsis when something was cut."""
    line = " ".join(clean(text).split())
    return line if len(line) <= limit else line[:limit - 1] + "…"


def duration(seconds: float) -> str:
    """Seconds in the unit a person would pick: "45 ms", "1.24 s"."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def text_bar(start: float, share: float, width: int, mark: str) -> str:
    """A bar of `mark` in a field of `width` characters; `start` and `share` are from 0 to 1."""
    length = max(1, round(share * width))
    offset = min(round(start * width), width - length)
    return (" " * offset + mark * length).ljust(width)


def text_sparkline(values: Sequence[float], width: int = 30) -> str:
    """The last `width` values as block characters, from 0 to their highest."""
    recent = list(values)[-width:]
    top = max(recent, default=0) or 1
    return "".join(BLOCKS[min(7, int(max(value, 0) / top * 7.999))] for value in recent)


def svg_sparkline(values: Sequence[float], top: float, slots: int, label: str) -> str:
    """An SVG line of the last `slots` values, newest at the right, from 0 to `top`."""
    recent = list(values)[-slots:]
    if slots == 1:
        recent, slots = recent * 2, 2  # a point alone has no line: draw it level
    step, first = 200 / max(slots - 1, 1), slots - len(recent)
    points = [(round((first + i) * step, 1), round(46 - 42 * min(max(value, 0) / (top or 1), 1), 1))
              for i, value in enumerate(recent)]
    line = " ".join(f"{x},{y}" for x, y in points)
    area = f"{points[0][0]},47 {line} {points[-1][0]},47" if points else ""
    return (f'<svg viewBox="0 0 200 48" preserveAspectRatio="none" role="img" aria-label="{escape(label)}">'
            f'<polygon points="{area}" style="fill:{ACCENT};opacity:.16"/>'
            f'<polyline points="{line}" style="fill:none;stroke:{ACCENT};stroke-width:1.6" '
            'vector-effect="non-scaling-stroke"/>'
            f'<line x1="0" y1="47" x2="200" y2="47" style="stroke:{FAINT}" '
            'vector-effect="non-scaling-stroke"/></svg>')
