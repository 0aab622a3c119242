"""Lesson 03, Small or large: what a cascade saves, a policy, the gap that a router recovers."""
from __future__ import annotations

from types import SimpleNamespace

from labkit.course.checking import exercise, expect


@exercise("03.1", title="What a cascade saves",
          hint="What does one request cost on average with the cascade? Divide the large model's cost by it.")
def check_worth_it(answer):
    expect(answer(0.0, 1.0, 0.8), 5.0, "a small model that costs nothing, 80 % stay")
    expect(answer(0.01, 1.0, 0.9), 1 / 0.11, "a small model at a hundredth of the price, 90 % stay")
    expect(answer(0.1, 1.0, 0.0), 1 / 1.1, "nothing stays: dearer than the large model alone")
    expect(answer(0.1, 1.0, 1.0), 10.0, "everything stays")


@exercise("03.2", title="A policy for office hours",
          hint="office_hours() gives back a function of a case. Call hour() inside of it, not before.")
def check_office_hours(answer):
    def tier(hour, characters):
        found = answer(lambda: hour)(SimpleNamespace(text="x" * characters))
        return found if found is None else found.tier
    expect(tier(10, 300), "large", "a long request at 10 o'clock")
    expect(tier(17, 201), "large", "17:59 counts")
    expect(tier(18, 300), None, "a long request at 18 o'clock")
    expect(tier(8, 200), None, "200 characters are not more than 200")
    clock = iter((10, 20))
    policy = answer(lambda: next(clock))
    case = SimpleNamespace(text="x" * 300)
    expect([policy(case) is None, policy(case) is None], [False, True], "the clock is looked at for each request")


@exercise("03.3", title="The gap that a router recovers",
          hint="First the router's own share: take large[i] where i is in `sent`, else small[i].")
def check_pgr(answer):
    small, large = [True, False, False, True], [True, True, True, True]
    expect(answer(small, large, set()), 0.0, "nothing is sent")
    expect(answer(small, large, {0, 1, 2, 3}), 1.0, "everything is sent")
    expect(answer(small, large, {1}), 0.5, "one of the two that the large model gains")
    expect(answer(small, large, {0, 3}), 0.0, "two that gain nothing")
    expect(answer([True, False, False, False], [False, True, True, True], {1, 2, 3}), 1.5,
           "better than the large model alone, which is wrong where the small one is right")
