"""A service in small pictures: how long answers take, how many wait and fail, what the machine and the alerts do.

From a running service, again every few seconds, or from the file that it kept.
"""
from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ipywidgets import Button, HBox, VBox

from labkit.errors import BackendUnavailable, LabkitError
from labkit.serving.history import recorded
from labkit.serving.summary import told
from labkit.widgets.render import ACCENT, ALARM, FAINT, INK, LINE, PAPER, escape, text_sparkline
from labkit.widgets.shown import ShownAnywhere, StartedAndStopped, html_widget

PANELS = (  # figure, title, unit, times what
    ("latency_p95_s", "Latency, 95 % within", "s", 1), ("ttft_p95_s", "First token, 95 % within", "s", 1),
    ("requests_waiting", "Waiting", "requests", 1), ("requests_per_s", "Requests that ended", "/s", 1),
    ("error_share", "Failed", "%", 100), ("tokens_per_s", "Written", "tokens/s", 1),
    ("cpu_percent", "Processors", "%", 1), ("rss_bytes", "Memory (RSS)", "MB", 1e-6))
SHORTEST_S = 10.0  # of the time that is drawn
EVENTS = 5         # the last of them
STYLE = f"""<style>
.lk-dash {{ color: {INK}; max-width: 860px; font-size: 13px; line-height: 1.4;
  font-family: var(--jp-content-font-family, sans-serif); }}
.lk-dash .lk-panels {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); gap: 10px; }}
.lk-dash .lk-panel {{ border: 1px solid {LINE}; border-radius: 6px; padding: 6px 10px; background: {PAPER};
  font-variant-numeric: tabular-nums; }}
.lk-dash .lk-now {{ font-size: 20px; font-weight: 600; line-height: 1.3; white-space: nowrap; overflow: hidden; }}
.lk-dash .lk-now small {{ font-size: 11px; font-weight: 400; }}
.lk-dash .lk-faint, .lk-dash .lk-now small {{ color: {FAINT}; }}
.lk-dash .lk-scale {{ display: flex; justify-content: space-between; font-size: 11px; color: {FAINT}; }}
.lk-dash svg {{ width: 100%; height: 44px; display: block; }}
.lk-dash .lk-on {{ border-left: 4px solid {ALARM}; padding-left: 8px; font-weight: 600; }}
.lk-dash ul {{ margin: 2px 0 0; padding-left: 18px; }}
.lk-dash .lk-state {{ margin: 6px 0; }}
</style>"""


class Dashboard(StartedAndStopped, ShownAnywhere, VBox):
    """Show it as the last line of a cell.

    source: the address of a service, what serve_in_background() gave, or a history's file.
    minutes: how far back. api_key: of a service that wants one. Looks every `every_s` seconds from now on, unless
    `start=False`; refresh() looks once.
    """

    def __init__(self, source: Any, minutes: float = 5.0, every_s: float = 2.0, api_key: str | None = None,
                 start: bool = True):
        address = getattr(source, "base_url", source)
        self._live = isinstance(address, str) and address.startswith(("http://", "https://"))
        self._source, self._minutes, self._every_s, self._key = address, minutes, every_s, api_key
        self._halt, self._thread = threading.Event(), None
        self.found: dict[str, Any] | None = None  # what GET /figures says
        self._trouble = ""
        small = {"width": "84px"}
        self.start_button = Button(description="Start", icon="play", layout=small, tooltip="Look again and again")
        self.stop_button = Button(description="Stop", icon="pause", layout=small, tooltip="Keep what is shown")
        self.start_button.on_click(lambda _: self.start())
        self.stop_button.on_click(lambda _: self.stop())
        self._panel = html_widget()
        super().__init__([self._panel, HBox([self.start_button, self.stop_button], layout={"margin": "4px 0 0"})])
        self.refresh()
        if start:
            self.start()

    # Looking -------------------------------------------------------------------------------

    def start(self) -> Dashboard:
        """Begin to look. Does nothing while it already does."""
        if not self._watching:
            self._watching, self._halt = True, threading.Event()
            self._thread = threading.Thread(target=self._run, args=(self._halt,), daemon=True, name="labkit dashboard")
            self._thread.start()
            self._draw()
        return self

    def stop(self) -> Dashboard:
        """Stop looking. What was seen last stays."""
        if self._watching:
            self._watching = False
            self._halt.set()
            self._thread.join()
            self._draw()
        return self

    def _run(self, halt: threading.Event) -> None:
        while not halt.wait(self._every_s):
            self.refresh()

    def refresh(self) -> Dashboard:
        """Look now. A source that does not answer is told, and what was seen before stays."""
        try:
            self.found, self._trouble = (self._asked() if self._live else self._read()), ""
        except LabkitError as error:
            self._trouble = str(error)
        self._draw()
        return self

    def _asked(self) -> dict[str, Any]:
        import httpx
        headers = {"authorization": f"Bearer {self._key}"} if self._key else {}
        try:
            answer = httpx.get(f"{self._source.rstrip('/').removesuffix('/v1')}/figures", headers=headers, timeout=5,
                               params={"minutes": self._minutes})
        except httpx.HTTPError as error:
            raise BackendUnavailable(f"Nothing answers at {self._source} ({type(error).__name__}).") from error
        if answer.is_error:
            raise BackendUnavailable(f"{self._source} answers {answer.status_code} to GET /figures. Is it labkit "
                                     "serve, and the key the right one?")
        return answer.json()

    def _read(self) -> dict[str, Any]:
        history = recorded(Path(self._source))
        try:
            return told(history, self._minutes)
        finally:
            history.close()

    # Showing -------------------------------------------------------------------------------

    def _draw(self) -> None:
        self._panel.value = self.html()
        self.start_button.disabled, self.stop_button.disabled = self._watching, not self._watching

    def _line(self, name: str, factor: float) -> list[tuple[float, float]]:
        return [(ago, factor * value) for ago, value in (self.found or {}).get("lines", {}).get(name, ())]

    @property
    def _span_s(self) -> float:
        """How much time is drawn: what there is."""
        oldest = [line[0][0] for name, *_ in PANELS if (line := self._line(name, 1))]
        return max([SHORTEST_S, *oldest])

    def html(self) -> str:
        """The dashboard as static HTML, as it is now."""
        panels = "".join(self._html_panel(*panel) for panel in PANELS)
        return (f'{STYLE}<div class="lk-dash"><div class="lk-state">{escape(self._state())}</div>'
                f'<div class="lk-panels">{panels}</div>{self._html_alerts()}</div>')

    def _html_panel(self, name: str, title: str, unit: str, factor: float) -> str:
        line, span_s = self._line(name, factor), self._span_s
        if not line:
            return (f'<div class="lk-panel"><div class="lk-faint">{title}</div><div class="lk-now">– <small>{unit}'
                    f'</small></div><div class="lk-faint">{escape(self._why(name))}</div></div>')
        now, most = line[-1][1], max(value for _, value in line)
        top = 100.0 if unit == "%" else _round_above(most)
        first, last = ("ago", "now") if self._live else ("before", "end")
        label = f"{title}: {last} {_number(now)} {unit}, highest {_number(most)} {unit}"
        ends = f"<span>{_time(span_s)} {first}</span> <span>0 to {_number(top)} {unit}</span> <span>{last}</span>"
        return (f'<div class="lk-panel"><div class="lk-faint">{title}</div><div class="lk-now">{_number(now)} '
                f'<small>{unit} · max {_number(most)}</small></div>{_svg(line, span_s, top, label)}'
                f'<div class="lk-scale">{ends}</div></div>')

    def _html_alerts(self) -> str:
        on = "".join(f'<div class="lk-on">On: {escape(name)}</div>' for name in self._on())
        events = "".join(f"<li>{escape(text)}</li>" for text in self._events())
        advice = "".join(f"<li>{escape(text)}</li>" for text in (self.found or {}).get("advice", ()))
        return (f'<div class="lk-state">{on}Alerts: {"" if events else "none in this time"}<ul>{events}</ul></div>'
                + (f'<div class="lk-state">What could be done:<ul>{advice}</ul></div>' if advice else ""))

    def _state(self) -> str:
        if self.found is None:
            return self._trouble
        outcomes = ", ".join(f"{n} {outcome}" for outcome, n in self.found["outcomes"].items()) or "none"
        name = self._source if self._live else Path(self._source).name
        seen = f"The last {self._minutes:g} minutes of {name}. Requests: {outcomes}."
        return f"{seen} {self._trouble}".strip()

    def _why(self, name: str) -> str:
        if not (self.found and self.found["figures"]):
            return "nothing measured yet"
        return self.found.get("missing", {}).get(name, "no request has ended")

    def _on(self) -> Sequence[str]:
        return (self.found or {}).get("alerts_on", ())

    def _events(self) -> list[str]:
        when = "ago" if self._live else "before the end"
        return [f"{_time(ago)} {when}: {text}" for ago, text in (self.found or {}).get("events", ())[-EVENTS:]]

    def text(self) -> str:
        """The figures in words and block characters, for a terminal or a screen reader."""
        lines = [f"{title:<26} {_number(line[-1][1]):>6} {unit:<11} highest {_number(max(v for _, v in line)):>6}  "
                 f"{text_sparkline([value for _, value in line])}" if (line := self._line(name, factor)) else
                 f"{title:<26}      – {unit:<11} {self._why(name)}" for name, title, unit, factor in PANELS]
        return "\n".join([self._state(), *lines, *(f"Alert on: {name}" for name in self._on()),
                          *(f"Alert, {text}" for text in self._events()), *(self.found or {}).get("advice", ())])


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _round_above(value: float) -> float:
    """The next of 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15 … that is not below it."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * power >= value)


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _svg(line: Sequence[tuple[float, float]], span_s: float, top: float, label: str) -> str:
    """A line over time, the newest at the right, from 0 to `top`; a gap where nothing was measured."""
    parts = "".join(f'<polyline points="{_points(part, span_s, top)}" style="fill:none;stroke:{ACCENT};'
                    'stroke-width:1.8;stroke-linecap:round" vector-effect="non-scaling-stroke"/>'
                    for part in _unbroken(line))
    return (f'<svg viewBox="0 0 200 48" preserveAspectRatio="none" role="img" aria-label="{escape(label)}">{parts}'
            f'<line x1="0" y1="47" x2="200" y2="47" style="stroke:{FAINT}" vector-effect="non-scaling-stroke"/></svg>')


def _points(line: Sequence[tuple[float, float]], span_s: float, top: float) -> str:
    placed = [(200 * (1 - ago / span_s), 46 - 42 * min(max(value, 0) / top, 1)) for ago, value in line]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in (placed if len(placed) > 1 else [*placed, *placed]))


def _unbroken(line: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """The line in pieces: where two looks or more are missing, there is a gap."""
    steps = sorted(a - b for (a, _), (b, _) in zip(line, line[1:]))
    usual = steps[len(steps) // 2] if steps else 0.0
    parts: list[list[tuple[float, float]]] = []
    for point in line:
        if parts and parts[-1][-1][0] - point[0] < 2.9 * usual:
            parts[-1].append(point)
        else:
            parts.append([point])
    return parts
