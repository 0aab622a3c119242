"""The record of agents at work: turns, tools, errors, with and without streaming; and its picture."""
from __future__ import annotations

import asyncio
import json

import pytest
from agent_framework import Agent, tool
from agent_framework_orchestrations import SequentialBuilder

import labkit as lk
from labkit.agents.agent_framework import LabkitChatClient
from labkit.agents.recorder import Recorder
from labkit.widgets.agent_picture import picture, words


@tool(approval_mode="never_require")
def order_status(order_id: str) -> str:
    """Status of an order."""
    return f"Order {order_id} was shipped on Monday."


@pytest.fixture
def record() -> Recorder:
    return Recorder()


def agent(client, record, name, *tools):
    return Agent(client, name=name, tools=list(tools), middleware=record.middleware,
                 default_options={"max_tokens": 40})


def test_a_workflow_of_the_real_model(slm, record):
    client = LabkitChatClient(slm)
    team = [agent(client, record, "orders", order_status), agent(client, record, "echo")]
    asyncio.run(SequentialBuilder(participants=team).build().run("Where is my order A-1042?"))
    assert record.spoke == ["orders", "echo"]
    first, ran, second = record.turns
    assert (ran.agent, ran.tool, ran.said) == ("orders", "order_status", "Order A-1042 was shipped on Monday.")
    assert first.began_s <= ran.began_s < first.began_s + first.took_s <= second.began_s
    assert first.tokens > 20 and "shipped" in first.said and record.seconds > 0
    assert "2 turns" in str(record) and json.dumps(record.to_dict())
    record.clear()
    assert record.turns == [] and record.seconds == 0 and "0 turns" in str(record)


def test_a_streamed_answer_is_recorded_when_it_ends(slm, record):
    async def read():
        return [u async for u in agent(LabkitChatClient(slm), record, "one").run("Say hello.", stream=True)]
    asyncio.run(read())
    assert record.spoke == ["one"] and record.turns[0].said and record.turns[0].tokens > 1


def test_failures_are_in_it(script, record):
    script.enqueue(lk.BackendUnavailable("The server went away."))
    with pytest.raises(Exception, match="went away"):
        asyncio.run(agent(LabkitChatClient(lk.Chat(script)), record, "one").run("Hello"))
    assert "went away" in record.turns[0].error and "went away" in str(record)


def test_the_picture_has_lanes_and_words(record):
    for name, what in (("reception", ""), ("orders", ""), ("orders", "order_status")):
        record.end(record.begin(name, what))
    figure = picture(record)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["reception", "orders"]
    assert axes.get_xlabel() == "s since the beginning"
    assert "orders calls order_status from" in words(record) and "reception speaks from" in words(record)
