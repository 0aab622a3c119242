"""Alerts: a figure that is too high or too low for a while, told once, and told again when it is over.

An alert begins when its figure has been beyond `limit` for `for_s` seconds, and ends when it has come back past
`until`. Between the two nothing flickers: that is hysteresis. It ends, too, when its figure has not been there for a
while: a service that takes no work because it was slow has no latency that could come back. Knows no figures' meaning
and no service.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from labkit.errors import BadRequest

GONE_S = 60.0  # without its figure, an alert is over


@dataclass(frozen=True)
class Rule:
    """name: of the alert. figure: what is looked at. above: whether too high is bad, or too low.

    until: where it is over; at `limit` itself, if None. action: called once when it begins, with the value.
    undo: called once when it is over.
    """

    name: str
    figure: str
    limit: float
    above: bool = True
    until: float | None = None
    for_s: float = 0.0
    action: Callable[[float], object] | None = None
    undo: Callable[[], object] | None = None

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
    """began: whether it began or ended. value: of the figure then, None where it is gone. trouble: what its action
    raised."""

    rule: Rule
    began: bool
    at: float
    value: float | None
    trouble: str = ""

    def __str__(self) -> str:
        word = "began" if self.began else "is over"
        failed = f" (its action failed: {self.trouble})" if self.trouble else ""
        told = "not measured any more" if self.value is None else f"{self.value:.4g}"
        return f"{self.rule.name} {word}: {self.rule.figure} is {told}{failed}"


@dataclass
class _State:
    since: float | None = None  # when it went beyond
    seen: float = 0.0           # when its figure was last there
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
        """What begins and ends with these figures. One that is missing changes nothing, until it has been so for
        GONE_S."""
        found = (self._step(rule, figures.get(rule.figure), at) for rule in self.rules)
        return [event for event in found if event]

    def _step(self, rule: Rule, value: float | None, at: float) -> Event | None:
        state = self._states[rule.name]
        if value is None:
            return self._end(rule, None, at) if state.on and at - state.seen >= GONE_S else None
        state.seen = at
        if state.on:
            return self._end(rule, value, at) if rule.over(value) else None
        if not rule.beyond(value):
            state.since = None
            return None
        state.since = at if state.since is None else state.since
        if at - state.since < rule.for_s:
            return None
        state.on = True
        return Event(rule, True, at, value, _done(rule.action, value))

    def _end(self, rule: Rule, value: float | None, at: float) -> Event:
        self._states[rule.name] = _State()
        return Event(rule, False, at, value, _done(rule.undo))


def _done(action: Callable[..., object] | None, *arguments: float) -> str:
    """Run an action; what it raised, in words: an alert must not end what it watches."""
    try:
        if action:
            action(*arguments)
        return ""
    except Exception as error:
        return f"{type(error).__name__}: {error}"
