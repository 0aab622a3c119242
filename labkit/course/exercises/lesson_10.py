"""Lesson 10, Small specialists: the size of an adapter, tools that leaked, a threshold for trust."""
from __future__ import annotations

from labkit.course.checking import exercise, expect


@exercise("10.1", title="The size of an adapter",
          hint="A has rank × inputs numbers, B has outputs × rank.")
def check_lora_share(answer):
    expect(answer(576, 1536, 8), 8 * (576 + 1536) / (576 * 1536), "576 × 1536, rank 8")
    expect(answer(100, 100, 50), 1.0, "100 × 100, rank 50: as large as the matrix")
    expect(answer(4, 2, 1), 0.75, "4 × 2, rank 1")


@exercise("10.2", title="Tools that leaked",
          hint="Make a set of names for each side first. & is what two sets have in common.")
def check_leaked(answer):
    def groups(*names):
        return [{"tools": [{"name": name} for name in part]} for part in names]
    expect(answer(groups("ab", "c"), groups("de")), [], "nothing in common")
    expect(answer(groups("ba", "c"), groups("ca", "b")), ["a", "b", "c"], "all of them, in another order")
    expect(answer(groups("a", "a"), groups("a", "a")), ["a"], "a tool that is there twice")
    expect(answer([], groups("a")), [], "no training at all")


@exercise("10.3", title="A threshold for trust",
          hint="Try every confidence that occurs, the lowest first, and count what is kept.")
def check_threshold(answer):
    outcomes = [(0.9, True), (0.8, True), (0.6, False), (0.5, True), (0.2, False)]
    expect(answer(outcomes, 1.0), 0.8, "only sure ones that are all right")
    expect(answer(outcomes, 0.75), 0.5, "three of four right at 0.5")
    expect(answer(outcomes, 0.1), 0.2, "easily pleased: everything")
    expect(answer([(0.9, False), (0.4, True)], 0.9), None, "the surest one is wrong")
    expect(answer([(0.5, True), (0.5, False)], 0.5), 0.5, "two of the same confidence stay together")
