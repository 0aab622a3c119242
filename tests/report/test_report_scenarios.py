"""Scenarios as a learner writes them: what is right is read, what is wrong is told with line and field."""
from __future__ import annotations

import pytest

from labkit.agents.run import Run, Step
from labkit.errors import BadRequest
from labkit.report import scenarios
from labkit.report.scenarios import judge, parse, tools_right
from labkit.tools.call import ToolCall
from labkit.tools.tool import as_tools


def stock(item: str, shop: str = "here") -> int:
    """How many are left."""


def reserve(item: str, count: int) -> str:
    """Put some aside."""


class Agent:
    tools = as_tools([stock, reserve])


GOOD = '{"request": "Two cups, please.", "calls": [{"name": "reserve", "arguments": {"item": "cup", "count": 2}}]}'


@pytest.mark.parametrize("line, told", [
    ("{", "this is no JSON"),
    ("[1]", "the whole: Input should be"),
    ('{"calls": []}', "request: Field required"),
    ('{"request": "", "calls": []}', "request: String should have at least 1 character"),
    ('{"request": "x"}', "calls: Field required"),
    ('{"request": "x", "calls": [], "chek": "y"}', "chek: Extra inputs"),
    ('{"request": "x", "calls": [{"name": "stok"}]}', "calls.0: there is no tool 'stok'. The agent has: stock, r"),
    ('{"request": "x", "calls": [{"name": "stock", "arguments": {"item": "a"}}, {"name": "reserve", "arguments": '
     '{"item": "cup", "count": "two"}}]}', "calls.1: reserve: count: 'two' is not of type 'integer'"),
    ('{"request": "x", "calls": [], "check": "looked"}', "check: there is no function 'looked'"),
])
def test_what_is_wrong_is_told_with_its_line(line, told):
    with pytest.raises(BadRequest) as error:
        parse(f"{GOOD}\n\n{line}\n", Agent.tools, {}, "cups.jsonl")
    assert str(error.value).startswith("cups.jsonl, line 3, ") and told in str(error.value)


def test_no_scenarios_and_no_file(tmp_path):
    with pytest.raises(BadRequest, match="no scenarios"):
        parse("\n \n", Agent.tools, {})
    with pytest.raises(BadRequest, match="Write .*cups.jsonl: a JSON object a line"):
        scenarios.read(tmp_path / "cups.jsonl")


def done(*calls: ToolCall, error: str | None = None) -> Run:
    return Run([], [Step("tool", 0.1, calls=(call,), error=error) for call in calls])


@pytest.mark.parametrize("calls, right", [
    ([ToolCall("reserve", {"item": "Cup.", "count": 2})], True),              # spelling does not count
    ([ToolCall("reserve", {"item": "cup", "count": 3})], False),
    ([ToolCall("reserve", {"item": "cup", "count": 2})] * 2, False),         # once too often
    ([ToolCall("erase", {"item": "cup"})], False),                           # a tool that is not there
    ([], False),
])
def test_right_calls_are_all_of_them_and_no_other(calls, right):
    (scenario,) = parse(GOOD, Agent.tools, {})
    assert tools_right(scenario.wanted, calls, Agent.tools) is right
    assert judge(scenario, done(*calls), Agent, {}).passed is right


def test_a_default_may_be_left_out():
    wanted = [{"name": "stock", "arguments": {"item": "cup"}}]
    assert tools_right(wanted, [ToolCall("stock", {"item": "cup", "shop": "here"})], Agent.tools)
    assert not tools_right(wanted, [ToolCall("stock", {"item": "cup", "shop": "there"})], Agent.tools)


def test_a_tool_that_fails_is_no_job_done_unless_a_check_says_so():
    (scenario,) = parse(GOOD, Agent.tools, {})
    run = done(ToolCall("reserve", {"item": "cup", "count": 2}), error="reserve: there are none")
    verdict = judge(scenario, run, Agent, {})
    assert not verdict.passed and verdict.why == "reserve: there are none"
    checked = scenario.model_copy(update={"check": "none_left"})
    assert judge(checked, run, Agent, {"none_left": lambda run, agent: True}).passed


@pytest.mark.parametrize("check, why", [
    (lambda run, agent: "the shelf is empty", "the shelf is empty"),
    (lambda run, agent: None, "returned None, not True"),
    (lambda run, agent: 1, "returned 1, not True"),
    (lambda run, agent: 1 / 0, "ZeroDivisionError: division by zero"),
])
def test_what_a_check_says_is_the_reason(check, why):
    checked = parse(GOOD, Agent.tools, {})[0].model_copy(update={"check": "look"})
    run = done(ToolCall("reserve", {"item": "cup", "count": 2}))
    verdict = judge(checked, run, Agent, {"look": check})
    assert not verdict.passed and why in verdict.why
