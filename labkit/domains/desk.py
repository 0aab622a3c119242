"""What a desk is: a database, tools over it, and which of them change something or need a person's word.

A desk is a class; its tools are the methods marked with @reads, @writes or @irreversible, in their order.
"""
from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, TypeVar

from pydantic.json_schema import SkipJsonSchema

from labkit.domains.database import Database, Row
from labkit.errors import ToolError
from labkit.tools.tool import Tool, tool

Method = TypeVar("Method", bound=Callable)
Absent = SkipJsonSchema[None]  # `int | Absent = None`: an argument that may be left out, but is never null


def reads(method: Method) -> Method:
    """Mark a method as a tool that changes nothing."""
    method.acts = "reads"
    return method


def writes(method: Method) -> Method:
    """Mark a method as a tool that changes the database."""
    method.acts = "writes"
    return method


def irreversible(method: Method) -> Method:
    """Mark a method as a tool whose effect leaves the house or stays: a person should approve it."""
    method.acts = "irreversible"
    return method


class Desk:
    """Open one with labkit.domains.open_desk. user: who asks, as far as the desk tells its users apart."""

    name: ClassVar[str]
    title: ClassVar[str]
    instructions: ClassVar[str] = ""   # for the model, after the list of tools; the adapter needs none
    default_user: ClassVar[str] = "staff"
    ids: ClassVar[Mapping[str, str]] = {}    # parameters that take a number or an address: how it looks
    names: ClassVar[Mapping[str, str]] = {}  # parameters that take a name from the database: a query for all of them

    def __init__(self, database: Database, user: str | None = None, folder: TemporaryDirectory | None = None):
        self.database, self.user, self._folder = database, user or self.default_user, folder
        self.today: str = self.one("SELECT value FROM about WHERE name = 'today'", (), "It has no day.")["value"]
        methods = {label: method.acts for label, method in vars(type(self)).items() if hasattr(method, "acts")}
        self.tools: list[Tool] = [tool(getattr(self, label)) for label in methods]
        self.writes = frozenset(label for label, acts in methods.items() if acts != "reads")
        self.irreversible = frozenset(label for label, acts in methods.items() if acts == "irreversible")

    def agent(self, slm: Any, **options: Any) -> Any:
        """An agent for this desk's requests. options: as labkit.domains.agent.DeskAgent takes them."""
        from labkit.domains.agent import DeskAgent
        return DeskAgent(slm, self, instructions=self.instructions, **options)

    def numbers_in(self, text: str) -> dict[str, list[str]]:
        """The numbers and addresses in a text, by the parameters that take them."""
        found = {name: re.findall(pattern, text, re.IGNORECASE) for name, pattern in self.ids.items()}
        return {name: list(dict.fromkeys(values)) for name, values in found.items() if values}

    def names_in(self, text: str) -> dict[str, list[str]]:
        """The database's names that stand in a text, by the parameters that take them."""
        every = {name: [value for row in self.database.query(sql) for value in row.values()]
                 for name, sql in self.names.items()}
        found = {name: [value for value in values if re.search(rf"\b{re.escape(value)}\b", text, re.IGNORECASE)]
                 for name, values in every.items()}
        return {name: values for name, values in found.items() if values}

    def one(self, sql: str, values: Iterable[Any], otherwise: str) -> Row:
        """The row that a query finds. Raises ToolError(otherwise) when there is none."""
        rows = self.database.query(sql, *values)
        if not rows:
            raise ToolError(otherwise)
        return rows[0]

    def close(self) -> None:
        """Remove the database if it lies in a folder of the desk's own."""
        if self._folder:
            self._folder.cleanup()

    def __enter__(self) -> Desk:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{self.title} ({len(self.tools)} tools, {self.database.path})"


def known(name: str, names: Iterable[str], what: str) -> str:
    """The one of `names` that is meant, whatever its letters' case. Raises ToolError naming those that are near."""
    by_folded = {each.casefold(): each for each in names}
    found = by_folded.get(" ".join(name.casefold().split()))
    if found is None:
        near = difflib.get_close_matches(name.casefold(), by_folded, 3, 0.5) or list(by_folded)[:5]
        raise ToolError(f"There is no {what} {name[:60]!r}. Is it one of these? "
                        f"{', '.join(by_folded[each] for each in near)}")
    return found


