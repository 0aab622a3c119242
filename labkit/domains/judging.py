"""Whether a run did what a scenario asks for: by the tools it called and by what is different in the database.

Not by its words. Texts are compared without letters' case, spaces and punctuation; numbers by value.
"""
from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from labkit.agents.run import Run
from labkit.domains.database import Change, Snapshot
from labkit.domains.desk import Desk
from labkit.domains.scenario import Scenario


@dataclass(frozen=True)
class Verdict:
    """why: what was right, or the first thing that was not. True when it passed."""

    passed: bool
    why: str

    def __bool__(self) -> bool:
        return self.passed


def judge(desk: Desk, before: Snapshot, run: Run, scenario: Scenario) -> Verdict:
    """before: the database's snapshot from before the run."""
    called = [{"name": call.name, "arguments": call.arguments} for call in run.calls]
    defaults = {tool.name: _defaults(tool.parameters) for tool in desk.tools}
    if not _paired(scenario.calls, called, lambda want, got: _same_call(want, got, defaults[want["name"]])):
        return Verdict(False, f"called {_listed(map(str, run.calls))}, right is {_listed(map(_call, scenario.calls))}")
    changes = list(desk.database.changes(before))
    if not _paired(scenario.changes, changes, _same_change):
        told = _listed(f"{change.table} {change.kind} {change.values}" for change in changes)
        return Verdict(False, f"the database changed otherwise: {told}; right is {_listed(map(str, scenario.changes))}")
    return Verdict(True, f"called {_listed(map(str, run.calls))}; rows changed: {len(changes)}")


def _paired(wanted: Sequence, got: Sequence, fit: Callable[[Any, Any], bool]) -> bool:
    """Whether each of one fits another one of the other, all of them, in any order."""
    return len(wanted) == len(got) and any(all(map(fit, wanted, order)) for order in permutations(got))


def _defaults(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: schema["default"] for name, schema in parameters["properties"].items() if "default" in schema}


def _same_call(want: Mapping[str, Any], got: Mapping[str, Any], defaults: Mapping[str, Any]) -> bool:
    if want["name"] != got["name"]:
        return False
    right, given = ({**defaults, **call["arguments"]} for call in (want, got))
    return right.keys() == given.keys() and all(same(right[name], given[name]) for name in right)


def _same_change(want: Mapping[str, Any], got: Change) -> bool:
    return (want["table"], want["kind"]) == (got.table, got.kind) and all(
        same(value, got.values.get(name)) for name, value in want["values"].items())


def same(want: Any, got: Any) -> bool:
    """Whether two values mean the same: "Missing parcel." is "missing parcel", 5 is 5.0; lists in any order."""
    if isinstance(want, str) and isinstance(got, str):
        return _plain(want) == _plain(got)
    if isinstance(want, list) and isinstance(got, list):
        return sorted(map(_plain, map(str, want))) == sorted(map(_plain, map(str, got)))
    if isinstance(want, int | float) and isinstance(got, int | float):
        return math.isclose(want, got, rel_tol=1e-9)
    return want == got


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(char for char in folded if unicodedata.category(char)[0] not in "PZC")


def _call(call: Mapping[str, Any]) -> str:
    return f"{call['name']}({', '.join(f'{name}={value!r}' for name, value in call['arguments'].items())})"


def _listed(items: Any) -> str:
    return "; ".join(items) or "nothing"
