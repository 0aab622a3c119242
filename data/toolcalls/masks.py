"""The names that a tool goes by: its own, in another style, or meaningless ones.

A model that has seen only speaking names guesses from them; with these it must read what a tool says of itself.
"""
from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from specs import ToolSpec


@dataclass(frozen=True)
class Mask:
    """Names that a tool goes by this time: its own, in another style, or meaningless ones."""

    name: str
    parameters: Mapping[str, str]
    silent: bool = False  # parameters without descriptions

    @classmethod
    def draw(cls, tool: ToolSpec, rng: random.Random) -> Mask:
        style = rng.random()
        name, names = tool.name, {key: key for key in tool.parameters}
        if style < 0.10:
            name = rng.choice(("func", "tool", "fn", "op", "api")) + rng.choice(("_", "")) + str(rng.randint(1, 99))
        elif style < 0.20:
            name = _camel(tool.name)
        elif style < 0.27:
            name = f"{tool.domain}.{tool.name.rpartition('.')[2]}"
        elif style < 0.32:
            name = _nonsense(rng)
        if name != tool.name and rng.random() < 0.3:
            names = {key: _camel(key) for key in names}
        elif rng.random() < 0.04:
            names = {key: f"arg{n}" for n, key in enumerate(names, 1)}
        return cls(name, names, silent=name == tool.name and names == {k: k for k in names} and rng.random() < 0.12)

    def function(self, tool: ToolSpec) -> dict[str, Any]:
        schema = tool.schema()
        properties = {self.parameters[key]: ({k: v for k, v in about.items() if k != "description"}
                                             if self.silent else about)
                      for key, about in schema["properties"].items()}
        required = [self.parameters[key] for key in schema["required"]]
        return {"name": self.name, "description": tool.description,
                "parameters": {**schema, "properties": properties, "required": required}}

    def call(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {"name": self.name, "arguments": {self.parameters[key]: value for key, value in arguments.items()}}


def _camel(name: str) -> str:
    head, *rest = re.split(r"[_.]", name)
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def _nonsense(rng: random.Random) -> str:
    return "".join(rng.choice(("ka", "zo", "bri", "mu", "te", "flo", "xi", "ran", "do", "pel")) for _ in range(3))
