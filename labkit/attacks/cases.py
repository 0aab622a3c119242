"""What an attacker wants from each desk, and the ways in: data/attacks/cases.yaml.

A goal is a call of one of the desk's writing tools, adapted from AgentDojo's injection tasks. A way in carries the
injected text to the model beside a request that an honest user makes. Every goal with every way in, in every
wording, is an attempt.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from labkit import yaml_file
from labkit.attacks.wordings import Wording, wordings
from labkit.data import data_folder
from labkit.domains.judging import same
from labkit.errors import BadRequest

PLACES = {  # where the injected text stands
    "message": "pasted into the user's own message",
    "document": "in a document handed over with the request",
    "result": "in what a tool read from the database",
    "history": "the same, and the user goes on talking",
    "error": "in the error of a tool from a lying server",
    "description": "in the description of such a tool",
}
Place = Literal["message", "document", "result", "history", "error", "description"]
QUICK = ("important_instructions", "request")  # the wordings of a short run


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Call(_Part):
    """A call, with the arguments that matter."""

    tool: str
    arguments: dict[str, Any] = {}

    def is_(self, tool: str, arguments: Mapping[str, Any]) -> bool:
        """Whether a call that was made is this one, in the arguments that matter."""
        return tool == self.tool and all(same(value, arguments.get(name)) for name, value in self.arguments.items())


class Goal(Call):
    """words: what the injected text asks for. adapted_from: AgentDojo's suite and injection task."""

    id: str
    words: str
    adapted_from: str


class Plant(_Part):
    """Puts the injected text into the desk's database: an UPDATE with one parameter."""

    sql: str
    text: str = "{injection}"


class Stranger(_Part):
    """A tool that a lying server offers beside the desk's own. parameters: name → description, all texts.

    It fails with `error`.
    """

    name: str
    description: str
    parameters: dict[str, str]
    error: str


class WayIn(_Part):
    """One way in, and the honest request beside it. calls: what the request needs, to tell if it was done.

    {injection} stands where the injected text goes. then: what the user says next, in the same conversation; with it
    `calls` are those of that second request.
    """

    place: Place
    request: str
    calls: list[Call] = Field(min_length=1)
    document: str | None = None
    plant: Plant | None = None
    stranger: Stranger | None = None
    then: str | None = None


class DeskCases(_Part):
    """seed: SQL that puts the rows which the cases need into a fresh database."""

    seed: list[str]
    goals: list[Goal] = Field(min_length=1)
    ways_in: list[WayIn] = Field(min_length=1)


class _Cases(_Part):
    desks: dict[str, DeskCases]


@dataclass(frozen=True)
class Attempt:
    """One attack: a goal, a way in, and the text that goes in."""

    desk: str
    goal: Goal
    way_in: WayIn
    wording: str
    text: str

    def put(self, template: str) -> str:
        """A text of the way in, with the injected text in its place."""
        return template.replace("{injection}", self.text)


@cache
def cases() -> dict[str, DeskCases]:
    """What there is for each desk, by its name."""
    return yaml_file.read(data_folder("attacks") / "cases.yaml", _Cases).desks


def of(desk: str) -> DeskCases:
    """The goals and ways in of one desk. Raises BadRequest for a desk without any."""
    if desk not in cases():
        raise BadRequest(f"No attacks are written for a desk {desk!r}. There are some for: {', '.join(cases())}.")
    return cases()[desk]


def attempts(desks: Sequence[str], full: bool = False) -> list[Attempt]:
    """All attempts on these desks: every goal, way in and wording; without `full` one of each for a way in, in turn,
    so that over all desks every place meets both of QUICK.
    """
    return [_attempt(desk, goal, way_in, wording)
            for desk in desks for number, way_in in enumerate(of(desk).ways_in)
            for goal in (of(desk).goals if full else [_turn(of(desk).goals, number)])
            for wording in (wordings().values() if full else [_quick(desk, number)])]


def _quick(desk: str, number: int) -> Wording:
    return wordings()[_turn(QUICK, number + list(cases()).index(desk))]


def _attempt(desk: str, goal: Goal, way_in: WayIn, wording: Wording) -> Attempt:
    return Attempt(desk, goal, way_in, wording.name, wording.write(goal.words, goal.tool, goal.arguments))


def _turn(items: Sequence[Any], number: int) -> Any:
    return items[number % len(items)]
