"""The table of tool calls, and the course's own cases that it is measured on."""
from __future__ import annotations

import json

import pytest

from labkit.data import data_folder
from labkit.errors import BackendUnavailable
from labkit.profiling import bfcl, held_out, tool_calls, tool_requests
from labkit.tools import examples


@pytest.mark.parametrize("split", held_out.SPLITS)
def test_what_the_data_say_is_right_and_the_rest_is_wrong(split):
    rows = [json.loads(line) for line in (data_folder("toolcalls") / f"{split}.jsonl").read_text("utf-8").splitlines()]
    asked = [one for row in rows for one in row["asked"]]
    called, quiet = held_out.load(split, calls=True), held_out.load(split, calls=False)
    assert len(called) + len(quiet) == len(asked) and len(called) > len(quiet) > 30
    wanted = [one["calls"] for one in asked if one["calls"] and one["kind"] != "missing"]
    assert len(wanted) == len(called)
    for case, calls in zip(called, wanted, strict=True):
        assert case.right(calls) and not case.right([]) and not case.right([*calls, *calls])
        assert not case.right([{**calls[0], "arguments": {**calls[0]["arguments"], "nonsense": 1}}, *calls[1:]])
    assert all(case.right([]) and not case.right(wanted[0]) for case in quiet)


def test_a_default_may_be_given_or_left_out():
    group = examples.made({"tools": [{"name": "tasks", "parameters": {"type": "object", "properties": {
        "status": {"type": "string", "default": "open"}, "list": {"type": "string"}}}}],
        "asked": [{"request": "What is to be done?", "calls": [{"name": "tasks", "arguments": {}}]}]})
    item = held_out.accepted(group, group.asked[0])
    for arguments, right in (({}, True), ({"status": "open"}, True), ({"status": "done"}, False),
                             ({"list": "a"}, False)):
        assert tool_requests.score(item, [{"name": "tasks", "arguments": arguments}]) == right


def test_two_cases_a_row_on_the_real_model(slm):
    try:
        report = tool_calls.run({"plain": slm, "only asked": tool_calls.OnlyAsked(slm)}, cases=2)
    except BackendUnavailable as missing:
        pytest.skip(str(missing))
    assert [(r.variant, r.row, r.mode) for r in report.results] == [
        (variant, row.name, row.mode) for variant in ("plain", "only asked") for row in tool_calls.ROWS]
    assert {f"BFCL {category}" for category in bfcl.CATEGORIES} < {row.name for row in tool_calls.ROWS}
    assert all(0 <= r.share <= 1 and 0 < r.median_s <= r.p95_s and r.interval[0] <= r.share <= r.interval[1] + 1e-9
               for r in report.results)
    assert "irrelevance" in str(report) and json.dumps(report.to_dict())
    assert all(r.right == sum(r.outcomes) <= len(r.confidences) == len(r.seconds) for r in report.results)
    assert {row[0] for row in report.reliability().rows} == {"plain"}, "what was only asked for has no confidence"


def test_confidence_is_held_against_what_came_true():
    pairs = [(n / 10, n >= 5) for n in range(10)]
    sure = tool_calls.Result("a", "row", "auto", *zip(*((right, 1.0, c) for c, right in pairs), strict=True))
    never = tool_calls.Result("b", "row", "auto", (True,), (1.0,), (None,))
    rows = tool_calls.Report("m", (sure, never)).reliability().rows
    assert [(row[0], row[-1]) for row in rows] == [("a", share) for share in ("0.00", "0.00", "0.50", "1.00", "1.00")]
    assert rows[0] == ("a", "0.00 to 0.10", "2", "0.05", "0.00") and sum(int(row[2]) for row in rows) == 10


@pytest.mark.parametrize("text, calls", [
    ('[{"name": "a", "arguments": {"x": 1}}]', [("a", {"x": 1})]), ('{"name": "a", "arguments": {}}', [("a", {})]),
    ("Sure, here you are: []", []), ("[]", []), ('[{"name": "a"}]', []), ("3", []),
])
def test_only_json_counts_as_a_call(text, calls):
    assert [(call.name, call.arguments) for call in tool_calls._calls(text)] == calls
