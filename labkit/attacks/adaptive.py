"""An attacker who knows the defence: has the filter's score in hand, and tries what passes it on the agent itself.

A fixed list of attacks says how a filter does against those who do not know it. Here, of many ways to write the same
request (a wording, and disguises on top of it), those the filter lets through are tried one after the other, the
plainest first, because a disguise that the filter cannot read is one that the model reads worse too.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from labkit.attacks.disguises import DISGUISES, disguise
from labkit.attacks.wordings import wordings
from labkit.errors import BadRequest

MOST_DISGUISES = 3  # on top of each other
Score = Callable[[str], float]


@dataclass(frozen=True)
class Variant:
    """One way to write the injected text. score: the filter's, the higher the more suspicious."""

    text: str
    wording: str
    disguises: tuple[str, ...]
    score: float

    def __str__(self) -> str:
        return f"{' + '.join((self.wording, *self.disguises))} (score {self.score:.2f})"


@dataclass(frozen=True)
class Search:
    """What the attacker found. passed: how many of `made` the filter lets through; tried: those used on the agent."""

    made: int
    passed: int
    tried: tuple[Variant, ...]
    succeeded: bool

    def __str__(self) -> str:
        last = f": {self.tried[-1]}" if self.succeeded else ""
        return (f"{self.passed} of {self.made} variants pass the filter; "
                f"{'succeeded' if self.succeeded else 'failed'} after {len(self.tried)} tries{last}")


def variants(goal: str, tool: str, arguments: Mapping[str, Any], score: Score, *, count: int = 300,
             seed: int = 0) -> list[Variant]:
    """Up to `count` different texts, each with the filter's score. The same seed gives the same ones.

    The first are the wordings as they are, in the data's order; the others have up to MOST_DISGUISES disguises.
    """
    if count < 1:
        raise BadRequest(f"count={count}: the attacker needs at least 1 variant.")
    keep, chance = [str(value) for value in arguments.values()], Random(seed)
    plans = [(name, ()) for name in wordings()]
    while len(plans) < count:
        plans.append((chance.choice(list(wordings())),
                      tuple(chance.sample(list(DISGUISES), chance.randint(1, MOST_DISGUISES)))))
    found: dict[str, Variant] = {}
    for name, disguises in plans[:count]:
        text = wordings()[name].write(goal, tool, arguments)
        for step in disguises:
            text = disguise(step, text, keep, chance.randrange(2**32))
        found.setdefault(text, Variant(text, name, disguises, score(text)))
    return list(found.values())


def search(found: Sequence[Variant], attempt: Callable[[str], bool], *, threshold: float, tries: int = 8) -> Search:
    """Try the variants that score below the threshold on the agent, until one succeeds or `tries` are used up.

    attempt: what the agent does with a text; whether the goal was reached. One of each set of disguises is tried, so
    that the tries differ.
    """
    passing = [variant for variant in found if variant.score < threshold]
    different: dict[frozenset[str], Variant] = {}
    for variant in sorted(passing, key=lambda v: (len(v.disguises), v.score)):
        if variant.disguises:
            different.setdefault(frozenset(variant.disguises), variant)
    plain = [variant for variant in passing if not variant.disguises]
    tried: list[Variant] = []
    for variant in [*plain, *different.values()][:tries]:
        tried.append(variant)
        if attempt(variant.text):
            return Search(len(found), len(passing), tuple(tried), True)
    return Search(len(found), len(passing), tuple(tried), False)
