"""A chooser of levels with sliders: device, memory, bandwidth, context and quality floor, and what they lead to."""
from __future__ import annotations

from ipywidgets import Dropdown, FloatSlider, IntSlider, VBox

from labkit.profiling.ladder import Ladder
from labkit.profiling.level_choice import CONTEXT, DEVICES, HERE, QUALITY, Choice, choose
from labkit.widgets.render import ACCENT, FAINT, INK, escape
from labkit.widgets.shown import ShownAnywhere, html_widget

WIDE = {"width": "420px"}
LABELS = {"description_width": "150px"}


class LevelChooser(ShownAnywhere, VBox):
    """Show it as the last line of a cell; `.choice` is what the sliders stand for.

    A device sets memory and bandwidth; move them, and it is a device of your own.
    """

    def __init__(self, ladder: Ladder, device: str = HERE):
        self.ladder, self._setting = ladder, False
        self.device = Dropdown(options=[HERE, *DEVICES], value=device, description="Device", layout=WIDE, style=LABELS)
        self.ram = _slider("Free memory (MB)", 100, 64_000, 50)
        self.bandwidth = _slider("Bandwidth (GB/s)", 1, 400, 1)
        self.context = IntSlider(CONTEXT, 256, 8192, 256, description="Context (tokens)", layout=WIDE, style=LABELS)
        self.quality = FloatSlider(QUALITY, min=0, max=1, step=0.01, description="Same next token", layout=WIDE,
                                   style=LABELS, readout_format=".0%")
        self._view = html_widget()
        self.device.observe(lambda _: self._take(), "value")
        for control in (self.ram, self.bandwidth, self.context, self.quality):
            control.observe(lambda _: self._draw(), "value")
        super().__init__([self.device, self.ram, self.bandwidth, self.context, self.quality, self._view])
        self._take()

    @property
    def choice(self) -> Choice:
        own = {} if self._sliders == self._taken else {
            "ram_bytes": self.ram.value * 1e6, "bytes_per_s": self.bandwidth.value * 1e9}
        return choose(self.device.value, quality=self.quality.value, context=self.context.value, ladder=self.ladder,
                      **own)

    @property
    def _sliders(self) -> tuple[float, float]:
        return self.ram.value, self.bandwidth.value

    def _take(self) -> None:
        """Memory and bandwidth of the device that was picked."""
        device = choose(self.device.value, ladder=self.ladder).device
        self._setting = True
        self.ram.value, self.bandwidth.value = device.ram_bytes / 1e6, device.bytes_per_s / 1e9
        self._setting, self._taken = False, self._sliders
        self._draw()

    def _draw(self) -> None:
        if not self._setting:
            self._view.value = self.html()

    def text(self) -> str:
        return str(self.choice)

    def html(self) -> str:
        choice = self.choice
        table, best = choice.table(), choice.best
        rows = "".join(f"<tr{_mark(row[0] == choice.level)}>{_cells('td', row)}</tr>" for row in table.rows)
        told = f"about {best.tokens_per_s:.0f} tokens/s" if best else "nothing fits"
        return (f'<div style="color:{INK};font-size:13px"><b>{escape(choice.level or "No level")}</b>, {told}'
                f"<table><tr>{_cells('th', table.columns)}</tr>{rows}</table>"
                f'<span style="color:{FAINT}">{escape(table.note)}</span></div>')


def _slider(name: str, low: float, high: float, step: float) -> FloatSlider:
    return FloatSlider(low, min=low, max=high, step=step, description=name, layout=WIDE, style=LABELS,
                       readout_format=".0f")


def _cells(tag: str, cells: tuple[str, ...]) -> str:
    return "".join(f"<{tag} style='padding:1px 8px;text-align:left'>{escape(cell)}</{tag}>" for cell in cells)


def _mark(chosen: bool) -> str:
    return f" style='font-weight:600;outline:2px solid {ACCENT}'" if chosen else ""
