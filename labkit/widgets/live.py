"""Tokens/s, memory and CPU share while the model answers, drawn four times a second.

Knows of a model only `on_chunk`, the list of functions it calls with each chunk of an answer.
"""
from __future__ import annotations

import threading
import time
from statistics import median
from typing import Any

import psutil
from ipywidgets import Button, HBox, VBox

from labkit.errors import BadRequest
from labkit.models.hardware import cpu_quota
from labkit.widgets.render import FAINT, INK, LINE, PAPER, escape, svg_sparkline, text_sparkline
from labkit.widgets.shown import ShownAnywhere, StartedAndStopped, html_widget

MIB = 1 << 20
SLOTS = 120        # samples on a sparkline: 30 s at 4 Hz
KEPT = 4 * 60 * 15  # samples in the history: a quarter of an hour at 4 Hz
GAUGES = (("tokens_per_s", "Decoding", "tokens/s"), ("rss_mib", "Memory (RSS)", "MiB"),
          ("cpu_share", "CPU share of {cpus} CPUs", "%"))
STYLE = f"""<style>
.lk-live {{ color: {INK}; max-width: 760px; font-size: 13px;
  font-family: var(--jp-content-font-family, sans-serif); }}
.lk-live .lk-gauges {{ display: flex; flex-wrap: wrap; gap: 10px; line-height: 1.4; }}
.lk-live .lk-gauge {{ flex: 1 1 180px; border: 1px solid {LINE}; border-radius: 6px; padding: 6px 10px;
  background: {PAPER}; font-variant-numeric: tabular-nums; }}
.lk-live .lk-now {{ font-size: 22px; font-weight: 600; line-height: 1.3; }}
.lk-live .lk-now small {{ font-size: 12px; font-weight: 400; }}
.lk-live .lk-faint, .lk-live .lk-now small {{ color: {FAINT}; }}
.lk-live .lk-scale {{ display: flex; justify-content: space-between; font-size: 11px; color: {FAINT}; }}
.lk-live svg {{ width: 100%; height: 48px; display: block; }}
.lk-live .lk-state {{ color: {FAINT}; margin-top: 4px; line-height: 1.4; }}
</style>"""


def usable_cpus() -> int:
    """Logical CPUs this process may keep busy, at least 1: affinity and the CPU quota respected."""
    process = psutil.Process()
    count = len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else psutil.cpu_count()
    return max(1, min(count or 1, cpu_quota() or 1 << 16))


class LiveProfiler(StartedAndStopped, ShownAnywhere, VBox):
    """Watches `slm` from now on: show it in one cell, let the model answer in any other.

    history: a dict of lists of equal length: "seconds" since the first start, "tokens_per_s" over
    the interval of a sample, "rss_mib" of this process, "cpu_share" in % of the CPUs it may use.
    Starts at once, unless `start=False`; works as a context manager, too.
    """

    def __init__(self, slm: Any, interval_s: float = 0.25, start: bool = True):
        if not hasattr(slm, "on_chunk"):
            raise BadRequest("LiveProfiler watches a model: give it what lk.connect() returns.")
        self._slm, self._interval_s = slm, interval_s
        self._model, self._cpus = str(getattr(slm, "model", "model")), usable_cpus()
        self._process = psutil.Process()
        self._halt = threading.Event()
        self._sampler: threading.Thread | None = None
        self._tokens = self._tokens_seen = 0
        self._origin = time.perf_counter()
        self.history: dict[str, list[float]] = {
            "seconds": [], **{name: [] for name, _, _ in GAUGES}}
        super().__init__(children=self._build())
        self.add_class("lk-live")
        self._draw()
        if start:
            self.start()

    def _build(self) -> list[Any]:
        small = {"width": "84px"}
        self.start_button = Button(description="Start", icon="play", layout=small,
                                   tooltip="Sample four times a second")
        self.stop_button = Button(description="Stop", icon="pause", layout=small,
                                  tooltip="Stop sampling; the history is kept")
        self.start_button.on_click(lambda _: self.start())
        self.stop_button.on_click(lambda _: self.stop())
        self._panel = html_widget()
        return [self._panel, HBox([self.start_button, self.stop_button], layout={"margin": "2px 0 0"})]

    # Sampling ------------------------------------------------------------------------------

    def start(self) -> LiveProfiler:
        """Begin to sample. Does nothing while it already does."""
        if self._watching:
            return self
        self._watching, self._halt = True, threading.Event()
        self._slm.on_chunk.append(self._count)
        self._process.cpu_percent()  # the first reading only sets the mark that the next counts from
        self._sampler = threading.Thread(target=self._run, args=(self._halt,), daemon=True)
        self._sampler.start()
        self._draw()
        return self

    def stop(self) -> LiveProfiler:
        """Stop sampling, after one last sample. The history is kept."""
        if not self._watching:
            return self
        self._watching = False
        self._halt.set()
        if self._sampler is not None and self._sampler is not threading.current_thread():
            self._sampler.join()
        if self._count in self._slm.on_chunk:
            self._slm.on_chunk.remove(self._count)
        self._draw()
        return self

    def _count(self, chunk: Any) -> None:
        self._tokens += chunk.tokens

    def _run(self, halt: threading.Event) -> None:
        before = begun = time.perf_counter()
        while not halt.wait(self._interval_s):
            before = self._sample(before)
            self._draw()
        # A last sample, unless it would be too short to say anything of a rate.
        if before == begun or time.perf_counter() - before > self._interval_s / 2:
            self._sample(before)

    def _sample(self, before: float) -> float:
        now, tokens = time.perf_counter(), self._tokens
        values = (now - self._origin, (tokens - self._tokens_seen) / (now - before),
                  self._process.memory_info().rss / MIB, self._process.cpu_percent() / self._cpus)
        self._tokens_seen = tokens
        for series, value in zip(self.history.values(), values, strict=True):
            series.append(round(value, 3))
            del series[:-KEPT]
        return now

    # Showing -------------------------------------------------------------------------------

    def _draw(self) -> None:
        self._panel.value = STYLE + self._gauges()
        self.start_button.disabled, self.stop_button.disabled = self._watching, not self._watching

    def _gauges(self) -> str:
        gauges = "".join(self._gauge(*gauge) for gauge in GAUGES)
        return f'<div class="lk-gauges">{gauges}</div><div class="lk-state">{escape(self._state())}</div>'

    def _gauge(self, name: str, title: str, unit: str) -> str:
        values = self.history[name]
        now, peak = (values[-1], max(values)) if values else (0, 0)
        title = title.format(cpus=self._cpus)
        top = 100 if unit == "%" else max([*values[-SLOTS:], 1]) * 1.05
        label = f"{title}: now {now:.0f} {unit}, highest {peak:.0f} {unit}"
        # While it watches, time has a fixed scale; what is kept afterwards fills the width.
        slots = SLOTS if self._watching or not values else min(SLOTS, len(values))
        shown, span = f"{now:.0f}" if values else "–", f"{round(slots * self._interval_s, 1):g} s"
        first, last = (f"{span} ago", "now") if self._watching else (f"{span} before", "end")
        ends = f"<span>{first}</span> <span>0 to {top:.0f} {unit}</span> <span>{last}</span>"
        return (f'<div class="lk-gauge"><div class="lk-faint">{title}</div>'
                f'<div class="lk-now">{shown} <small>{unit} · highest {peak:.0f}</small></div>'
                f"{svg_sparkline(values, top, slots, label)}<div class='lk-scale'>{ends}</div></div>")

    def _state(self) -> str:
        busy = [value for value in self.history["tokens_per_s"] if value > 0]
        speed = f", typically {median(busy):.0f} tokens/s while it answers" if busy else ""
        what = "Watching" if self._watching else "Stopped watching"
        return f"{what} {self._model} · {self._tokens} tokens{speed}"

    def text(self) -> str:
        """The sparklines in block characters with current and highest values, for a terminal."""
        lines = [f"{title.format(cpus=self._cpus):<19} {now[-1]:6.0f} {unit:<8} highest {max(now):6.0f}  "
                 + text_sparkline(now) for name, title, unit in GAUGES if (now := self.history[name])]
        return "\n".join([self._state(), *(lines or ["No sample yet. Let the model answer."])])

    def html(self) -> str:
        """The gauges as static HTML, as they are now."""
        return f'{STYLE}<div class="lk-live">{self._gauges()}</div>'
