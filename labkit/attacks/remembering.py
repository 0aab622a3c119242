"""A model that is asked each question once.

Most defences act after the model, so what it is asked is the same with and without them. It answers with its
likeliest words (temperature 0), so the answer is too: kept, it need not be computed eight times. And once a tool has
answered, labkit's turn is words and never a call: of those a few are enough here.
"""
from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from labkit.agents.deciding import decided
from labkit.errors import LabkitError
from labkit.tools.messages import ERROR

WORDS = 16  # tokens


class Remembering:
    """Stands where a connected model stands, for agents. asked, computed: how many turns, and how many new ones."""

    def __init__(self, slm: Any):
        self._slm, self._kept = slm, {}
        self.asked = self.computed = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._slm, name)

    def chat(self, messages: Any, *, tools: Any = (), **options: Any) -> Any:
        """As the model's chat(). An error is kept too, and raised again."""
        if messages[-1]["role"] == "tool" and not messages[-1]["content"].startswith(ERROR):
            options["max_tokens"] = WORDS
        return self._reply("words", self._slm.chat, messages, tools, options)

    def stream(self, messages: Any, *, tools: Any = (), **options: Any) -> Decided:
        """As the model's stream(), for those who want its calls alone: broken off at the first word."""
        return Decided(self._reply("calls", partial(decided, self._slm), messages, tools, options))

    def _reply(self, wanted: str, ask: Callable, messages: Any, tools: Any, options: dict[str, Any]) -> Any:
        plain = [[m["role"], m.get("content"), [c["function"] for c in m.get("tool_calls") or ()]] for m in messages]
        key = json.dumps([wanted, plain, [tool.to_openai() for tool in tools], options], default=str)
        self.asked += 1
        if key not in self._kept:
            self.computed += 1
            try:
                self._kept[key] = ask(messages, tools=tools, **options)
            except LabkitError as error:
                self._kept[key] = error
        if isinstance(self._kept[key], LabkitError):
            raise self._kept[key]
        return self._kept[key]


@dataclass(frozen=True)
class Decided:
    """A stream that is over: nothing is left to come but its reply."""

    reply: Any

    def __enter__(self) -> Decided:
        return self

    def __exit__(self, *_: Any) -> None:
        """Nothing is open."""

    def __iter__(self) -> Iterator[str]:
        return iter(())
