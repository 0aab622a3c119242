"""The course's own requests that no adapter was trained on: data/toolcalls/test.jsonl and desks.jsonl.

test: tools of domains that are not in the training material. desks: the tools of the course's own agents, with
wordings and values that are not in it. Right is what tool_requests.score says; where a required value is missing,
right is to call nothing, and so it is where no tool fits.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from labkit.data import data_folder
from labkit.intervals import thinned
from labkit.profiling import tool_requests
from labkit.profiling.tool_case import Case
from labkit.tools import examples
from labkit.tools.examples import Asked, Examples

SPLITS = {"test": "tools never seen", "desks": "the course's tools"}


def load(split: str, calls: bool, cases: int | None = None) -> list[Case]:
    """The requests of a split that need a call, or those that need none, evenly thinned to at most `cases`."""
    found = [_case(group, asked) for group in examples.read(data_folder("toolcalls") / f"{split}.jsonl")
             for asked in group.asked if bool(complete(asked)) == calls]
    return thinned(found, cases)


def by_list(split: str, lists: int, each: int) -> list[Case]:
    """The first `each` requests for each of `lists` lists of tools, evenly spread over the split.

    Requests with one list stand together: a model with a prefix cache reads the list once for all of them.
    """
    groups = thinned(list(examples.read(data_folder("toolcalls") / f"{split}.jsonl")), lists)
    return [_case(group, asked) for group in groups for asked in group.asked[:each]]


def answer_key(split: str) -> dict[str, Sequence[Mapping[str, Any]]]:
    """Every request of a split with the calls that are right to make."""
    return {asked.request: complete(asked) for group in examples.read(data_folder("toolcalls") / f"{split}.jsonl")
            for asked in group.asked}


def complete(asked: Asked) -> Sequence[Mapping[str, Any]]:
    """The calls that are right to make: none where one of them lacks a value."""
    lacking = any(value is None for call in asked.calls for value in call["arguments"].values())
    return () if lacking else asked.calls


def _case(group: Examples, asked: Asked) -> Case:
    system = [{"role": "system", "content": group.instructions}] if group.instructions else []
    item = accepted(group, asked)
    return Case((*system, {"role": "user", "content": asked.request}),
                tuple(tool.to_openai() for tool in group.tools), True, partial(tool_requests.score, item))


def accepted(group: Examples, asked: Asked) -> tool_requests.Item:
    """The request as an item to score: an optional value that was not given may be left out, or be its default."""
    schemas = {tool.name: tool.parameters.get("properties", {}) for tool in group.tools}
    expected = [{"name": call["name"], "arguments": {
        name: [call["arguments"][name]] if name in call["arguments"] else [None, about.get("default")]
        for name, about in schemas[call["name"]].items()}} for call in complete(asked)]
    return tool_requests.Item("", "", "", asked.request, [], expected)
