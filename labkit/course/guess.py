"""Predict, run, compare: a guess set beside its measurement."""
from __future__ import annotations

from labkit.course.card import Card, show


def predict(what: str, guess: object, measured: object, unit: str = "") -> None:
    """Compare a guess with a measurement (numbers in `unit`, or words) and show how far off it was."""
    show(compare(what, guess, measured, unit))


def compare(what: str, guess: object, measured: object, unit: str = "") -> Card:
    """The card `predict` shows. A missing guess (None or ...) is asked for, not scolded."""
    found = f"Measured: {_text(measured, unit)}"
    if guess is None or guess is ...:
        return Card(f"{what}: no guess yet.", [found, "A guess first, even a wild one, makes it stick."])
    lines = [f"Your guess: {_text(guess, unit)}", found]
    mine, real = _number(guess), _number(measured)
    if mine is None or real is None:
        same = str(guess).strip().casefold() == str(measured).strip().casefold()
        return Card(f"{what}: {'as you said.' if same else 'not what you expected.'}", lines)
    return Card(f"{what}: {_verdict(mine, real)}", [*lines, _distance(mine, real, unit)])


def _verdict(guess: float, real: float) -> str:
    if guess == real:
        return "exactly."
    if guess <= 0 or real <= 0:
        return "not quite."
    factor = max(guess / real, real / guess)
    steps = [(1.1, "very close."), (1.5, "close."), (3, "the right order of size."), (10, "some way off.")]
    return next((text for limit, text in steps if factor <= limit),
                "far off, so there is something to learn here.")


def _distance(guess: float, real: float, unit: str) -> str:
    off = f"Off by {_text(abs(guess - real), unit)}"
    if guess <= 0 or real <= 0 or guess == real:
        return f"{off}."
    high, low = max(guess, real), min(guess, real)
    which = "guess" if guess > real else "measurement"
    return f"{off}: the {which} is {high / low:.3g} times the {'measurement' if guess > real else 'guess'}."


def _number(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)  # a guess may come as "50", a measurement as a NumPy number
    except (TypeError, ValueError):
        return None
    return number if abs(number) < float("inf") else None  # also refuses nan


def _text(value: object, unit: str) -> str:
    number = _number(value)
    if number is None:
        return str(value)
    text = f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"
    return f"{text} {unit}".strip()
