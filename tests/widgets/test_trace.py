"""The trace of an agent's run: of a real one, and of steps that a real one seldom takes."""
from __future__ import annotations

import re

import pytest

import labkit as lk
from labkit.agents.run import Run, Step
from labkit.widgets import TraceView


@lk.tool
def order_status(order_id: str) -> dict:
    """Status of an order.

    Args:
        order_id: like A-1042.
    """
    return {"order_id": order_id, "status": "shipped <today>"}


@pytest.fixture(scope="module")
def run(slm):
    return lk.Agent(slm, tools=[order_status], max_steps=3, max_tokens=60).run("Where is order A-1042?")


def made(*steps, text="Done."):
    return Run([], list(steps), text, "stop")


CALL = lk.ToolCall("order_status", {"order_id": "A-1"})
MODEL = Step("model", 0.3, lk.Usage(180, 18, 120), calls=(CALL,))
TOOL = Step("tool", 0.1, calls=(CALL,), result={"status": "late"})
ANSWER = Step("model", 0.6, lk.Usage(230, 22), text="It is late.")


def test_a_real_run_has_a_line_and_a_bar_per_step(run):
    view = TraceView(run)
    assert len(re.findall(r"^ +\d+ (model|tool) .*\|.+\|", view.text(), re.M)) == len(run.steps)
    assert view.html().count("<details>") == view.html().count('class="lk-track"') == len(run.steps)
    assert f"{run.usage.prompt_tokens} + {run.usage.completion_tokens} tokens" in view.text()


def test_the_bars_follow_each_other_in_time():
    lines = TraceView(made(MODEL, TOOL, ANSWER)).text().splitlines()[1:4]
    assert [line[line.index("|") + 1:line.rindex("|")] for line in lines] == [
        "███████                 ", "       ▒▒               ", "          ██████████████"]
    styles = re.findall(r"margin-left:([\d.]+)%;width:([\d.]+)%", TraceView(made(MODEL, TOOL, ANSWER)).html())
    assert styles == [("0.00", "30.00"), ("30.00", "10.00"), ("40.00", "60.00")]


def test_it_says_what_each_step_did_and_cost():
    text = TraceView(made(MODEL, TOOL, ANSWER)).text()
    assert "asks for order_status(order_id='A-1')" in text and 'returns {"status": "late"}' in text
    assert "answers: It is late." in text and text.endswith("Answer: Done.")
    assert "3 steps (2 model, 1 tool) · 1.00 s · 410 + 40 tokens" in text
    assert "120 of them still in the KV cache" in TraceView(made(MODEL)).html()


def test_a_failed_tool_is_marked_by_a_word_too():
    html = TraceView(made(MODEL, Step("tool", 0.1, calls=(CALL,), error="no such order"))).html()
    assert "error: no such order" in html and "lk-bad" in html


def test_markup_in_a_result_is_shown_and_not_run():
    nasty = Step("tool", 0.1, calls=(CALL,), result="<script>alert(1)</script>")
    html = TraceView(made(nasty, text="<img src=x>")).html()
    assert "&lt;script&gt;" in html and "<script" not in html and "<img" not in html


def test_a_long_result_is_cut_and_says_by_how_much():
    html = TraceView(made(Step("tool", 0.1, calls=(CALL,), result="x" * 10_000))).html()
    assert "more characters" in html and len(html) < 12_000


@pytest.mark.parametrize("steps", [(), (Step("tool", 0.0, calls=(CALL,), result=object()),)])
def test_a_run_without_time_or_steps_still_shows(steps):
    view = TraceView(made(*steps, text=""))
    assert "(no answer: stop)" in view.text() and "lk-trace" in view.html()


def test_it_shows_in_a_notebook_a_terminal_and_inside_other_widgets(run):
    view = TraceView(run)
    assert view._repr_html_() == view.html() and repr(view) == view.text()
    assert view.widget().value == view.html()
