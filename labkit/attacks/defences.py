"""The defences that are compared: which layers of labkit.safety.guard are on."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from labkit.attacks.cases import Call
from labkit.safety.roles import Role

# (the agent's tools, those that are irreversible, what the user asked for) → options of guard()
Layers = Callable[[Sequence[Any], frozenset[str], Sequence[Call]], dict[str, Any]]


def clerk(tools: Sequence[Any], irreversible: frozenset[str]) -> Role:
    """The role for everyday work: every tool but those whose effect stays."""
    return Role("clerk", [tool.name for tool in tools if tool.name not in irreversible])


def attentive(asked_for: Sequence[Call]) -> Callable[[str, Mapping[str, Any], str], bool]:
    """A simulated person who reads every question and says yes only to what the user asked for.

    Real people are worse: who always says yes is no defence at all.
    """
    return lambda tool, arguments, why: any(call.is_(tool, arguments) for call in asked_for)


def _all(tools: Sequence[Any], irreversible: frozenset[str], asked_for: Sequence[Call]) -> dict[str, Any]:
    return {"role": clerk(tools, irreversible), "check_input": True, "taint": "ask", "approve": attentive(asked_for),
            "redact": True}


DEFENCES: dict[str, Layers] = {
    "none": lambda tools, irreversible, asked_for: {},
    "input filter": lambda tools, irreversible, asked_for: {"check_input": True},
    "taint, by values": lambda tools, irreversible, asked_for: {"taint": "block", "taint_by": "values"},
    "taint, by context": lambda tools, irreversible, asked_for: {"taint": "block"},
    "approval": lambda tools, irreversible, asked_for: {"approve": attentive(asked_for)},
    "output filter": lambda tools, irreversible, asked_for: {"redact": True},
    "roles": lambda tools, irreversible, asked_for: {"role": clerk(tools, irreversible)},
    "all": _all,
}
