"""A desk's agent on the real model: what it does to the database, and how it ends when something is wrong."""
from __future__ import annotations

import dataclasses
import sqlite3
from contextlib import closing

import pytest

import labkit as lk
from labkit import domains
from labkit.domains.agent import Decider
from labkit.errors import ContextFull
from labkit.profiling import desks


@pytest.fixture(scope="module")
def support():
    with domains.open_desk("support") as desk:
        yield desk


@pytest.fixture(scope="module")
def order(support):
    return support.database.query("SELECT * FROM orders WHERE status = 'packed'")[0]


def test_the_answer_is_what_the_tool_says(slm, support, order):
    run = support.agent(slm).run(f"What is the status of order {order['id']}?")
    assert [call.name for call in run.calls] == ["order_status"] and run.finish_reason == "stop"
    assert run.text == f"Order {order['id']}, placed on {order['placed']}: packed."


def test_the_model_may_word_it(slm, support, order):
    run = support.agent(slm, own_words=True).run(f"What is the status of order {order['id']}?")
    assert [step.kind for step in run.steps] == ["model", "tool", "model"] and run.text


def test_a_refusal_is_told_and_changes_nothing(slm, support):
    before = support.database.snapshot()
    run = support.agent(slm).run("What is the status of order ORD-00001?")
    assert run.finish_reason == "tool_error" and run.text.startswith("There is no order ORD-00001.")
    assert not support.database.changes(before)


def test_no_tool_is_said_by_the_desk(slm, support):
    run = support.agent(slm).run("Who was the first person on the moon?")
    assert run.calls == [] and "look up customer" in run.text


def test_what_is_missing_is_asked_for(slm, support):
    before = support.database.snapshot()
    run = support.agent(slm).run("Please open a ticket for me.")
    assert run.calls == [] and run.text.endswith("?") and not support.database.changes(before)


@pytest.mark.parametrize("request_", [
    "¿Cuál es el estado del pedido?", "注文の状況を教えてください。", "<b>order</b> <script>x()</script>",
    "' OR 1=1; DROP TABLE orders; --", "   "])
def test_odd_requests_end_in_an_answer_and_lose_nothing(slm, support, request_):
    before = support.database.snapshot()
    assert support.agent(slm).run(request_).text
    assert not [change for change in support.database.changes(before) if change.table != "handovers"]


def test_a_request_beyond_the_context_is_refused_and_the_next_one_works(slm, support, order):
    agent = support.agent(slm)
    with pytest.raises(ContextFull, match="Shorten the prompt"):
        agent.run("Where is my order? " * 2700)  # 51 kB
    assert agent.run(f"What is the status of order {order['id']}?").calls


def test_a_locked_database_is_told_by_the_agent(slm, support, monkeypatch):
    monkeypatch.setattr("labkit.domains.database.BUSY_S", 0.1)
    customer = support.database.query("SELECT id FROM customers")[0]["id"]
    request = f'Open a ticket for {customer}, subject "torn box".'
    before = support.database.snapshot()
    with closing(sqlite3.connect(support.database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "Nothing was changed" in support.agent(slm).run(request).text
        other.execute("ROLLBACK")
    assert not support.database.changes(before)
    support.agent(slm).run(request)
    assert [change.table for change in support.database.changes(before)] == ["tickets"]


class Listening:
    """Stands in for a model, to see what it is offered; answers in words, always."""

    def __init__(self):
        self.offered = []

    def stream(self, messages, *, tools, **options):
        self.offered.append(({tool.name: tool.parameters["properties"] for tool in tools}, options))
        return lk.Stream(iter([lk.backends.base.Chunk("Hello"), lk.backends.base.Chunk(" you")]), lambda reply: reply)


def test_a_number_in_the_request_limits_what_it_can_be_about(support):
    model = Listening()
    said = [{"role": "user", "content": "Is ORD-48213 or ORD-11111 on its way?"}]
    Decider(model, support).chat(said, tools=support.tools)
    (first, _), (second, options) = model.offered
    assert set(first) == {"order_status", "schedule_callback", "escalate_to_human"}  # none that takes other numbers
    assert first["order_status"]["order_id"]["pattern"] == r"^(ORD\-48213|ORD\-11111)$"
    assert set(second) == {"order_status"} and options["tool_choice"] == "required"
    Decider(model, support).chat([{"role": "user", "content": "Hello"}], tools=support.tools)
    assert set(model.offered[-1][0]) == {tool.name for tool in support.tools}


def test_what_lacks_a_value_is_never_forced(support):
    model = Listening()
    Decider(model, support).chat([{"role": "user", "content": "C-4821 was here again."}], tools=support.tools)
    assert len(model.offered) == 1  # a ticket needs a subject: to demand a call would be to have one made up


def test_a_measurement_counts_what_was_done(slm):
    told = []
    report = desks.run(lambda *at: told.append(at), names=("kiosk",), count=3, slm=slm)
    assert len(report.outcomes) == 3 and told[-1][:2] == (3, 3)
    figures = report.to_dict()["desks"]["kiosk"]
    assert figures["of"] == 3 and figures["done"] == 3 - len(report.failed) and "kiosk" in str(report)


class Inventing:
    """Stands in for a model that takes the order number from the tool's description."""

    def stream(self, messages, *, tools, **options):
        call = lk.ToolCall("order_status", {"order_id": "ORD-48213"})
        return lk.Stream(iter([lk.backends.base.Chunk("", finish_reason="tool_calls")]),
                         lambda reply: dataclasses.replace(reply, tool_calls=[call, call], finish_reason="tool_calls"))


def test_a_number_that_nobody_named_is_asked_for(support):
    def asked(text):
        return Decider(Inventing(), support).chat([{"role": "user", "content": text}], tools=support.tools)
    reply = asked("Where is my order?")
    assert reply.tool_calls == [] and reply.text == "What is the order id?"
    assert len(asked("Where is ord-48213?").tool_calls) == 1  # the same call twice in one turn is one
