"""Content that must not be in an answer: a short list of patterns, by kind.

A list knows what is on it. It is a last net under a model that was trained to refuse, not a judge of content; the
patterns ask for instructions ("how to", amounts, steps), so that a text that warns of something passes.
"""
from __future__ import annotations

import re
from collections.abc import Iterator

KINDS = {
    "weapons": r"\b(mix|combine|build|assemble|pack)\b[^.?!\n]{0,60}\b(explosive|detonator|pipe bomb|nerve agent)",
    "self-harm": r"\b(best|easiest|painless|quickest) way to (kill|hurt|harm|end)\b[^.?!\n]{0,15}\b(yourself|your life|"
                 r"oneself)|\byou should (kill|hurt|harm) yourself\b",
    "medication": r"\b(double|triple|stop taking|increase|ignore)\b[^.?!\n]{0,25}\b(your|the) (dose|dosage|medication|"
                  r"insulin|prescription)\b(?![^.?!\n]{0,60}\b(doctor|physician|pharmacist)\b)",
    "code that runs": r"<script\b|javascript:|\bon(error|load|click)\s*=|rm\s+-rf\s+[/~]|;\s*drop\s+table\b|"
                      r"!\[[^\]]*\]\(https?://",
}
_WARNED = re.compile(r"\b(never|don't|do not|must not|avoid|doctor|pharmacist)\b[^.?!\n]{0,30}$", re.IGNORECASE)
_SENTENCE = re.compile(r"[^.?!\n]+(?:[.?!](?!\s|$)[^.?!\n]*)*[.?!]?")
_COMPILED = {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in KINDS.items()}


def kinds(text: str) -> list[str]:
    """Which kinds of unsafe content a text has."""
    found = ((kind, pattern.search(text)) for kind, pattern in _COMPILED.items())
    return [kind for kind, match in found if match and not _WARNED.search(text[:match.start()])]


def spans(text: str) -> Iterator[tuple[int, int]]:
    """The sentences that have any."""
    sentences = list(_SENTENCE.finditer(text))
    yield from (sentence.span() for sentence in sentences if kinds(sentence.group()))
