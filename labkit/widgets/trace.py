"""A trace of an agent's run: a bar per step, what it cost, and what went in and out.

Static on purpose: HTML that folds by itself (`<details>`) shows the same in JupyterLab, on GitHub,
in nbviewer and in a stored notebook that nobody has run. Needs no ipywidgets unless `widget()` is called.
"""
from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from labkit.agents.run import Run, Step
from labkit.backends.reply import Usage
from labkit.widgets.render import (
    ACCENT,
    ALARM,
    FAINT,
    INK,
    LINE,
    SHADE,
    clean,
    duration,
    escape,
    shorten,
    text_bar,
)

LONGEST = 4000  # characters shown of one value; a tool may return a whole file
MARKS = {"model": "█", "tool": "▒"}
STYLE = f"""<style>
.lk-trace {{ max-width: 860px; overflow-x: auto; color: {INK}; font-size: 13px;
  font-family: var(--jp-content-font-family, sans-serif); line-height: 1.5; }}
.lk-trace .lk-sum {{ margin: 2px 0 6px; }}
.lk-trace .lk-sum span, .lk-trace .lk-key {{ color: {FAINT}; }}
.lk-trace details {{ border-top: 1px solid {LINE}; }}
.lk-trace summary {{ display: grid; grid-template-columns: 14px 20px 48px minmax(90px, 2fr)
  58px 118px minmax(80px, 3fr); gap: 8px; align-items: center; padding: 4px 2px; cursor: pointer;
  font-variant-numeric: tabular-nums; }}
.lk-trace summary::-webkit-details-marker {{ display: none; }}
.lk-trace summary::before {{ content: "▸"; color: {FAINT}; }}
.lk-trace details[open] > summary::before {{ content: "▾"; }}
.lk-trace summary:hover {{ background: {SHADE}; }}
.lk-trace summary:focus-visible {{ outline: 2px solid {ACCENT}; outline-offset: -2px; }}
.lk-trace .lk-num {{ text-align: right; white-space: nowrap; }}
.lk-trace .lk-what {{ overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }}
.lk-trace .lk-track {{ display: block; height: 12px; background: {SHADE}; overflow: hidden; }}
.lk-trace .lk-bar {{ display: block; height: 100%; box-sizing: border-box; min-width: 3px; font-size: 0;
  white-space: nowrap; overflow: hidden; }}
.lk-trace .lk-bar.lk-model {{ background: {ACCENT}; }}
.lk-trace .lk-bar.lk-tool {{ border: 1px solid {INK};
  background: repeating-linear-gradient(135deg, {INK} 0 2px, transparent 2px 5px); }}
.lk-trace .lk-bad {{ color: {ALARM}; font-weight: 600; }}
.lk-trace .lk-more {{ margin: 2px 0 8px 48px; }}
.lk-trace pre {{ margin: 0 0 4px; padding: 4px 8px; background: {SHADE}; color: {INK}; white-space: pre-wrap;
  overflow-wrap: anywhere; max-height: 260px; overflow: auto; font-size: 12px; border-radius: 3px; }}
</style>"""


@dataclass(frozen=True)
class Row:
    """One step as it is drawn; `start` and `share` are parts of the run's whole time, 0 to 1."""

    number: int
    kind: str
    seconds: float
    start: float
    share: float
    tokens: str
    what: str
    details: tuple[tuple[str, str], ...]
    failed: bool


class TraceView:
    """The trace of `run` (what `Agent.run` returns). Show it as the last line of a cell, or print it."""

    def __init__(self, run: Run):
        self._run = run

    def text(self) -> str:
        """The trace for a terminal: a line per step, time running from left to right."""
        lines = [_line(row) for row in _rows(self._run)] or ["  no step was recorded"]
        return "\n".join([f"Run: {_totals(self._run)}", *lines, f"Answer: {_answer(self._run)}"])

    def html(self) -> str:
        """The trace as static HTML; each step unfolds. Readable without its style sheet, too."""
        steps = "".join(map(_details, _rows(self._run))) or "<p>No step was recorded.</p>"
        return (f'{STYLE}<div class="lk-trace"><div class="lk-sum"><b>{escape(_answer(self._run))}</b><br>'
                f"<span>{_totals(self._run)}<br>solid bar: the model · hatched bar: a tool · click a step to "
                f"unfold it</span></div>{steps}</div>")

    def widget(self) -> Any:
        """The trace as an ipywidgets.HTML, to put into a Tab or a VBox."""
        from ipywidgets import HTML
        return HTML(self.html())

    _repr_html_ = html
    __repr__ = text


def _rows(run: Run) -> list[Row]:
    total, rows, start = run.seconds or 1.0, [], 0.0
    for number, step in enumerate(run.steps, 1):
        tokens = _tokens(step.usage) if step.kind == "model" else ""
        rows.append(Row(number, step.kind, step.seconds, start / total, step.seconds / total, tokens,
                        _what(step), _parts(step), bool(step.error)))
        start += step.seconds
    return rows


def _what(step: Step) -> str:
    """What happened, in a few words."""
    calls = ", ".join(map(str, step.calls))
    if step.kind == "model":
        return f"asks for {calls}" if calls else f"answers: {step.text}"
    if step.error:
        return f"error: {step.error}"
    return f"returns {step.result if isinstance(step.result, str) else _json(step.result)}"


def _parts(step: Step) -> tuple[tuple[str, str], ...]:
    """What unfolds: names and texts, in the order in which things happened."""
    called = "\n".join(map(str, step.calls))
    if step.kind == "tool":
        ending = ("error", step.error) if step.error else ("result", _json(step.result, indent=2))
        return ("call", called), (ending[0], _cut(ending[1]))
    known = f"{step.usage.cached_tokens} of them still in the KV cache"
    parts = (("prompt", f"{step.usage.prompt_tokens} tokens, {known}"), ("words", _cut(step.text)),
             ("asks for", called))
    return tuple((name, text) for name, text in parts if text)


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent, default=str)


def _cut(text: str) -> str:
    more = len(text) - LONGEST
    return f"{text[:LONGEST]}\n… and {more} more characters" if more > 0 else text


def _answer(run: Run) -> str:
    return clean(run.text) or f"(no answer: {run.finish_reason})"


def _totals(run: Run) -> str:
    models = sum(step.kind == "model" for step in run.steps)
    steps = f"{len(run.steps)} steps ({models} model, {len(run.steps) - models} tool)"
    return f"{steps} · {duration(run.seconds)} · {_tokens(run.usage)} (prompt + answer)"


def _tokens(usage: Usage) -> str:
    return f"{usage.prompt_tokens} + {usage.completion_tokens} tokens"


def _line(row: Row) -> str:
    bar = text_bar(row.start, row.share, 24, MARKS.get(row.kind, "░"))
    return (f"{row.number:3} {row.kind:<6} |{bar}| {duration(row.seconds):>7}  {row.tokens:<17}  "
            f"{shorten(row.what, 90)}").rstrip()


def _details(row: Row) -> str:
    kind = "model" if row.kind == "model" else "tool"
    # The block characters are for pages that strip style sheets, such as GitHub's.
    blocks = (text_bar(row.start, row.share, 24, MARKS[kind])).replace(" ", "&nbsp;")
    left = min(row.start * 100, 99)
    bar = (f'<span class="lk-track" aria-hidden="true"><span class="lk-bar lk-{kind}" '
           f'style="margin-left:{left:.2f}%;width:{row.share * 100:.2f}%">{blocks}</span></span>')
    bad = " lk-bad" if row.failed else ""
    more = "".join(f'<div class="lk-key">{escape(name)}</div><pre>{escape(text)}</pre>'
                   for name, text in row.details) or '<div class="lk-key">nothing more was recorded</div>'
    num = '<span class="lk-num">'
    return (f"<details><summary>{num}{row.number}</span> <span>{escape(row.kind)}</span> {bar} "
            f"{num}{duration(row.seconds)}</span> {num}{escape(row.tokens)}</span> "
            f'<span class="lk-what{bad}">{escape(shorten(row.what, 160))}</span></summary>'
            f'<div class="lk-more">{more}</div></details>')
