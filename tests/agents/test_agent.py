"""The agent loop: bounded, recorded, and honest about failing tools."""
from __future__ import annotations

import json
import threading

import pytest

import labkit as lk

ORDERS = {"A-1042": "shipped", "B-7": "cancelled"}


@lk.tool
def order_status(order_id: str) -> dict:
    """Status of an order. Args: order_id: like A-1042."""
    if order_id not in ORDERS:
        raise KeyError(f"there is no order {order_id}")
    return {"order_id": order_id, "status": ORDERS[order_id]}


def call(name: str = "order_status", **arguments) -> str:
    return json.dumps({"name": name, "arguments": arguments})


@pytest.fixture
def script(trusted_script):
    """These tests are about the loop, not about what a runtime is held to."""
    return trusted_script


@pytest.fixture
def agent(script, scripted_slm):
    """agent(*turns, **settings): each turn is a call (JSON) or words; a choice comes before a call."""
    def make(*turns, tools=(order_status,), **settings):
        for turn in turns:
            if turn.startswith(("{", "[")):
                first = json.loads(turn)
                script.enqueue(json.dumps((first[0] if isinstance(first, list) else first)["name"]))
            script.enqueue(turn)
        return lk.Agent(scripted_slm, tools=list(tools), **settings)
    return make


# -- the real model ------------------------------------------------------------------------


def test_the_real_model_looks_an_order_up_and_answers(slm):
    run = lk.Agent(slm, tools=[order_status], max_tokens=48).run("Where is my order A-1042?")
    assert [step.kind for step in run.steps] == ["model", "tool", "model"]
    assert run.calls[0].arguments == {"order_id": "A-1042"}
    assert run.steps[1].result == {"order_id": "A-1042", "status": "shipped"}
    assert run.text and run.finish_reason in ("stop", "length")
    assert run.usage == run.steps[0].usage + run.steps[2].usage and run.usage.completion_tokens > 0
    assert all(step.seconds > 0 for step in run.steps) and run.seconds == sum(s.seconds for s in run.steps)


def test_small_talk_needs_no_tool(slm):
    run = lk.Agent(slm, tools=[order_status], max_tokens=24).run("Hello! How are you?")
    assert [step.kind for step in run.steps] == ["model"] and run.calls == []


def test_an_unknown_id_goes_back_once_and_then_to_the_caller(slm):
    with pytest.raises(lk.ToolError, match="there is no order Z-9") as caught:
        lk.Agent(slm, tools=[order_status]).run("Where is my order Z-9?")
    run = caught.value.run
    assert [step.kind for step in run.steps] == ["model", "tool"] * 2
    assert run.finish_reason == "tool_error" and all(s.error for s in run.steps if s.kind == "tool")
    assert run.messages[2]["content"].startswith("Error: order_status: KeyError")
    assert "Paris" in slm.chat("What is the capital of France?").text


# -- a scripted one ------------------------------------------------------------------------


def test_the_result_is_shown_to_the_model(agent, script):
    run = agent(call(order_id="A-1042"), "It is shipped.", instructions="Be brief.").run("Where is A-1042?")
    assert run.text == "It is shipped." and run.finish_reason == "stop"
    shown = script.requests[-1].messages
    assert shown[0] == {"role": "system", "content": "Be brief."}
    assert '"status": "shipped"' in shown[-1]["content"] and "order_status" in shown[-2]["content"]


def test_a_failed_call_can_be_repaired(agent):
    run = agent(call(order_id="X"), call(order_id="B-7"), "Cancelled.").run("Where is B-7?")
    assert [step.error is None for step in run.steps if step.kind == "tool"] == [False, True]
    assert run.text == "Cancelled."


def test_a_success_in_between_gives_a_new_chance(agent):
    turns = [call(order_id="X"), call(order_id="B-7"), "Done."]
    assert agent(*turns, retries=1).run("x").text == "Done."


@pytest.mark.parametrize("retries, asked", [(0, 1), (1, 2), (2, 3)])
def test_retries_bound_the_repairs(agent, retries, asked):
    with pytest.raises(lk.ToolError) as caught:
        agent(*[call(order_id="X")] * 5, retries=retries).run("x")
    assert len(caught.value.run.calls) == asked


def test_the_loop_is_bounded(slm):
    class Calling:
        """A model that never stops calling."""

        def chat(self, messages, **_):
            return lk.Reply("", [lk.ToolCall("order_status", {"order_id": "A-1042"})])
    run = lk.Agent(Calling(), tools=[order_status], max_steps=3).run("x")
    assert run.finish_reason == "max_steps" and run.text == "" and len(run.calls) == 3
    with pytest.raises(lk.BadRequest, match="max_steps=0"):
        lk.Agent(slm, max_steps=0)


def test_parallel_calls_all_run_and_are_answered_by_their_ids(agent):
    both = f"[{call(order_id='A-1042')}, {call(order_id='B-7')}]"
    run = agent(both, "One shipped, one cancelled.", parallel_tool_calls=True).run("Both?")
    assert [step.result["status"] for step in run.steps if step.kind == "tool"] == ["shipped", "cancelled"]
    answers = [m for m in run.messages if m["role"] == "tool"]
    asked = next(m for m in run.messages if m.get("tool_calls"))["tool_calls"]
    assert [m["tool_call_id"] for m in answers] == [c["id"] for c in asked]


def test_a_run_continues_a_conversation(agent):
    history = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi."},
               {"role": "user", "content": "Where is B-7?"}]
    run = agent(call(order_id="B-7"), "Cancelled.").run(history)
    assert run.messages[:3] == history and len(history) == 3
    assert [m["role"] for m in run.messages[3:]] == ["assistant", "tool", "assistant"]


def loop() -> list:
    """A list that holds itself."""
    endless: list = []
    endless.append(endless)
    return endless


@pytest.mark.parametrize("result, shown", [
    ("x" * 1_000_000, "996000 more characters"), (object(), "<object object"), ({(1, 2): 3}, "(1, 2)"),
    (loop(), "[[...]]"), (None, "null"), ("lone \ud800", "lone \ufffd"), (b"bytes", "bytes"), ({"ü": 1}, "ü"),
])
def test_any_result_can_be_shown(agent, script, result, shown):
    def give():
        """Give it."""
        return result
    run = agent(call("give"), "Done.", tools=[give]).run("Give it")
    assert run.text == "Done." and run.steps[1].result is result
    assert shown in script.requests[-1].messages[-1]["content"]
    assert len(script.requests[-1].messages[-1]["content"]) < 5000


def test_a_tool_that_never_returns_does_not_stop_the_agent(agent):
    ever = threading.Event()
    wait = lk.tool(lambda: ever.wait(60), name="wait", time_limit_s=0.2)
    run = agent(call("wait"), '"none"', "It took too long.", tools=[wait]).run("Wait")
    ever.set()
    assert "no answer within 0.2 s" in run.steps[1].error and run.text == "It took too long."


def test_a_run_shows_its_steps(agent):
    run = agent(call(order_id="B-7"), "Cancelled.").run("Where is B-7?")
    assert [line.split()[1] for line in str(run).splitlines()[:-1]] == ["model", "tool", "model"]
    assert str(run).endswith("→ Cancelled.")
    assert "3 steps" in run._repr_markdown_() and "order_status(order_id='B-7')" in run._repr_markdown_()
