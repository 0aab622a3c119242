"""Taint: text that strangers wrote cannot trigger a tool that changes something.

Trusted is what the operator and the user wrote: system and user messages. Tainted is the rest of what the model
reads: documents, tool results, and what a model wrote before. Two ways to look at a call of a writing tool:
- "context" (strict): any call made after tainted text came into the context;
- "values": a call with an argument that stands in tainted text and not in trusted text.

What it cannot see: an instruction that the user pastes as words of their own; a tool's description that lies;
with "values", an argument that the model rewrote, or a call whose arguments all stand in the user's own request. And it
stops calls, not words: a tainted text can still make the answer wrong.
"""
from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

TRUSTED = {"system", "developer", "user"}
SHORTEST = 2  # characters of a value that is looked for: a single letter or digit stands in any text


class Taint:
    """What one run's model has read, by where it came from. Compared without case and spaces."""

    def __init__(self, by: str = "context"):
        self.by, self._trusted, self._tainted = by, "", {}

    def read(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Take in a conversation: system and user messages are trusted, all others are not."""
        for message in messages:
            text = text_of(message)
            if message.get("role") in TRUSTED:
                self._trusted += f" {_plain(text)}"
            else:
                self.taint(text, f"an earlier message ({message.get('role')})")

    def taint(self, value: Any, source: str) -> None:
        """Note text, or a tool's result, that came from `source`."""
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        if text.strip():
            self._tainted[source] = f"{self._tainted.get(source, '')} {_plain(text)}"

    def why_not(self, arguments: Mapping[str, Any]) -> str:
        """Why a call of a writing tool with these arguments is tainted, or "" where it is not."""
        for name, value in arguments.items():
            for leaf in _leaves(value):
                if source := self._only_tainted(leaf):
                    return f"{name}={leaf!r} stands in {source}, and not in the request"
        if self.by == "context" and self._tainted:
            return f"it was called after the model had read {', '.join(self._tainted)}"
        return ""

    def _only_tainted(self, value: str) -> str:
        plain = _plain(value)
        if len(plain) < SHORTEST or _holds(self._trusted, plain):
            return ""
        return next((source for source, text in self._tainted.items() if _holds(text, plain)), "")


def text_of(message: Mapping[str, Any]) -> str:
    """The words of an OpenAI message, whose content is a text or a list of parts."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))


def _leaves(value: Any) -> Iterator[str]:
    """The texts and numbers in an argument. A yes or no is no text: it stands everywhere."""
    if isinstance(value, Mapping):
        value = [*value.keys(), *value.values()]
    if isinstance(value, (list, tuple, set)):
        for item in value:
            yield from _leaves(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def _plain(text: str) -> str:
    """For comparing: compatibility forms and case folded, what is invisible dropped, spaces made one."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    seen = "".join(c for c in folded if unicodedata.category(c) != "Cf")
    return " ".join(seen.split())


def _holds(text: str, value: str) -> bool:
    """Whether the value stands in the text as whole words: 12 does not stand in 2012."""
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text) is not None
