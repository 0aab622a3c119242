"""The agent builder, without a browser: what the fields make, a run, an export, and what goes wrong."""
from __future__ import annotations

import pytest

import labkit as lk
from labkit.agents.recipe import Model, Recipe, load
from labkit.widgets import AgentBuilder


def order_status(order_id: str) -> str:
    """Status of an order. Args: order_id: like A-1042."""
    return f"Order {order_id} was shipped on Monday."


def fails(order_id: str) -> str:
    """Status of an order. Args: order_id: like A-1042."""
    raise RuntimeError("the database is away")


@pytest.fixture
def builder(slm):
    return AgentBuilder([order_status], slm=slm, instructions="You help customers.")


def test_the_fields_make_a_recipe(builder):
    builder.name.value, builder.max_tokens.value = "desk", 60
    assert builder.recipe == Recipe(name="desk", instructions="You help customers.", tools=["order_status"],
                                    limits={"max_tokens": 60})
    assert "name: desk" in builder.text() and "name: desk" in builder.html()
    builder.tools.value = ()
    assert builder.recipe.tools == []


def test_a_run_shows_its_trace_and_the_export_gives_the_same(builder, tmp_path):
    builder.max_tokens.value = 60
    run = builder.run("Where is my order A-1042?")
    assert run.calls[0].arguments == {"order_id": "A-1042"} and "lk-trace" in builder.html()
    made, _ = builder.export(tmp_path)
    assert load(made).run("Where is my order A-1042?").text == run.text


def test_clicks_work_in_the_background(builder, tmp_path):
    builder.request.value, builder.max_tokens.value = "Where is my order A-1042?", 60
    builder.run_button.click()
    builder.wait()
    assert "shipped" in builder.text() and not builder.run_button.disabled
    builder.folder.value = str(tmp_path / "new")
    builder.export_button.click()
    assert "my_agent.yaml" in builder.text() and (tmp_path / "new" / "my_agent.py").is_file()


def test_what_goes_wrong_is_said_and_leaves_it_usable(slm, tmp_path):
    builder = AgentBuilder([fails], slm=slm)
    builder.run_button.click()
    builder.wait()
    assert "Write a request first." in builder.html()
    builder.name.value = "???"
    builder.export_button.click()
    assert "name: String should match" in builder.html()
    with pytest.raises(lk.BadRequest, match="name"):
        builder.export(tmp_path)
    builder.name.value, builder.request.value, builder.retries.value = "desk", "Where is my order A-1042?", 0
    builder.run_button.click()
    builder.wait()
    assert "the database is away" in builder.html() and "lk-trace" in builder.html(), "the steps up to there"
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    builder.folder.value = str(tmp_path / "file")
    builder.export_button.click()
    assert "exists" in builder.text().lower()
    assert not builder.run_button.disabled


def test_a_policy_needs_a_large_model_to_be_offered(slm):
    assert AgentBuilder(slm=slm).policy.options == ("small",)
    both = AgentBuilder(slm=slm, large=Model(backend="openai", model="m"))
    both.policy.value = "confidence"
    assert both.recipe.policy.large.model == "m"
    both.policy.value = "small"
    assert both.recipe.policy.large is None
