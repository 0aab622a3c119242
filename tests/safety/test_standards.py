"""What the lists of standards say of the code is so: every file, name and test they give is there."""
from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from labkit.errors import BadRequest
from labkit.safety import standards

ROOT = Path(__file__).resolve().parents[2]
HELD = [(name, item.id, held) for name in standards.NAMES for item in standards.table(name).items
        for held in item.held]
IDS = {
    "owasp-llm": [f"LLM{number:02}:2025" for number in range(1, 11)],
    "owasp-agentic": [f"ASI{number:02}" for number in range(1, 11)],
    "nist-ai-rmf": [f"{function} {number}" for function, most in
                    (("GOVERN", 6), ("MAP", 5), ("MEASURE", 4), ("MANAGE", 4)) for number in range(1, most + 1)],
}


@cache
def names_in(path: Path) -> frozenset[str]:
    """Functions and classes of a Python file, methods as "Class.method"."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{inner.name}" for inner in node.body
                      if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)}
    return frozenset(found)


def lacking(place: str) -> str:
    """What of "file::name" is not there, or ""."""
    file, _, name = place.partition("::")
    if not (ROOT / file).is_file():
        return f"there is no file {file}"
    return f"{file} has no {name}" if name and name not in names_in(ROOT / file) else ""


@pytest.mark.parametrize("held", [held for *_, held in HELD], ids=[f"{name} {item}" for name, item, _ in HELD])
def test_what_is_said_to_hold_is_there(held):
    assert not lacking(held.code)
    assert not lacking(held.test)
    file, _, name = held.test.partition("::")
    assert file.startswith("tests/") and name.startswith("test_"), "evidence is a test, by its name"


@pytest.mark.parametrize("name", IDS)
def test_a_list_has_every_item_once_and_in_order(name):
    assert [item.id for item in standards.table(name).items] == IDS[name]


def test_a_name_that_is_gone_is_noticed():
    assert lacking("labkit/errors.py::BadRequest") == ""
    assert "no Nothing" in lacking("labkit/errors.py::Nothing")
    assert "no file" in lacking("labkit/nowhere.py::BadRequest")
    assert lacking("labkit/safety/standards.py::Standard._repr_markdown_") == ""


@pytest.mark.parametrize("name", standards.NAMES)
def test_a_list_shows_all_it_says_in_a_terminal_and_in_a_notebook(name):
    shown, rendered = str(standards.table(name)), standards.table(name)._repr_markdown_()
    for item in standards.table(name).items:
        assert f"{item.id}  {item.title}" in shown and f"**{item.id}** {item.title}" in rendered
        assert " ".join(item.open.split()) in " ".join(rendered.split())
    assert all(len(line) <= 200 for line in shown.splitlines())


def test_another_standard_is_refused_by_name():
    with pytest.raises(BadRequest, match="owasp-llm, owasp-agentic"):
        standards.table("owasp")
