"""The scenarios: enough of them, apart, and right by the tools themselves; the judge believes the database alone."""
from __future__ import annotations

import json
import runpy
from collections import Counter

import pytest

from labkit import domains
from labkit.agents.run import Run, Step
from labkit.data import data_folder
from labkit.domains.scenario import KINDS, SPLITS
from labkit.errors import BadRequest, ToolError
from labkit.tools.call import ToolCall


def carried_out(desk, scenario, calls=None):
    """A run that made the scenario's calls, or others."""
    run = Run([])
    for call in scenario.calls if calls is None else calls:
        made = ToolCall(call["name"], call["arguments"])
        try:
            next(tool for tool in desk.tools if tool.name == call["name"]).run(call["arguments"])
        except ToolError:
            pass
        run.steps.append(Step("tool", 0.0, calls=(made,)))
    return run


def verdict(scenario, calls=None, meddle=lambda desk: None):
    with domains.open_desk(scenario.desk) as desk:
        before = desk.database.snapshot()
        run = carried_out(desk, scenario, calls)
        meddle(desk)
        return domains.judge(desk, before, run, scenario)


@pytest.mark.parametrize("name", domains.NAMES)
def test_there_are_enough_of_every_kind_and_the_splits_are_apart(name):
    asked = {split: domains.scenarios(name, split) for split in SPLITS}
    for found in asked.values():
        assert len(found) >= 30 and set(Counter(each.kind for each in found)) == set(KINDS)
        assert {call["name"] for each in found for call in each.calls} == {
            tool.name for tool in domains.open_desk(name).tools}
    requests = [each.request.casefold() for found in asked.values() for each in found]
    assert len(set(requests)) == len(requests)


def test_no_wording_is_one_that_the_adapter_was_trained_on():
    import yaml
    trained = {text for file in (data_folder("toolcalls") / "tools").glob("desk_*.yaml")
               for text in _texts(yaml.safe_load(file.read_text(encoding="utf-8")))}
    for file in (data_folder("desks") / "wordings").glob("*.yaml"):
        ours = set(_texts(yaml.safe_load(file.read_text(encoding="utf-8"))["requests"]))
        assert not ours & trained, f"{file.name}: {ours & trained}"


def _texts(value):
    """Every sentence of a file, with its slots all alike."""
    import re
    if isinstance(value, str):
        plain = re.sub(r"\W+", " ", re.sub(r"\{[^}]*\}", "X", value)).strip().casefold()
        if len(plain.split()) > 3:
            yield plain
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from () if key == "pick" else _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


@pytest.mark.parametrize("name", domains.NAMES)
def test_who_makes_the_right_calls_passes(name):
    for split in SPLITS:
        for scenario in domains.scenarios(name, split)[::6]:
            assert verdict(scenario), scenario


@pytest.mark.parametrize("name", ["support", "clinic"])
def test_who_does_nothing_passes_only_where_nothing_is_right(name):
    for scenario in domains.scenarios(name, "dev")[::5]:
        assert bool(verdict(scenario, calls=[])) == (scenario.kind in ("missing", "none"))


def scenario_of(name, tool):
    return next(each for each in domains.scenarios(name, "dev") if each.kind == "one" and each.calls[0]["name"] == tool)


def test_the_judge_looks_at_arguments_and_rows():
    ticket = scenario_of("support", "create_ticket")
    (call,) = ticket.calls

    def with_(**arguments):
        return [{**call, "arguments": {**call["arguments"], **arguments}}]
    assert verdict(ticket, with_(subject=call["arguments"]["subject"].upper() + "."))
    assert verdict(ticket, with_(priority=call["arguments"].get("priority", "normal")))
    assert not verdict(ticket, with_(subject="something else"))
    assert not verdict(ticket, with_(priority="high"))
    assert not verdict(ticket, [call, call])
    told = verdict(ticket, meddle=lambda desk: desk.escalate_to_human("unasked"))
    assert not told and "handovers added" in told.why
    assert not verdict(ticket, meddle=lambda desk: _forget(desk))


def _forget(desk):
    with desk.database.transaction() as now:
        now.query("DELETE FROM tickets WHERE status = 'open'")


def test_unknown_desks_and_splits_are_told():
    for name, split in (("bakery", "dev"), ("support", "all")):
        with pytest.raises(BadRequest, match="Desks: support"):
            domains.scenarios(name, split)


def test_the_scenarios_are_as_their_script_makes_them():
    made = runpy.run_path(str(data_folder("desks") / "scenarios.py"))["made"]
    kept = [json.loads(line) for line in (data_folder("desks") / "scenarios" / "finance_test.jsonl").read_text(
        encoding="utf-8").splitlines()]
    assert [{key: value for key, value in row.items() if key != "id"} for row in kept] == list(made("finance", "test"))
