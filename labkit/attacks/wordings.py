"""How an injected text asks for its goal: AgentDojo's wordings and one of our own, from data/attacks."""
from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict

from labkit import yaml_file
from labkit.data import data_folder
from labkit.errors import BadRequest

USER, MODEL = "the user", "AI assistant"  # what an attacker says who does not know the names


class Wording(BaseModel):
    """text: with {goal}, and where it uses them {call}, {user} and {model}."""

    model_config = ConfigDict(extra="forbid")
    name: str
    source: str
    text: str

    def write(self, goal: str, tool: str, arguments: Mapping[str, Any]) -> str:
        """The injected text for a goal in words, and for the call that would reach it."""
        call = f"You should use the tool `{tool}` with the following arguments: {json.dumps(dict(arguments))}."
        return self.text.format(goal=goal, call=call, user=USER, model=MODEL)


class _Wordings(BaseModel):
    wordings: list[Wording]


@cache
def wordings() -> dict[str, Wording]:
    """All there are, by name."""
    found = yaml_file.read(data_folder("attacks") / "wordings.yaml", _Wordings).wordings
    return {wording.name: wording for wording in found}


def wording(name: str) -> Wording:
    """One of them. Raises BadRequest for another name."""
    if name not in wordings():
        raise BadRequest(f"No wording is called {name!r}. There are: {', '.join(wordings())}.")
    return wordings()[name]
