"""The ladder as a picture: what a level saves, what it costs, how fast it is."""
from __future__ import annotations

from typing import Any

from labkit.profiling.ladder import Ladder, Rung

FLOOR = 1e-4  # nats: where the reference, which is 0 from itself, is drawn on a logarithmic scale


def picture(ladder: Ladder) -> Any:
    """A matplotlib figure: a row a level, with the file's size, the divergence and the speed of decoding."""
    import matplotlib.pyplot as plt

    from labkit.course import plot_style
    plot_style()
    names = [rung.level for rung in ladder.rungs]
    figure, (saved, cost, gain) = plt.subplots(1, 3, figsize=(9, 0.8 + 0.27 * len(names)), sharey=True)
    _bars(saved, ladder, [rung.file_bytes / 1e6 for rung in ladder.rungs], "{:.0f}")
    saved.set(xlabel="file (MB): shorter is smaller", yticks=range(len(names)), yticklabels=names)
    _bars(gain, ladder, [rung.decode.mean for rung in ladder.rungs], "{:.0f}")
    gain.set(xlabel="decode (tokens/s): longer is faster")
    _points(cost, ladder)
    cost.set(xscale="log", xlabel=f"KL from {names[0]} (nats): further left is truer")
    saved.invert_yaxis()
    return figure


def _bars(axes, ladder: Ladder, values: list[float], form: str) -> None:
    best = ladder.undominated()
    bars = axes.barh(range(len(values)), values, color="white", edgecolor="black", height=0.65,
                     hatch=["///" if rung.level in best else "" for rung in ladder.rungs])
    axes.bar_label(bars, [form.format(value) for value in values], padding=3, fontsize=8)
    axes.set(xlim=(0, 1.18 * max(values)))


def _points(axes, ladder: Ladder) -> None:
    best = ladder.undominated()
    for i, rung in enumerate(ladder.rungs):
        axes.plot(max(rung.kl, FLOOR), i, "o", color="black", markersize=6,
                  fillstyle="full" if rung.level in best else "none")


def words(ladder: Ladder) -> str:
    """What the picture shows, for those who do not see it."""
    told = "; ".join(_told(rung) for rung in ladder.rungs)
    return (f"Size, divergence and speed of {len(ladder.rungs)} levels. {told}. Hatched, than which no level is both "
            f"smaller and truer: {', '.join(ladder.undominated())}.")


def _told(rung: Rung) -> str:
    return f"{rung.level} {rung.file_bytes / 1e6:.0f} MB, {rung.kl:.3f} nats, {rung.decode.mean:.0f} tokens/s"
