"""Input validation: size, characters that hide something, and a score for words that look like an injection.

Characters and size are facts, and what is wrong with them is refused. The score is a guess by a few patterns: it is
measured in lesson 17, misses whatever is put another way, and never lets something through that another layer stops.
"""
from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from labkit.errors import BadRequest
from labkit.safety import injection
from labkit.safety.refusal import Refused

BIDI = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
ZERO_WIDTH = set("\u200b\u2060\ufeff\u00ad\u180e")  # the joiners U+200C and U+200D belong to Persian, Hindi and emoji
TAGS = range(0xE0000, 0xE0080)  # an invisible copy of ASCII, which a model can read
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class InputLimits:
    """characters: at most in one text. score: refused from here on (see injection.score); None lets any through."""

    characters: int = 8000
    score: float | None = 1.0

    def __post_init__(self) -> None:
        if self.characters < 1:
            raise BadRequest(f"characters={self.characters}: a text needs at least 1.")


@dataclass(frozen=True)
class Inspection:
    """wrong: what makes a text unfit. hints: what is odd, and may be innocent. score: see injection.score."""

    wrong: tuple[str, ...]
    hints: tuple[str, ...]
    score: float
    signs: tuple[str, ...]


def inspect(text: str, limits: InputLimits | None = None) -> Inspection:
    """Look at a text without refusing it."""
    limits = limits or InputLimits()
    if len(text) > limits.characters:  # nothing else is looked at: patterns over a megabyte take their time
        return Inspection((f"it has {len(text)} characters, and may have {limits.characters}",), (), 0.0, ())
    signs = injection.signs(text)
    return Inspection(tuple(_wrong(text)), tuple(_hints(text)), injection.total(signs), tuple(signs))


def check(text: Any, limits: InputLimits) -> None:
    """Raise Refused for a text that is not let in."""
    if not isinstance(text, str) or not text.strip():
        raise Refused("input", "The request is empty. Write what you want.")
    found = inspect(text, limits)
    if found.wrong:
        raise Refused("input", f"The request was not read: {found.wrong[0]}.")
    if limits.score is not None and found.score >= limits.score:
        raise Refused("input", f"The request was not read: it looks like an instruction to the model "
                               f"({', '.join(found.signs)}). Say what you want in other words.")


def _wrong(text: str) -> Iterator[str]:
    kinds = (("a control character", lambda c: unicodedata.category(c) == "Cc" and c not in "\n\r\t"),
             ("a character that turns the direction of writing", BIDI.__contains__),
             ("half of a character (a lone surrogate)", lambda c: unicodedata.category(c) == "Cs"),
             ("an invisible character", lambda c: c in ZERO_WIDTH or ord(c) in TAGS))
    for name, is_one in kinds:
        found = next((i for i, c in enumerate(text) if is_one(c)), None)
        if found is not None:
            yield f"it holds {name} (U+{ord(text[found]):04X}, place {found + 1})"


def _hints(text: str) -> Iterator[str]:
    for word in _WORD.findall(text):
        scripts = {_script(c) for c in word} - {""}
        if len(scripts) > 1:
            yield f"{word!r} mixes letters that look alike: {' and '.join(sorted(scripts))}"


def _script(letter: str) -> str:
    """LATIN, CYRILLIC or GREEK, whose letters are taken for one another; "" for any other."""
    name = unicodedata.name(letter, "").split(" ")[0]
    return name if name in ("LATIN", "CYRILLIC", "GREEK") else ""
