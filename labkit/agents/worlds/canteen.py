"""One guest with an unknown taste, and recommenders: a fixed favourite, and one that learns.

Each step is a day: the agent offers one dish, the guest likes it or not.
"""
from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

FEATURES = ("spicy", "sweet", "fish", "vegetables", "cheese")
DISHES = {  # made up for the course: how much of each feature a dish has, 0 to 1
    "chilli":          (1.0, 0.1, 0.0, 0.6, 0.1),
    "fish curry":      (0.9, 0.2, 1.0, 0.3, 0.0),
    "grilled herring": (0.0, 0.0, 1.0, 0.2, 0.0),
    "pancakes":        (0.0, 1.0, 0.0, 0.0, 0.1),
    "fruit salad":     (0.0, 0.9, 0.0, 0.7, 0.0),
    "lasagne":         (0.1, 0.1, 0.0, 0.3, 0.9),
    "cheese pie":      (0.0, 0.1, 0.0, 0.1, 1.0),
    "green soup":      (0.1, 0.0, 0.0, 1.0, 0.1),
    "tofu wok":        (0.7, 0.3, 0.0, 0.9, 0.0),
    "salmon pasta":    (0.0, 0.1, 0.8, 0.2, 0.5),
}

COMMON_TASTE = np.array([-0.6, 0.6, -0.6, 0.0, 1.0])  # what guests share; each differs from it (sd 2.5)


@dataclass(frozen=True)
class CanteenPercept:
    """The dishes on offer, and what the guest answered to the last one (None on the first day).

    answer is 1 (liked) or 0, or, when guests only speak, their words.
    """

    dishes: Mapping[str, Sequence[float]]
    last: str | None = None
    answer: Any = None


class Canteen:
    """A guest drawn by seed. Action: the name of a dish. Words replace 1 and 0 when `words` is given.

    words: texts per answer, {1: [...], 0: [...]}.
    """

    def __init__(self, seed: int = 0, words: Mapping[int, Sequence[str]] | None = None):
        self.random, self.words = random.Random(seed), words
        taste = COMMON_TASTE + np.random.default_rng(seed).normal(0, 2.5, len(FEATURES))
        liking = np.array(list(DISHES.values())) @ taste - 0.5
        self.chance = dict(zip(DISHES, 1 / (1 + np.exp(-liking)), strict=True))  # of liking each dish
        self.last, self.answer = None, None
        self.history: list[float] = []  # share of the best dish's chance, per day

    def percept(self) -> CanteenPercept:
        return CanteenPercept(DISHES, self.last, self.answer)

    def step(self, action: str) -> None:
        if action not in self.chance:
            raise ValueError(f"The canteen has {', '.join(DISHES)}; not {action!r}")
        liked = int(self.random.random() < self.chance[action])
        self.last, self.answer = action, self.random.choice(self.words[liked]) if self.words else liked
        self.history.append(self.chance[action] / max(self.chance.values()))

    def score(self) -> float:
        """Expected likes of what was offered, as a share of offering the guest's best dish each day."""
        return float(np.mean(self.history)) if self.history else 0.0


class RandomCook:
    """Any dish."""

    def __init__(self, seed: int = 0):
        self.random = random.Random(seed)

    def act(self, percept: CanteenPercept) -> str:
        return self.random.choice(list(percept.dishes))


class FixedCook:
    """The dish that most guests like, every day: what a recommender must beat to be worth anything."""

    def __init__(self, guests: int = 500):
        likes = [Canteen(seed=1_000_000 + g).chance for g in range(guests)]  # none of the guests we test on
        self.dish = max(DISHES, key=lambda dish: sum(guest[dish] for guest in likes))

    def act(self, percept: CanteenPercept) -> str:
        return self.dish


class LearningCook:
    """Thompson sampling on a linear model: draw a taste that fits what was seen, offer its best dish.

    The belief about the taste is a normal distribution (Bayesian linear regression): little seen, wide
    draws, so it explores; much seen, narrow draws, so it settles.
    read: a function from the guest's words to a reward, 0 to 1 (None: cannot tell), where guests speak.
    """

    def __init__(self, seed: int = 0, read: Callable[[str], float] | None = None, noise: float = 0.4):
        self.random, self.read, self.noise = np.random.default_rng(seed), read, noise
        size = len(FEATURES) + 1                # one more for what every dish shares
        self.precision = np.eye(size)           # inverse of the belief's covariance
        self.evidence = np.zeros(size)

    def learn(self, features: Sequence[float], reward: float) -> None:
        """One more observation: `reward` (0 to 1) for a dish with these features."""
        x = np.array([1.0, *features])
        self.precision += np.outer(x, x) / self.noise**2
        self.evidence += x * (reward - 0.5) / self.noise**2

    def act(self, percept: CanteenPercept) -> str:
        if percept.last is not None:
            reward = self.read(percept.answer) if self.read else percept.answer
            if reward is not None:
                self.learn(percept.dishes[percept.last], reward)
        spread = np.linalg.inv(self.precision)
        taste = self.random.multivariate_normal(spread @ self.evidence, spread, method="cholesky")
        return max(percept.dishes, key=lambda dish: taste @ np.array([1.0, *percept.dishes[dish]]))


def draw(curves: Mapping[str, Sequence[Sequence[float]]], window: int = 10) -> Any:
    """Learning curves: mean over seeds of each agent's daily share of the best, with a 95 % band.

    curves: {agent: histories}, a history per seed, all equally long. window: days averaged together.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axis = figure.subplots()
    for (name, histories), style in zip(curves.items(), ("-", "--", ":", "-."), strict=False):
        daily = np.array(histories, dtype=float)
        blocks = daily[:, : daily.shape[1] // window * window].reshape(len(daily), -1, window).mean(axis=2)
        mean, half = blocks.mean(axis=0), 1.96 * blocks.std(axis=0, ddof=1) / np.sqrt(len(daily))
        days = window * (np.arange(len(mean)) + 1)
        axis.plot(days, mean, color="black", ls=style, lw=1.6, marker="")
        axis.fill_between(days, mean - half, mean + half, color="0.8", alpha=0.6, lw=0)
        axis.text(days[-1] + 1, mean[-1], name, va="center", fontsize=9)
    axis.set(xlabel=f"day (means of {window} days, {len(daily)} guests, 95 % bands)",
             ylabel="share of the best dish's likes", ylim=(0, 1.02), xlim=(0, days[-1] * 1.22))
    return figure
