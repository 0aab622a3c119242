"""Standards beside the code: what each of their items asks, what holds here and by which test, and what does not.

    from labkit.safety import standards
    standards.table("owasp-llm")

The lists are in data/standards, a YAML file each. A test looks every file, function and test up that they name, so
a line about what the code does cannot outlive the code. That an item is listed is no claim that it is fulfilled.
"""
from __future__ import annotations

import textwrap

from pydantic import BaseModel, ConfigDict, Field

from labkit import yaml_file
from labkit.data import data_folder
from labkit.errors import BadRequest

NAMES = ("owasp-llm", "owasp-agentic", "nist-ai-rmf", "iso-23053")
WIDTH = 100  # characters of a line in a terminal


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Held(_Part):
    """Something the code does. code and test: "path/from/the/root.py::name"; a class's method: "…::Class.name"."""

    what: str
    code: str
    test: str


class Item(_Part):
    """One item of a standard. about: what it is, in our words. open: what the code does not do about it."""

    id: str
    title: str
    about: str
    held: list[Held] = []
    open: str = Field(min_length=1)


class Standard(_Part):
    """A list of items that shows itself. source: where the list can be read."""

    name: str
    edition: str
    source: str
    note: str
    items: list[Item] = Field(min_length=1)

    def __str__(self) -> str:
        lines = [f"{self.name}, {self.edition} ({self.source})", textwrap.fill(self.note, WIDTH)]
        for item in self.items:
            lines += ["", f"{item.id}  {item.title}", _wrapped("", item.about)]
            lines += [_wrapped("+ ", f"{held.what} [{held.code}; {held.test}]") for held in item.held]
            lines.append(_wrapped("- ", item.open))
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        rows = [f"| **{item.id}** {item.title}<br><small>{item.about}</small> | {_held(item)} | {item.open} |"
                for item in self.items]
        head = ["| Item | What the code does, and the test that holds it | What it does not |", "|---|---|---|"]
        return "\n".join([f"**{self.name}**, {self.edition}. {self.source}", "", *head, *rows, "",
                          f"<small>{self.note}</small>"])


def table(name: str) -> Standard:
    """One of NAMES, to be shown or gone through. Raises BadRequest for another name."""
    if name not in NAMES:
        raise BadRequest(f"No standard is called {name!r}. There are: {', '.join(NAMES)}.")
    return yaml_file.read(data_folder("standards") / f"{name}.yaml", Standard)


def _held(item: Item) -> str:
    lines = [f"{held.what}<br><small>`{held.code}`, `{held.test}`</small>" for held in item.held]
    return "<br>".join(lines) or "nothing"


def _wrapped(mark: str, text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=f"  {mark}", subsequent_indent="  " + " " * len(mark),
                         break_long_words=False, break_on_hyphens=False)
