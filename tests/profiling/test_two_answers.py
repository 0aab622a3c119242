"""Two levels asked the same: where they part."""
from __future__ import annotations

import pytest

from labkit.profiling.two_answers import Answer, TwoAnswers, ask


def two(a: tuple[str, ...], b: tuple[str, ...]) -> TwoAnswers:
    return TwoAnswers("Where?", Answer("F16", a, 100.0), Answer("Q4_0", b, None))


@pytest.mark.parametrize("a, b, at", [
    (("In", " Rome"), ("In", " Rome"), None), (("In", " Rome"), ("In", " Oslo"), 1), (("In",), ("In", " Oslo"), 1),
    ((), ("In",), 0), ((), (), None), (("A", "B"), ("C", "B"), 0),
])
def test_the_first_token_that_differs(a, b, at):
    assert two(a, b).parts_at == at and two(b, a).parts_at == at


def test_it_is_marked_in_both():
    shown = str(two(("In", " Rome", "."), ("In", " Oslo", ".")))
    assert "In▶ Rome." in shown and "In▶ Oslo." in shown and "part at token 2" in shown
    assert "▶" not in str(two(("In",), ("In",))) and "the same" in str(two(("In",), ("In",)))


def test_two_real_levels():
    found = ask("What is the capital of France?", "F16", "Q4_0", max_tokens=12)
    assert "Paris" in found.one.text and found.parts_at is not None and found.one.tokens_per_s > 0
    assert found.to_dict()["parts_at"] == found.parts_at
    assert found.one.pieces[:found.parts_at] == found.other.pieces[:found.parts_at]
