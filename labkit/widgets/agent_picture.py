"""A record of agents at work as a picture: a lane an agent, a bar a turn, a mark a tool."""
from __future__ import annotations

from typing import Any

from labkit.agents.recorder import Recorder


def picture(record: Recorder) -> Any:
    """A matplotlib figure of a labkit.agents.recorder.Recorder."""
    import matplotlib.pyplot as plt

    from labkit.course import plot_style
    plot_style()
    lanes = list(dict.fromkeys(turn.agent for turn in record.turns))
    figure, axes = plt.subplots(figsize=(7, 0.9 + 0.45 * max(1, len(lanes))))
    for turn in record.turns:
        lane = lanes.index(turn.agent)
        if turn.tool:
            axes.plot(turn.began_s, lane, "v", color="black", markersize=7)
            axes.annotate(turn.tool, (turn.began_s, lane), xytext=(7, -3), textcoords="offset points", fontsize=7)
        else:
            axes.barh(lane, turn.took_s, left=turn.began_s, height=0.5, color="white", edgecolor="black",
                      hatch="xxx" if turn.error else "")
    axes.set(yticks=range(len(lanes)), yticklabels=lanes, xlabel="s since the beginning", ylim=(-0.6, len(lanes) - 0.2))
    axes.invert_yaxis()
    return figure


def words(record: Recorder) -> str:
    """What the picture shows, for those who do not see it."""
    told = "; ".join(f"{turn.agent} {f'calls {turn.tool}' if turn.tool else 'speaks'} from {turn.began_s:.2f} s"
                     f"{'' if turn.tool else f' for {turn.took_s:.2f} s'}" for turn in record.turns)
    return f"Who did what, a lane an agent: {told}."
