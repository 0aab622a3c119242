"""Alerts: a figure that is too high or too low for a while, told once, and told again when it is over.

An alert begins when its figure has been beyond `limit` for `for_s` seconds, and ends when it has come back past
`until`. Between the two nothing flickers: that is hysteresis. Knows no figures' meaning and no service.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from labkit.errors import BadRequest


@dataclass(frozen=True)
class Rule:
    """name: of the alert. figure: what is looked at. above: whether too high is bad, or too low.

    until: where it is over; at `limit` itself, if None. action: called once when it begins, with the value.
    """

    name: str
    figure: str
    limit: float
    above: bool = True
    until: float | None = None
    for_s: float = 0.0
    action: Callable[[float], object] | None = None

    def __post_init__(self) -> None:
        if self.for_s < 0:
            raise BadRequest(f"Alert {self.name!r}: for_s={self.for_s} is no time.")
        if self.until is not None and (self.until > self.limit) == self.above and self.until != self.limit:
            raise BadRequest(f"Alert {self.name!r} would end at {self.until} before it begins at {self.limit}.")

    def beyond(self, value: float) -> bool:
        return value > self.limit if self.above else value < self.limit

    def over(self, value: float) -> bool:
        end = self.limit if self.until is None else self.until
        return value <= end if self.above else value >= end


@dataclass(frozen=True)
class Event:
    """began: whether it began or ended. value: of the figure then. trouble: what its action raised."""

    rule: Rule
    began: bool
    at: float
    value: float
    trouble: str = ""

    def __str__(self) -> str:
        word = "began" if self.began else "is over"
        failed = f" (its action failed: {self.trouble})" if self.trouble else ""
        return f"{self.rule.name} {word}: {self.rule.figure} is {self.value:.4g}{failed}"


@dataclass
class _State:
    since: float | None = None  # when it went beyond
    on: bool = False


@dataclass
class Alerts:
    """Rules and where each of them stands. at: seconds of any clock that does not go back."""

    rules: Sequence[Rule]
    _states: dict[str, _State] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [rule.name for rule in self.rules]
        if twice := [name for name in names if names.count(name) > 1]:
            raise BadRequest(f"Two alerts are called {twice[0]!r}.")
        self._states = {name: _State() for name in names}

    @property
    def on(self) -> list[Rule]:
        """Those that have begun and are not over."""
        return [rule for rule in self.rules if self._states[rule.name].on]

    def look(self, figures: Mapping[str, float], at: float) -> list[Event]:
        """What begins and ends with these figures. One that is missing changes nothing."""
        found = (self._step(rule, figures[rule.figure], at) for rule in self.rules if rule.figure in figures)
        return [event for event in found if event]

    def _step(self, rule: Rule, value: float, at: float) -> Event | None:
        state = self._states[rule.name]
        if state.on:
            if not rule.over(value):
                return None
            state.on, state.since = False, None
            return Event(rule, False, at, value)
        if not rule.beyond(value):
            state.since = None
            return None
        state.since = at if state.since is None else state.since
        if at - state.since < rule.for_s:
            return None
        state.on = True
        return Event(rule, True, at, value, _act(rule, value))


def _act(rule: Rule, value: float) -> str:
    """Run the action; what it raised, in words: an alert must not end what it watches."""
    try:
        if rule.action:
            rule.action(value)
        return ""
    except Exception as error:
        return f"{type(error).__name__}: {error}"
