"""Arguments taken from what was said: narrow a schema to values that occur in a text.

A small untrained model asked for an order number likes to write the example from the description.
Where the conversation gives candidates, only they may come: a text argument is a run of words of the
conversation, a number one of its numbers, a list of numbers a run of them, a choice one of those
mentioned. An optional argument whose name or choice is mentioned must come, one that nothing speaks
for must not. Dates, patterns and required booleans stay as they are, and so does whatever the
conversation has no candidates for.
"""
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labkit.tools import json_schema

SPAN_WORDS = 12      # longest text argument, in words
SOURCE_WORDS = 120   # of the conversation's end that can be copied from
MAX_LISTED = 12     # numbers in a text from which runs are made
_LISTED = re.compile(r"[,;&\n]|\band\b|\bor\b", re.IGNORECASE)
_WORD = re.compile(r"\w+(?:[^\w\s]+\w+)*")
_BORDER = re.compile(r"[?!;:\"“”\n]|\.\s|'\s|\s'")  # no argument runs on across a sentence's or a quotation's end
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?(?![\d])")
_COUNTS = {word: n for n, word in enumerate(
    ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"])}
_SET = {"enum", "const", "format", "pattern", "minimum", "maximum", "anyOf", "oneOf", "allOf", "$ref"}


@dataclass(frozen=True)
class Spans:
    """The runs of words that a text argument may be: a regular expression, and how long single words are."""

    pattern: str | None
    lengths: set[int]

    def fit(self, schema: Mapping[str, Any]) -> bool:
        """Whether at least one word has a length (characters) that the schema allows."""
        low, high = schema.get("minLength", 0), schema.get("maxLength", float("inf"))
        return any(low <= length <= high for length in self.lengths)


def grounded(schema: Mapping[str, Any], text: str) -> dict[str, Any]:
    """`schema` with its open text and number values narrowed to what `text` says."""
    words = list(_WORD.finditer(text))[-SOURCE_WORDS:]
    spans = Spans(spans_pattern(text, words), {len(word.group()) for word in words})
    said = _Said(text, spans, numbers(text), Counter(_shared_enums(schema)))
    new = _narrow(schema, said)
    properties, required = new.get("properties", {}), list(new.get("required", ()))
    spare = len(set(said.numbers)) - sum(_numeric(properties[name]) for name in required if name in properties)
    kept = {}
    for name, part in properties.items():
        spoken_of = name not in required and (_mentioned(part, text) or _named(name, text))
        if name in required or spoken_of or (_numeric(part) and spare > 0):
            kept[name] = _affirmed(part, text) if spoken_of else part
            required += [name] if spoken_of else []
    return {**new, "properties": kept, "required": required}


@dataclass(frozen=True)
class _Said:
    """What a text offers: its words in runs, its numbers, and how many parameters share each enum."""

    text: str
    spans: Spans
    numbers: list
    enums: Counter


def _shared_enums(schema: Mapping[str, Any]) -> list[str]:
    return [str(part["enum"]) for part in schema.get("properties", {}).values() if "enum" in part]


def _affirmed(schema: Mapping[str, Any], text: str) -> Mapping[str, Any]:
    """A yes-or-no that the text names is a yes, unless the text also denies something."""
    denied = re.search(r"\b(no|not|without|never)\b|n't\b", text, re.IGNORECASE)
    return {**schema, "enum": [True]} if schema.get("type") == "boolean" and not denied else schema


def numbers(text: str) -> list[int | float]:
    """The numbers in a text, in order and as often as they occur: digits, and words up to twelve."""
    found = [(m.start(), float(m.group().replace(",", ""))) for m in _NUMBER.finditer(text)]
    found += [(m.start(), float(_COUNTS[m.group().lower()])) for m in _WORD.finditer(text)
              if m.group().lower() in _COUNTS]
    return [int(value) if value.is_integer() else value for _, value in sorted(found)]


def spans_pattern(text: str, words: list[re.Match]) -> str | None:
    """A regular expression for every run of up to SPAN_WORDS words of the text."""
    starts = []
    for i in range(len(words)):
        span = ""
        for before, word in reversed(list(zip(words[i:], words[i + 1:i + SPAN_WORDS]))):
            ends = _BORDER.search(text[before.end():word.start()])
            span = "" if ends else f"({re.escape(text[before.end():word.end()])}{span})?"
        starts.append(re.escape(words[i].group()) + span)
    return f"^({'|'.join(dict.fromkeys(starts))})$" if starts else None


def _numeric(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") in ("integer", "number")


def _named(name: str, text: str) -> bool:
    """Whether the text has a word of a parameter's name, in whatever form: shuffl(e|ing)."""
    parts = re.findall(r"[a-z]{4,}", re.sub(r"([A-Z])", r"_\1", name).lower())
    return any(re.search(rf"\b{part[:6]}", text, re.IGNORECASE) for part in parts)


def _mentioned(schema: Mapping[str, Any], text: str) -> list:
    """Those of a schema's choices (enum) that the text names."""
    choices = schema.get("enum") or schema.get("items", {}).get("enum") or ()
    return [c for c in choices if isinstance(c, str) and re.search(
        rf"\b{re.escape(c).replace('_', '[ _-]')}", text, re.IGNORECASE)]


def _narrow(schema: Any, said: _Said) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    new = dict(schema)
    for key in ("properties", "$defs"):
        if key in new:
            new[key] = {name: _narrow(part, said) for name, part in new[key].items()}
    kind, is_set = new.get("type"), new.keys() & _SET
    if kind == "string" and not is_set and said.spans.fit(new):
        new["pattern"] = said.spans.pattern
    elif _numeric(new) and not is_set:
        fitting = [v for v in dict.fromkeys(said.numbers) if valid(v, new)]
        new.update({"enum": fitting} if fitting else {})
    elif kind == "array" and isinstance(new.get("items"), Mapping):
        new = _narrow_list(new, said)
    elif "enum" in new:
        mentioned = _mentioned(new, said.text)
        enough = len(mentioned) >= said.enums[str(new["enum"])]
        new["enum"] = mentioned if mentioned and enough else new["enum"]
    return new


def _narrow_list(schema: dict[str, Any], said: _Said) -> dict[str, Any]:
    items = schema["items"]
    if _numeric(items) and len(said.numbers) <= MAX_LISTED:
        runs = [run for run in _runs(said.numbers) if valid(run, schema)]
        if runs:
            return {**schema, "enum": runs}
    items = _narrow(items, said)
    most = len(items["enum"]) if "enum" in items else 1 + len(_LISTED.findall(said.text))
    return {"maxItems": max(1, most, schema.get("minItems", 0)), **schema, "items": items}


def _runs(values: list) -> list[list]:
    """Every run of neighbours, each once."""
    ends = range(1, len(values) + 1)
    return [list(run) for run in dict.fromkeys(tuple(values[i:j]) for j in ends for i in range(j))]


def valid(value: Any, schema: Mapping[str, Any]) -> bool:
    return json_schema.validator(schema).is_valid(value)
