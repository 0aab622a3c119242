"""Words that look like an instruction to the model instead of a request: signs with weights, and their sum.

The patterns were chosen on the dev half of data/redaction/injections.jsonl and measured on its test half. They know
English only; what is put in other words, in another language, or in code, they do not see.
"""
from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_LOOKALIKES = str.maketrans("аеорсхуіѕԁһӏАЕОРСХІЅВНКМТ0134@$", "aeopcxyisdhlAEOPCXISBHKMToieaas")

# (sign, weight, pattern). A weight of 1 is enough by itself to be refused at the usual limit.
SIGNS = (
    ("sets earlier instructions aside", 1.0,
     r"\b(ignore|disregard|forget|override|bypass|discard|drop|skip)\b[^.?!\n]{0,40}\b(previous|prior|above|earlier|"
     r"all|"
     r"any|your|these|those|system|existing|original)\b[^.?!\n]{0,30}\b(instruction|rule|prompt|direction|guideline|"
     r"polic|restriction|safeguard)|\b(ignore|disregard|forget) (the |all )?(rule|instruction|direction)s (above|"
     r"before|"
     r"so far)"),
    ("gives new instructions", 0.7,
     r"\b(new|updated|real|actual|revised|important) (instruction|task|objective|goal|order|directive)s?\b\s*(:|follow|"
     r"from|are|is)"),
    ("speaks to the model", 0.5,
     r"\b(you are (now|no longer)|dear (ai|assistant|model)|attention,? (ai|assistant|model|agent)|(ai|language) "
     r"model[,:]|act as (an?|the|if)|pretend (to be|that|you)|from now on,? (you|answer|act)|note (to|for) (the )?(ai|"
     r"assistant|model|agent)|(assistant|agent|model)s? (reading|processing|handling|must|should) )"),
    ("writes the chat's own marks", 1.0,
     r"(<\|?(im_start|im_end|system|endoftext|assistant)\|?>|\[/?(inst|system)\]|<</?sys>>|^\s*#{2,3}\s*(system|"
     r"instruction|assistant)\b|^\s*(system|assistant)\s*:|</?(system|instructions?|important|information|"
     r"tool_call)>)"),
    ("asks for the instructions", 1.0,
     r"\b(reveal|print|show|repeat|output|leak|tell me|display|what (is|are|were))\b[^.?!\n]{0,30}(\bsystem prompt\b|"
     r"\b(your|"
     r"initial|hidden|original|secret)\b[^.?!\n]{0,15}\b(prompt|instructions?|guidelines|secret key)\b)"),
    ("lifts the limits", 1.0,
     r"\b(developer|admin(istrator)?|god|maintenance|unrestricted|jailbreak|dan) mode\b|\bwithout (any )?(filter|"
     r"restriction|limit|safeguard|confirmation|approval|asking)|\bno (longer bound|restrictions|"
     r"approval (is )?(needed|"
     r"required|necessary))|\bdo anything now\b|\b(have|are under|with) no rules\b|"
     r"\bunrestricted (assistant|ai|model)\b"),
    ("wants it hidden", 0.6,
     r"\b(do not|don't|never|without) (tell|telling|mention|inform|informing|notify|notifying|reveal|alert|show)\w*\b"
     r"[^.?!\n]{0,25}\b(user|customer|anyone|them|this|it|owner|human|staff)\b"),
    ("orders a tool's call", 0.6,
     r"\b(call|invoke|execute|run|use|trigger) (the )?[`'\"]?[a-z]+(_[a-z]+)+\b|\b(call|invoke|use|run) the \w+ "
     r"(tool|function)\b"),
    ("claims authority", 0.5,
     r"\b(i am|i'm|this is|on behalf of|as) (the |your |an? )?(system|administrator|admin|developer|owner of this|"
     r"security team|ceo|creator|openai|anthropic)\b|\bauthori[sz]ed (by|override)\b"),
    ("presses for a first act", 0.5,
     r"\bbefore (you )?(do|doing|answer|answering|continu\w+|anything|proceed\w+)[^.?!\n]{0,40}\b(must|first|have to|"
     r"need to|please|send|call|run)\b|\binstead of (answer|help|summari[sz]|repl)\w*"),
    ("hides words in code", 0.4, r"(?<![\w/+=-])[A-Za-z0-9+/]{40,}={0,2}(?![\w/+=-])"),
)
_COMPILED = tuple((sign, weight, re.compile(pattern, re.IGNORECASE | re.MULTILINE)) for sign, weight, pattern in SIGNS)
_WEIGHTS = {sign: weight for sign, weight, _ in SIGNS}


def signs(text: str) -> list[str]:
    """The signs in a text: as it stands, or with what is invisible dropped and look-alike letters made Latin."""
    forms = (text, _plain(text))
    return [sign for sign, _, pattern in _COMPILED if any(pattern.search(form) for form in forms)]


def total(found: Iterable[str]) -> float:
    return round(sum(_WEIGHTS[sign] for sign in found), 2)


def score(text: str) -> float:
    """0 where nothing looks like an injection; each kind of sign counts once."""
    return total(signs(text))


def _plain(text: str) -> str:
    visible = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    return visible.translate(_LOOKALIKES)
