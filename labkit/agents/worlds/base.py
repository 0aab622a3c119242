"""What an agent and a world are, one loop for both, and honest averages over seeds."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from labkit.intervals import interval
from labkit.table import Table


class Agent(Protocol):
    def act(self, percept: Any) -> Any:
        """The action for what is sensed now; None when there is nothing left to do."""


class World(Protocol):
    def percept(self) -> Any:
        """What an agent senses now. Never more than it could sense."""

    def step(self, action: Any) -> None:
        """Let the action happen, and time pass."""

    def score(self) -> float:
        """Share of the best possible result in this world so far, 0 to 1."""


@dataclass
class Episode:
    """What was sensed and done, step by step, and the score at the end."""

    percepts: list[Any] = field(default_factory=list)
    actions: list[Any] = field(default_factory=list)
    score: float = 0.0

    def __len__(self) -> int:
        return len(self.actions)


def run_episode(agent: Agent, world: World, steps: int) -> Episode:
    """Sense, act, step: at most `steps` times, or until the agent answers None."""
    episode = Episode()
    for _ in range(steps):
        percept = world.percept()
        action = agent.act(percept)
        if action is None:
            break
        episode.percepts.append(percept)
        episode.actions.append(action)
        world.step(action)
    episode.score = world.score()
    return episode


def compare(agents: dict[str, Callable[[int], Agent]], world: Callable[[int], World], steps: int,
            seeds: Iterable[int]) -> dict[str, list[float]]:
    """Scores per agent, one per seed. Every agent meets the same worlds, so scores can be paired."""
    seeds = list(seeds)
    return {name: [run_episode(make(seed), world(seed), steps).score for seed in seeds]
            for name, make in agents.items()}


def score_table(scores: dict[str, Sequence[float]]) -> Table:
    """Each agent's mean score and its 95 % interval, and over how many worlds."""
    rows = []
    for name, values in scores.items():
        mean, low, high = interval(values)
        rows.append((name, f"{mean:.2f}", f"{low:.2f} to {high:.2f}", str(len(values))))
    return Table(("agent", "score", "95 % interval", "worlds"), tuple(rows))


def draw_scores(scores: dict[str, dict[str, Sequence[float]]]) -> Any:
    """One panel per world: mean score of each agent over its seeds, with the 95 % interval as a bar."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.5 * ((len(scores) + 1) // 2) + 1), layout="constrained")
    axes = figure.subplots((len(scores) + 1) // 2, 2, sharex=True, squeeze=False).ravel()
    for axis, (world, agents) in zip(axes, scores.items(), strict=False):
        for row, values in enumerate(agents.values()):
            mean, low, high = interval(values)
            axis.plot([low, high], [row, row], color="black", ls="-", lw=1.5, marker="|", ms=7)
            axis.plot(mean, row, "ko", ms=5)
            axis.text(1.06, row, f"{mean:.2f}", va="center", fontsize=8)
        axis.set(yticks=range(len(agents)), yticklabels=list(agents), ylim=(len(agents) - 0.5, -0.5))
        axis.set(xticks=[0, 0.25, 0.5, 0.75, 1], xlim=(0, 1.22))
        axis.set_title(world, fontsize=10, loc="left")
        axis.axvline(1, color="0.6", lw=0.8, ls=":")
    for axis in axes[len(scores):]:
        axis.set_visible(False)
    figure.supxlabel("share of the best possible score (mean and 95 % interval over seeds)", fontsize=9)
    return figure
