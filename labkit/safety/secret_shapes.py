"""Secrets in a text: keys by the shape their issuer gave them, values after a word like password, and entropy."""
from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

_SHAPES = re.compile("|".join((
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",                                   # Amazon
    r"\bgh[pousr]_[A-Za-z0-9]{36,}\b", r"\bgithub_pat_\w{22,}",         # GitHub
    r"\bglpat-[\w-]{20,}",                                              # GitLab
    r"\bsk-[A-Za-z0-9_-]{20,}", r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}",  # OpenAI and others; Stripe
    r"\bhf_[A-Za-z0-9]{30,}\b", r"\bpypi-[\w-]{40,}", r"\bnpm_[A-Za-z0-9]{36}\b",
    r"\bxox[abprs]-[A-Za-z0-9-]{10,}",                                  # Slack
    r"\bAIza[\w-]{35}",                                                 # Google
    r"\bSG\.[\w-]{16,}\.[\w-]{16,}",                                    # SendGrid
    r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*",                            # a JSON Web Token
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
)))
_IN_URL = re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@]{1,64}:([^\s/@]{3,128})@")
_NAMED = re.compile(r"\b(?:pass(?:word|phrase|code)?|pwd|secret|api[ _-]?key|access[ _-]?key|auth[ _-]?token|token|"
                    r"pin)\b"
                    r"['\"]?(?: (?:is|was|to)(?: now)?:?|\s?[:=])\s*['\"]?([^\s'\",;]{4,128})", re.IGNORECASE)
_WORDS = """
required incorrect wrong invalid expired correct reset changed missing empty none null true false your their being
sent needed protected case given safe stored hidden secure that this the weak strong old new valid locked still never
"""
_PLAIN = frozenset(_WORDS.split())  # what stands after "password is" and is none
_TOKEN = re.compile(r"(?<![\w+/=.-])[A-Za-z0-9_+/-]{24,200}={0,2}(?![\w+/=-])")
BITS = 4.0  # a character: English words have fewer, random base64 of this length more


def spans(text: str) -> Iterator[tuple[int, int]]:
    yield from (match.span() for match in _SHAPES.finditer(text))
    yield from (match.span(1) for match in _IN_URL.finditer(text))
    for match in _NAMED.finditer(text):
        value = match.group(1).rstrip(".?)")
        if value.lower() not in _PLAIN and (not value.isalpha() or not value.islower()):
            yield match.start(1), match.start(1) + len(value)
    yield from (match.span() for match in _TOKEN.finditer(text) if _random(match.group()))


def _random(token: str) -> bool:
    """Many different characters of three kinds. A hash or a UUID has two kinds only: it names something, no secret."""
    kinds = [any(test(c) for c in token) for test in (str.islower, str.isupper, str.isdigit)]
    return all(kinds) and entropy(token) >= BITS and token.count("/") < 3


def entropy(text: str) -> float:
    """Shannon's entropy of the characters (bits each)."""
    counts = Counter(text).values()
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts)
