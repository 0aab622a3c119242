"""Lesson 12, Several agents: a vote, agents that go in circles, a router that asks back."""
from __future__ import annotations

from labkit.course.checking import exercise, expect


@exercise("12.1", title="A vote",
          hint="Compare answer.strip().casefold(). list.count() counts them; max() takes the first of equals.")
def check_vote(answer):
    expect(answer(["Paris", "Rome", "paris "]), "Paris", "two of three, in different spelling")
    expect(answer(["Rome", "Paris"]), "Rome", "a tie: the first")
    expect(answer(["a", "B", "b", "A", "b"]), "B", "three of five, as it was first written")
    expect(answer(["only one"]), "only one", "one answer")


@exercise("12.2", title="In circles",
          hint="Look at the last 2 × times speakers. They must be the first two of them, again and again.")
def check_in_circles(answer):
    expect(bool(answer(["a", "b", "a", "b"], 2)), True, "two who took turns twice")
    expect(bool(answer(["a", "b", "c", "b"], 2)), False, "three of them")
    expect(bool(answer(["x", "y", "a", "b", "a", "b"], 2)), True, "only the last ones count")
    expect(bool(answer(["a", "b", "a"], 2)), False, "not yet twice each")
    expect(bool(answer(["a", "a", "a", "a"], 2)), False, "one who speaks to himself is no pair")


@exercise("12.3", title="Ask back",
          hint="Sort the intents by probability. Compare the first one with `least`, and with the second one.")
def check_decide(answer):
    expect(answer({"support": 0.8, "retail": 0.2}, 0.5), "support", "sure enough")
    expect(answer({"support": 0.4, "retail": 0.25, "health": 0.35}, 0.5), "ask back", "the likeliest is below 0.5")
    expect(answer({"support": 0.52, "retail": 0.45, "health": 0.03}, 0.5), "ask back", "two are close")
    expect(answer({"support": 0.55, "retail": 0.25, "health": 0.2}, 0.5), "support", "far enough ahead")
    expect(answer({"support": 1.0}, 0.5), "support", "only one there is")
