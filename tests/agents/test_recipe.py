"""An agent as data: a recipe runs headless and answers as the agent did; nonsense in it is named by line and field."""
from __future__ import annotations

import subprocess
import sys
from typing import Literal

import pytest

import labkit as lk
from labkit import yaml_file
from labkit.agents import recipe
from labkit.agents.recipe import Limits, Model, Policy, Recipe
from labkit.agents.routing import Router
from labkit.errors import BackendUnavailable, BadRequest

ELSEWHERE = {"A-1042": "shipped"}


@lk.tool
def order_status(order_id: str) -> str:
    """Status of an order. Args: order_id: like A-1042."""
    orders = {"A-1042": "shipped on Monday"}
    return f"Order {order_id}: {orders.get(order_id, 'unknown')}."


def opening_hours(day: Literal["weekday", "weekend"]) -> str:
    """When the shop is open. Args: day: the kind of day."""
    import datetime
    return f"{day}: {datetime.time(9)} to {datetime.time(17)}"


def leaning(order_id: str) -> str:
    """Looks into something outside of itself."""
    return ELSEWHERE[order_id]


DESK = Recipe(name="order desk", instructions="You help customers.\nBe brief.", tools=["order_status"],
              limits=Limits(max_tokens=60))


def test_what_was_written_runs_headless_with_the_same_result(slm, tmp_path):
    made, code = recipe.write(DESK, [order_status, opening_hours], tmp_path)
    assert (made.name, code.name) == ("order_desk.yaml", "order_desk.py")
    here = recipe.build(DESK, {"order_status": order_status}, slm).run("Where is my order A-1042?")
    there = recipe.load(made).run("Where is my order A-1042?")
    assert here.calls == there.calls and here.text == there.text and here.calls[0].name == "order_status"
    alone = subprocess.run([sys.executable, code, "Where is my order A-1042?"], capture_output=True, text=True,
                           encoding="utf-8", timeout=120, cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    assert here.text in alone.stdout and "order_status(order_id='A-1042')" in alone.stdout


def test_a_recipe_survives_its_own_yaml(tmp_path):
    full = Recipe(
        name="full", instructions="Say „Grüß Gott“.", small=Model(settings={"context_length": 2048}),
        policy=Policy(kind="confidence", at_least=0.7, large=Model(backend="openai", model="m")),
        tools=["order_status", "opening_hours"], limits=Limits(max_steps=3, max_tokens=50, retries=0))
    made, code = recipe.write(full, [order_status, opening_hours], tmp_path)
    again = yaml_file.read(made, Recipe)
    assert again == full.model_copy(update={"code": "full.py"})
    functions = recipe._functions(code)
    assert set(functions) == {"order_status", "opening_hours"}
    assert lk.tool(functions["opening_hours"]).run({"day": "weekend"}) == "weekend: 09:00:00 to 17:00:00"


def test_a_policy_makes_a_router(slm, scripted_slm, monkeypatch):
    monkeypatch.setattr(recipe, "connect", lambda *_, **__: scripted_slm)
    for kind in ("large", "confidence"):
        agent = recipe.build(Recipe(policy=Policy(kind=kind, large=Model())), {}, slm)
        assert isinstance(agent.slm, Router) and agent.slm.large.remote
    assert recipe.build(Recipe(), {}, slm).slm is slm


@pytest.mark.parametrize(("text", "words"), [
    ("name: desk\nlimits:\n  max_steps: 0\n", "line 3, limits.max_steps: Input should be greater"),
    ("name: desk\n\ntols: [a]\n", "line 3, tols: Extra inputs"),
    ("name: desk\npolicy:\n  kind: maybe\n  at_least: 2\n", "line 3, policy.kind: .*\n.*line 4, policy.at_least"),
    ("tools:\n- a\n- 5\n", "line 3, tools.1"),
    ("name: [1\n", "line 2: this is no YAML"), ("name: 2024-99-99\n", "this is no YAML"),
    ("- a\n- b\n", "names and values"), ("", "names and values"),
    ("code: ../../evil.py\n", "line 1, code"), ("name: ''\n", "line 1, name"),
    ("tools: [nothing]\n", "there is no function 'nothing'"), ("code: gone.py\n", "gone.py cannot be read"),
    ("policy: {kind: large}\n", "policy.large: the policy 'large' needs"),
    ("name: &a [*a]\n", "name"),
])
def test_nonsense_is_named_by_line_and_field(tmp_path, text, words):
    (tmp_path / "desk.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(BadRequest, match=words):
        recipe.load(tmp_path / "desk.yaml")


def test_files_that_cannot_be_used(tmp_path):
    with pytest.raises(BadRequest, match="gone.yaml cannot be read"):
        recipe.load(tmp_path / "gone.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(BadRequest, match="bytes.yaml cannot be read"):
        recipe.load(tmp_path / "bytes.yaml")
    (tmp_path / "a.yaml").write_text("code: broken.py\n", encoding="utf-8")
    (tmp_path / "broken.py").write_text("def f(:\n", encoding="utf-8")
    with pytest.raises(BadRequest, match="broken.py fails: SyntaxError"):
        recipe.load(tmp_path / "a.yaml")
    (tmp_path / "b.yaml").write_text("small: {backend: nowhere}\n", encoding="utf-8")
    with pytest.raises(BackendUnavailable, match="nowhere"):
        recipe.load(tmp_path / "b.yaml")


@pytest.mark.parametrize(("tool", "words"), [
    (leaning, "uses 'ELSEWHERE' from around it"),
    (lk.Tool("remote", "No function here.", {"type": "object", "properties": {}}), "cannot be found"),
    (lk.tool(opening_hours, name="hours"), "give them one name"),
])
def test_a_tool_whose_code_does_not_stand_alone_is_refused(tmp_path, tool, words):
    name = lk.tool(tool).name
    with pytest.raises(BadRequest, match=words):
        recipe.write(Recipe(tools=[name]), [tool], tmp_path)
    assert not list(tmp_path.iterdir())
