"""Roles: which tools there are for somebody, and for which records.

    clerk = Role("clerk", tools={"order_status", "refund"})
    customer = Role("customer", tools={"order_status"},
                    rules={"order_status": {"order_id": lambda value, user: value in orders_of(user.id)}})

A tool that a role does not have is not shown to the model at all. A rule is asked again at every call, because the
model, and whoever wrote what it read, can write any value.
"""
from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labkit.errors import BadRequest
from labkit.safety.refusal import Refused
from labkit.safety.user import User

Rule = Callable[[Any, User], bool]  # (argument, who asks) → may they


@dataclass(frozen=True)
class Role:
    """rules: for a tool, for an argument of it, which values are allowed to whom."""

    name: str
    tools: Collection[str]
    rules: Mapping[str, Mapping[str, Rule]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.tools, str):
            raise BadRequest(f"Role {self.name!r}: tools={self.tools!r} is one text. Give a set of names.")
        if unknown := set(self.rules) - set(self.tools):
            raise BadRequest(f"Role {self.name!r} has a rule for {sorted(unknown)[0]!r}, but not that tool.")

    def allowed(self, tools: Sequence[Any]) -> list[Any]:
        """Those of the tools that this role has. Raises BadRequest for a rule about an argument that a tool lacks."""
        mine = [tool for tool in tools if tool.name in self.tools]
        for tool in mine:
            wrong = set(self.rules.get(tool.name, ())) - set(tool.parameters.get("properties", ()))
            if wrong:
                raise BadRequest(f"Role {self.name!r}: {tool.name} has no argument {sorted(wrong)[0]!r}.")
        return mine

    def check(self, tool: str, arguments: Mapping[str, Any], user: User) -> None:
        """Raise Refused unless every rule allows its argument. A rule that fails is a no."""
        if tool not in self.tools:
            raise Refused("role", f"{tool} is not for the role {self.name!r}.", tool)
        for name, rule in self.rules.get(tool, {}).items():
            if name in arguments and rule(arguments[name], user) is not True:
                raise Refused("role", f"{tool}: {name}={arguments[name]!r} is not yours to use.", tool)


def own(value: Any, user: User) -> bool:
    """The rule for an argument that must be the user's own id."""
    return value == user.id


def among(*values: Any) -> Rule:
    """The rule for an argument that must be one of a few values."""
    return lambda value, user: value in values
