"""Agent Framework workflows over labkit models: one after the other, at once, in turns, handed on; and their ends."""
from __future__ import annotations

import asyncio

import pytest
from agent_framework import Agent, tool
from agent_framework_orchestrations import ConcurrentBuilder, GroupChatBuilder, HandoffBuilder, SequentialBuilder

from labkit.errors import BackendUnavailable


@tool(approval_mode="never_require")
def order_status(order_id: str) -> str:
    """Status of an order."""
    return f"Order {order_id} was shipped on Monday."


def test_one_after_the_other_and_all_at_once(client):
    short = {"max_tokens": 12}
    agents = [Agent(client, f"You are {name}.", name=name, default_options=short) for name in ("a", "b", "c")]
    for builder, n in ((SequentialBuilder, 1), (ConcurrentBuilder, 3)):
        events = asyncio.run(builder(participants=agents).build().run("Say hello."))
        spoke = [e.executor_id for e in events if e.type == "executor_completed" and e.executor_id in "abc"]
        assert sorted(spoke) == ["a", "b", "c"] and events.get_outputs(), f"{builder.__name__} {n}"


def test_a_group_takes_turns_and_ends(client):
    agents = [Agent(client, name=name, default_options={"max_tokens": 8}) for name in ("first", "second")]

    def whose_turn(state) -> str:
        return ("first", "second")[state.current_round % 2]
    group = GroupChatBuilder(participants=agents, selection_func=whose_turn, max_rounds=3).build()
    events = asyncio.run(group.run("Name a colour."))
    spoke = [e.executor_id for e in events if e.type == "executor_completed"]
    assert [name for name in spoke if name in ("first", "second")][:1] == ["first"] and events.get_outputs()


def hand_off(client) -> tuple:
    """A reception and two specialists, one of whom has a tool."""
    keep = {"require_per_service_call_history_persistence": True}
    reception = Agent(client, "You send customers to the right colleague.", name="reception", **keep)
    orders = Agent(client, "You look up orders.", name="orders", description="Looks up where an order is.",
                   tools=[order_status], **keep)
    poems = Agent(client, "You write poems.", name="poems", description="Writes poems.", **keep)
    builder = HandoffBuilder(name="desk", participants=[reception, orders, poems]).with_start_agent(reception)
    return builder.add_handoff(reception, [orders, poems]).build(), reception


def test_a_hand_off_goes_to_the_specialist_who_has_the_tool(scripted):
    client, script = scripted
    for answer in ('"handoff_to_orders"', '{"name": "handoff_to_orders", "arguments": {}}',
                   '"order_status"', '{"name": "order_status", "arguments": {"order_id": "A-1042"}}',
                   "It was shipped on Monday."):
        script.enqueue(answer)
    events = asyncio.run(hand_off(client)[0].run("Where is my order A-1042?"))
    assert [(e.data.source, e.data.target) for e in events if e.type == "handoff_sent"] == [("reception", "orders")]
    said = [e.data for e in events if e.type == "output" and e.executor_id == "orders"]
    assert any("shipped on Monday" in str(part.text) for part in said) and not script.answers


def test_the_real_model_hands_off(client):
    events = asyncio.run(hand_off(client)[0].run("Look up where my order A-1042 is."))
    assert [e.data.target for e in events if e.type == "handoff_sent"] == ["orders"]


def test_agents_that_only_hand_on_are_ended_from_outside(scripted):
    client, script = scripted
    for target in ("two", "one") * 20:
        script.enqueue(f'{{"name": "handoff_to_{target}", "arguments": {{}}}}')
    one, two = (Agent(client, name=name, default_options={"tool_choice": "required"},
                      require_per_service_call_history_persistence=True) for name in ("one", "two"))
    asked = len(script.answers)
    circle = HandoffBuilder(name="circle", participants=[one, two]).with_start_agent(one)
    circle = circle.add_handoff(one, [two]).add_handoff(two, [one])
    circle = circle.with_termination_condition(lambda conversation: asked - len(script.answers) >= 6).build()
    events = asyncio.run(circle.run("Help me."))
    assert 6 <= asked - len(script.answers) <= 7
    assert [e.data.target for e in events if e.type == "handoff_sent"][:3] == ["two", "one", "two"]


def test_a_specialist_that_fails_is_reported_with_its_words(scripted):
    client, script = scripted
    script.enqueue("fine").enqueue(BackendUnavailable("The specialist's server went away."))
    team = [Agent(client, name=name) for name in ("first", "second")]
    with pytest.raises(Exception, match="specialist's server went away"):
        asyncio.run(SequentialBuilder(participants=team).build().run("Hello"))


def test_a_hand_off_to_nobody_is_refused_when_it_is_built(client):
    one, stranger = (Agent(client, name=name, require_per_service_call_history_persistence=True)
                     for name in ("one", "stranger"))
    with pytest.raises(ValueError, match="not in the participants"):
        HandoffBuilder(name="desk", participants=[one]).with_start_agent(one).add_handoff(one, [stranger]).build()
