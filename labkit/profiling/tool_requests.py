"""A small labelled set of tool requests: load it, score calls against it, offer more tools.

Knows no runtime and no model. What the data are and how they were made: data/tool_requests/README.md.
"""
from __future__ import annotations

import json
import math
import random
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

from labkit.data import data_folder
from labkit.errors import BadRequest

SPLITS = ("dev", "test")


@dataclass(frozen=True)
class Item:
    """One request, the tools offered with it, and the calls that are right.

    kind: "one" call, "two" calls, or none: "off_topic" or "near_miss".
    tools: OpenAI tool dicts.
    expected: [{"name": str, "arguments": {parameter: [accepted values]}}]; None among the
        accepted values means that the parameter may be left out. Empty: calling is wrong.
    avoid: tools of the split that would fit the request but are held back on purpose.
    """

    id: str
    split: str
    kind: str
    request: str
    tools: list[dict[str, Any]]
    expected: list[dict[str, Any]]
    avoid: tuple[str, ...] = ()


def load(split: str = "dev") -> list[Item]:
    """The items of "dev" (to choose wording and thresholds) or "test" (to measure, once chosen).

    Raises BadRequest for another split, LabkitError where the data folder cannot be found.
    """
    tools = load_tools(split)
    lines = (data_folder("tool_requests") / f"requests_{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [_item(json.loads(line), split, tools) for line in lines if line]


def load_tools(split: str = "dev") -> dict[str, dict[str, Any]]:
    """Every tool of a split as an OpenAI tool dict, by name."""
    if split not in SPLITS:
        raise BadRequest(f"There is no split {split!r}. Use one of {', '.join(SPLITS)}.")
    tools = json.loads((data_folder("tool_requests") / f"tools_{split}.json").read_text(encoding="utf-8"))
    return {tool["function"]["name"]: tool for tool in tools}


def score(item: Item, calls: Iterable[Any]) -> bool:
    """Are these the expected calls, all of them and no other, in any order?

    calls: `ToolCall`s (`reply.tool_calls`) or dicts {"name", "arguments": dict}.
    A name must be equal. An argument must equal one of its accepted values, and one that may be left
    out may also be null; an argument the tool does not have is wrong. Strings: letter case, spaces and
    punctuation do not count ("A-1042" is "a 1042"). Numbers: by value (5 is 5.0), never as text.
    Lists: same length and order. Objects: same keys.
    """
    given = [_name_and_arguments(call) for call in calls]
    if len(given) != len(item.expected):
        return False
    return any(all(map(_fits, item.expected, order)) for order in permutations(given))


def with_distractors(item: Item, n: int, seed: int = 0) -> Item:
    """The item with exactly n tools: those it calls, and others of its split that do not fit it.

    For one seed a longer offer holds every tool of a shorter one, in the same order, so that
    accuracies at n and n + 1 differ by one more tool and nothing else.
    Raises BadRequest when n is below the tools it calls or above those the split can offer.
    """
    pool = load_tools(item.split)
    needed = {call["name"] for call in item.expected}
    others = [name for name in pool if name not in needed and name not in item.avoid]
    low, high = max(1, len(needed)), len(needed) + len(others)
    if not low <= n <= high:
        raise BadRequest(f"{item.id} can be offered with {low} to {high} tools, not {n}.")
    rng = random.Random(f"{seed} {item.id}")
    rng.shuffle(others)
    chosen = needed.union(others[:n - len(needed)])
    places = rng.sample(list(pool), len(pool))
    return replace(item, tools=[pool[name] for name in places if name in chosen])


def _item(row: dict[str, Any], split: str, tools: dict[str, dict[str, Any]]) -> Item:
    return Item(row["id"], split, row["kind"], row["request"], [tools[name] for name in row["tools"]],
                row["calls"], tuple(row.get("avoid", ())))


def _name_and_arguments(call: Any) -> tuple[Any, Any]:
    if isinstance(call, dict):
        return call.get("name"), call.get("arguments", {})
    return call.name, call.arguments


def _fits(want: dict[str, Any], got: tuple[Any, Any]) -> bool:
    name, arguments = got
    if name != want["name"] or not isinstance(arguments, dict) or arguments.keys() - want["arguments"]:
        return False
    return all(any(_same(arguments.get(key), value) for value in accepted)
               for key, accepted in want["arguments"].items())


def _same(got: Any, want: Any) -> bool:
    if isinstance(want, str):
        return isinstance(got, str) and _plain(got) == _plain(want)
    if isinstance(want, list):
        return isinstance(got, list) and len(got) == len(want) and all(map(_same, got, want))
    if isinstance(want, dict):
        return isinstance(got, dict) and got.keys() == want.keys() and all(
            _same(got[key], want[key]) for key in want)
    if want is None or isinstance(want, bool) or isinstance(got, bool):  # True is no 1 here
        return got is want
    return isinstance(got, int | float) and math.isclose(got, want, rel_tol=1e-9)


def _plain(text: str) -> str:
    """Case-folded, without punctuation (P), spaces (Z) and control characters (C) of Unicode."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(char for char in folded if unicodedata.category(char)[0] not in "PZC")
