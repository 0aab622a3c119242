"""Personal data, secrets and unsafe content taken out of a text: find(text), redact(text).

    redact("Write to anna@example.org").text          # "Write to [EMAIL]"

What has a check digit is checked (python-stdnum), so that a number that only looks like a card stays. Phone numbers are
Google's libphonenumber. Names and addresses have no check digit: they are found by their surroundings, and many are
missed; a list of the names that a desk knows (known=) finds those. Lesson 17 measures each kind on data/redaction.
Without a model, on purpose: what can be read off the text is found at once, offline, and can be explained.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from labkit.safety import personal, secret_shapes, unsafe

FINDERS = {"secret": secret_shapes.spans, **personal.FINDERS, "unsafe": unsafe.spans}
KINDS = tuple(FINDERS)  # where two overlap, the first is taken
LONGEST = 100_000  # characters that are looked at; what follows is taken out unread


@dataclass(frozen=True)
class Found:
    """A span of a text, text[start:end]."""

    kind: str
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Redacted:
    """text: with [KIND] in place of what was found. counts: {kind: how often}."""

    text: str
    counts: dict[str, int]

    def __str__(self) -> str:
        return self.text


def find(text: str, kinds: Collection[str] = KINDS, known: Iterable[str] = ()) -> list[Found]:
    """What there is in a text, in its order, without overlaps. known: names to find wherever they stand."""
    text = text[:LONGEST]
    taken: list[Found] = []
    for kind in KINDS:
        if kind not in kinds:
            continue
        spans = [*FINDERS[kind](text), *(personal.listed(text, known) if kind == "name" else ())]
        for start, end in sorted(spans, key=lambda span: span[0] - span[1]):  # the longest first
            if all(end <= other.start or start >= other.end for other in taken):
                taken.append(Found(kind, start, end, text[start:end]))
    return sorted(taken, key=lambda found: found.start)


def redact(text: str, kinds: Collection[str] = KINDS, keep: str = "", known: Iterable[str] = ()) -> Redacted:
    """The text without what find() finds in it. keep: a text whose own words stay, such as the user's request.

    Unsafe content does not stay, whoever wrote it first.
    """
    found = [one for one in find(text, kinds, known) if one.kind == "unsafe" or one.text not in keep]
    parts, at = [], 0
    for one in found:
        parts += [text[at:one.start], f"[{one.kind.upper()}]"]
        at = one.end
    rest = text[at:LONGEST] + ("[THE REST WAS NOT READ]" if len(text) > LONGEST else "")
    return Redacted("".join([*parts, rest]), dict(Counter(one.kind for one in found)))


def redacted_values(value: Any) -> Any:
    """A JSON value with every text in it redacted: for logs."""
    if isinstance(value, str):
        return redact(value).text
    if isinstance(value, dict):
        return {key: redacted_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redacted_values(item) for item in value]
    return value
