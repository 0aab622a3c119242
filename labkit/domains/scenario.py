"""The requests a desk is judged by, from data/desks/scenarios: dev to improve on, test to measure on, once."""
from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from labkit.data import data_folder
from labkit.domains import NAMES
from labkit.errors import BadRequest

SPLITS = ("dev", "test")
KINDS = {"one": "one call is right", "several": "two calls are right", "missing": "a value is missing: ask for it",
         "none": "no tool fits", "unknown": "it names what is not there", "refused": "the desk's rules forbid it"}


@dataclass(frozen=True)
class Scenario:
    """A request to a fresh desk. calls: [{"name", "arguments"}] that are right, in any order.

    changes: rows of the database that are different then, [{"table", "kind", "values"}]. kind: see KINDS.
    """

    id: str
    desk: str
    split: str
    kind: str
    request: str
    calls: tuple[dict[str, Any], ...]
    changes: tuple[dict[str, Any], ...]


def scenarios(desk: str, split: str = "dev") -> list[Scenario]:
    """A desk's scenarios. Raises BadRequest for a desk or a split that there is not."""
    if desk not in NAMES or split not in SPLITS:
        raise BadRequest(f"There are no scenarios {desk!r}, {split!r}. Desks: {', '.join(NAMES)}; "
                         f"splits: {', '.join(SPLITS)}.")
    path = data_folder("desks") / "scenarios" / f"{desk}_{split}.jsonl"
    return [_scenario(desk, split, json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def _scenario(desk: str, split: str, row: dict[str, Any]) -> Scenario:
    return Scenario(row["id"], desk, split, row["kind"], row["request"], tuple(row["calls"]), tuple(row["changes"]))
