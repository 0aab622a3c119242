"""When to ask the small model and when the large one: policies, as functions that put together make one.

A policy is a function from a Case to a Decision, or to None where it has nothing to say; `first` tries them in
order. Knows no models but by what the small one answered: see routing for who asks them.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from labkit.backends.reply import Reply
from labkit.errors import BadRequest, LabkitError

SMALL, LARGE = "small", "large"


@dataclass(frozen=True)
class Decision:
    """tier: "small" or "large". final: no other tier may step in, not even when this one fails."""

    tier: str
    why: str
    final: bool = False


class Case:
    """One request on its way, as policies see it. `small` asks the small model, once, when a policy looks at it."""

    def __init__(self, messages: list[dict[str, Any]], options: Mapping[str, Any], ask_small: Callable[[], Reply], *,
                 private: bool = False, spent: float = 0.0, busy: int = 0, priority: int = 0):
        self.messages, self.options, self._ask_small = messages, options, ask_small
        self.private, self.spent, self.busy, self.priority = private, spent, busy, priority
        self._small: Reply | LabkitError | None = None

    @property
    def text(self) -> str:
        """The last thing that the user said."""
        return next((m["content"] for m in reversed(self.messages) if m["role"] == "user"), "")

    @property
    def everything(self) -> str:
        """All that would be sent: earlier turns and results of tools are as private as the last question."""
        return "\n".join(m["content"] for m in self.messages)

    @property
    def small(self) -> Reply | LabkitError:
        """The small model's answer, or the error it ended with."""
        if self._small is None:  # no cached_property: before Python 3.12 it lets one instance at a time work
            try:
                self._small = self._ask_small()
            except LabkitError as error:
                self._small = error
        return self._small


Policy = Callable[[Case], Decision | None]


def always(tier: str) -> Policy:
    """Every request to "small", or every one to "large"."""
    decision = Decision(_known(tier), f"always {tier}")
    return lambda case: decision


def when(test: Callable[[Case], bool], tier: str, why: str) -> Policy:
    """To `tier` where `test` says so: by length, number of tools, priority, load (`case.busy`), the battery."""
    _known(tier)
    return lambda case: Decision(tier, why) if test(case) else None


def rules(patterns: Mapping[str, str]) -> Policy:
    """By words: {regular expression: tier}; the first that is found in the request, whatever its case."""
    compiled = [(_pattern(words), words, _known(tier)) for words, tier in patterns.items()]

    def decide(case: Case) -> Decision | None:
        return next((Decision(tier, f"rule {words!r}") for pattern, words, tier in compiled
                     if pattern.search(case.text)), None)
    return decide


def by_intent(classify: Callable[[str], str], tiers: Mapping[str, str]) -> Policy:
    """By what a classifier takes the request for; nothing for an intent that is not in `tiers`."""
    for tier in tiers.values():
        _known(tier)

    def decide(case: Case) -> Decision | None:
        intent = classify(case.text)
        return Decision(tiers[intent], f"intent {intent!r}") if intent in tiers else None
    return decide


def confidence(at_least: float) -> Policy:
    """A cascade: the small model answers first; the large one is asked where it is not sure enough.

    Needs a runtime that tells `reply.confidence`; where it does not, nothing is decided.
    """
    if not 0 <= at_least <= 1:
        raise BadRequest(f"confidence({at_least}): it is a probability, 0 to 1.")

    def decide(case: Case) -> Decision | None:
        if isinstance(case.small, LabkitError):
            return Decision(LARGE, f"the small model failed: {case.small}")
        if (sure := case.small.confidence) is None:
            return None
        return Decision(SMALL if sure >= at_least else LARGE, f"the small model is {sure:.0%} sure")
    return decide


def cost_cap(most: float) -> Policy:
    """The large model as long as all answers together have cost less than `most`; the small one from then on."""
    return lambda case: Decision(SMALL, f"{case.spent:.4g} of {most:.4g} is spent") if case.spent >= most else None


def private(found_in: Callable[[str], str | None]) -> Policy:
    """What is private never leaves this machine: where the caller says so, or `found_in` names what it found."""
    def decide(case: Case) -> Decision | None:
        found = "marked by the caller" if case.private else found_in(case.everything)
        return Decision(SMALL, f"private: {found}", final=True) if found else None
    return decide


def first(*policies: Policy, otherwise: str = SMALL) -> Policy:
    """The first of them that decides."""
    _known(otherwise)

    def decide(case: Case) -> Decision:
        decided = (policy(case) for policy in policies)
        return next((decision for decision in decided if decision), Decision(otherwise, "nothing else was decided"))
    return decide


def _known(tier: str) -> str:
    if tier not in (SMALL, LARGE):
        raise BadRequest(f"There is no tier {tier!r}. Use {SMALL!r} or {LARGE!r}.")
    return tier


def _pattern(words: str) -> re.Pattern[str]:
    try:
        return re.compile(words, re.IGNORECASE)
    except re.error as error:
        raise BadRequest(f"{words!r} is no regular expression: {error}") from error
