"""Arguments taken from what was said: narrow a schema to values that occur in a text.

A small untrained model asked for an order number likes to write the example from the description.
Where the conversation gives candidates, only they may come: a text argument is a run of words of the
conversation, a number one of its numbers, a choice one of those mentioned. An optional argument stays
only if one of its choices is mentioned. Dates, patterns and booleans stay as they are, and so does a
number or a choice where the conversation has none.
"""
from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

SPAN_WORDS = 12      # longest text argument, in words
SOURCE_WORDS = 120   # of the conversation's end that can be copied from
_WORD = re.compile(r"\w+(?:[^\w\s]+\w+)*")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?(?![\d])")
_COUNTS = {word: n for n, word in enumerate(
    "zero one two three four five six seven eight nine ten eleven twelve".split())}
_SET = {"enum", "const", "format", "pattern", "minimum", "maximum", "anyOf", "oneOf", "allOf", "$ref"}


def grounded(schema: Mapping[str, Any], text: str) -> dict[str, Any]:
    """`schema` with its open text and number values narrowed to what `text` says."""
    words = list(_WORD.finditer(text))[-SOURCE_WORDS:]
    new = _narrow(schema, text, spans_pattern(text, words), numbers(text))
    properties, required = new.get("properties", {}), set(new.get("required", ()))
    kept = {name: part for name, part in properties.items() if name in required or _mentioned(part, text)}
    return {**new, "properties": kept, "required": list(kept)} if properties else new


def numbers(text: str) -> list[int | float]:
    """The numbers in a text, in order: digits, and words up to twelve."""
    found = [(m.start(), float(m.group().replace(",", ""))) for m in _NUMBER.finditer(text)]
    found += [(m.start(), float(_COUNTS[m.group().lower()])) for m in _WORD.finditer(text)
              if m.group().lower() in _COUNTS]
    values = (int(value) if value.is_integer() else value for _, value in sorted(found))
    return list(dict.fromkeys(values))


def spans_pattern(text: str, words: list[re.Match]) -> str | None:
    """A regular expression for every run of up to SPAN_WORDS words of the text."""
    starts = []
    for i in range(len(words)):
        span = ""
        for before, word in reversed(list(zip(words[i:], words[i + 1:i + SPAN_WORDS]))):
            span = f"({re.escape(text[before.end():word.end()])}{span})?"
        starts.append(re.escape(words[i].group()) + span)
    return f"^({'|'.join(dict.fromkeys(starts))})$" if starts else None


def _mentioned(schema: Mapping[str, Any], text: str) -> list:
    """Those of a schema's choices (enum) that the text names."""
    choices = schema.get("enum") or schema.get("items", {}).get("enum") or ()
    return [c for c in choices if isinstance(c, str) and re.search(
        rf"\b{re.escape(c).replace('_', '[ _-]')}", text, re.IGNORECASE)]


def _narrow(schema: Any, text: str, pattern: str | None, values: list) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    new = dict(schema)
    for key in ("properties", "$defs"):
        if key in new:
            new[key] = {name: _narrow(part, text, pattern, values) for name, part in new[key].items()}
    kind, is_set = new.get("type"), new.keys() & _SET
    if kind == "string" and pattern and not is_set:
        new["pattern"] = pattern
    elif kind in ("integer", "number") and not is_set:
        fitting = [v for v in values if kind == "number" or isinstance(v, int)]
        new.update({"enum": fitting} if fitting else {})
    elif kind == "array" and "items" in new:
        new["items"] = _narrow(new["items"], text, pattern, values)
        new.setdefault("maxItems", max(1, len(new["items"].get("enum", range(8)))))
    elif "enum" in new:
        new["enum"] = _mentioned(new, text) or new["enum"]
    return new
