"""A training run while it goes on: steps, loss, time left, and the curve of the loss."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ipywidgets import VBox

from labkit.widgets.render import FAINT, INK, escape, svg_sparkline, text_sparkline
from labkit.widgets.shown import ShownAnywhere, html_widget


class TrainingView(ShownAnywhere, VBox):
    """Show it, then pass it as `on_event` to `specialise`.

    losses: training loss in nats a token, a mean over the steps between two reports. valid: (step, validation loss,
    share of validation answers written as they are).
    """

    def __init__(self):
        self.losses: list[float] = []
        self.valid: list[tuple[int, float, float]] = []
        self._state = "loading the model"
        self._view = html_widget(self.html(), width="100%")
        super().__init__([self._view])

    def __call__(self, event: Mapping[str, Any]) -> None:
        kind = event["event"]
        if kind == "step":
            self.losses.append(event["loss"])
            left = event["seconds"] / max(event["progress"], 1e-9) - event["seconds"]
            self._state = f"step {event['step']}, loss {event['loss']:.3f}, about {left:.0f} s left"
        elif kind == "valid":
            self.valid.append((event["step"], event["loss"], event["right"]))
        elif kind == "done":
            self._state = f"done: {event['step']} steps in {event['seconds']:.0f} s"
        elif kind in ("nan", "early stop", "resumed"):
            self._state = f"{kind} at step {event['step']}"
        self._view.value = self.html()

    def text(self) -> str:
        curve = f"  {text_sparkline(self.losses)}" if self.losses else ""
        return "\n".join(filter(None, [f"Training: {self._state}{curve}", self._judged()]))

    def _judged(self) -> str:
        if not self.valid:
            return ""
        step, loss, right = self.valid[-1]
        return f"Held back: loss {loss:.3f} at step {step}, {right:.0%} of the answers right to the letter"

    def html(self) -> str:
        curve = svg_sparkline(self.losses, max(self.losses), len(self.losses), "Training loss") if self.losses else ""
        return (f'<div style="color:{INK};max-width:520px;font-size:13px;line-height:1.4">'
                f"Training: {escape(self._state)}<div style='height:40px'>{curve}</div>"
                f'<span style="color:{FAINT}">{escape(self._judged())}</span></div>')
