"""The ladder as a picture: what a level saves, what it costs, how fast it is."""
from __future__ import annotations

from typing import Any

from labkit.profiling.ladder import Ladder, Rung

FLOOR = 1e-4  # nats: where the reference, which is 0 from itself, is drawn on a logarithmic scale


def picture(ladder: Ladder) -> Any:
    """A matplotlib figure: KL divergence and decode speed against the size of the file, a point a level."""
    import matplotlib.pyplot as plt

    from labkit.course import plot_style
    plot_style()
    figure, (drift, speed) = plt.subplots(1, 2, figsize=(9, 3.6))
    _points(drift, ladder, lambda rung: max(rung.kl, FLOOR))
    drift.set(yscale="log", ylabel=f"KL divergence from {ladder.rungs[0].level} (nats)",
              title="What it costs: lower is truer")
    _points(speed, ladder, lambda rung: rung.decode.mean)
    speed.set(ylabel="decode (tokens/s)", title="What it gains: higher is faster", ylim=(0, None))
    for axes in (drift, speed):
        axes.set(xlabel="file (MB)", xlim=(0, None))
    return figure


def _points(axes, ladder: Ladder, value) -> None:
    best = ladder.undominated()
    for rung in ladder.rungs:
        x, y = rung.file_bytes / 1e6, value(rung)
        axes.plot(x, y, "o", color="black", markersize=6, fillstyle="full" if rung.level in best else "none")
    _name(axes, [(rung.file_bytes / 1e6, value(rung), rung.level) for rung in ladder.rungs])


def _name(axes, points: list[tuple[float, float, str]]) -> None:
    """Names beside their points, in turns to the right and to the left where points crowd."""
    for i, (x, y, name) in enumerate(sorted(points)):
        right = i % 2 == 1
        axes.annotate(name, (x, y), xytext=(6 if right else -6, 0), textcoords="offset points", fontsize=8,
                      ha="left" if right else "right", va="center")


def words(ladder: Ladder) -> str:
    """What the picture shows, for those who do not see it."""
    told = "; ".join(_told(rung) for rung in ladder.rungs)
    return (f"Size, divergence and speed of {len(ladder.rungs)} levels. {told}. Filled points, than which no level is "
            f"both smaller and truer: {', '.join(ladder.undominated())}.")


def _told(rung: Rung) -> str:
    return f"{rung.level} {rung.file_bytes / 1e6:.0f} MB, {rung.kl:.3f} nats, {rung.decode.mean:.0f} tokens/s"
