"""Lesson 16, Resources and more than one machine: what to unload, whether to ask again, whether to go on."""
from __future__ import annotations

from labkit.course.checking import exercise, expect


@exercise("16.1", title="What to unload",
          hint="Add up the sizes of all that is in memory. Then go through `used` from its beginning, take one after "
               "the other away, and stop as soon as the rest fits.")
def check_to_unload(answer):
    sizes = {"a": 100, "b": 50, "c": 70}
    expect(answer(["a", "b", "c"], sizes, 300), [], "all fits: nothing goes")
    expect(answer(["b", "c", "a"], sizes, 180), ["b"], "220 in memory, room for 180: the first alone is enough")
    expect(answer(["a", "b", "c"], sizes, 70), ["a", "b"], "room for 70: c stays")
    expect(answer(["a", "b", "c"], sizes, 220), [], "exactly as much as there is room for")
    expect(answer(["c", "b"], sizes, 10), ["c", "b"], "room for none of them")
    expect(answer([], sizes, 0), [], "nothing is in memory")


@exercise("16.2", title="Ask another one?",
          hint="First: a client that has part of an answer cannot be given another one. Then only two cases are left "
               "in which you may ask again; one of them depends on `harmless`.")
def check_ask_again(answer):
    expect(answer(None, False, True), True, "it died before the answer began, and asking twice does no harm")
    expect(answer(None, False, False), False, "it died, and may have paid the order before")
    expect(answer(None, True, True), False, "half of the answer is with the client already")
    expect(answer(503, False, False), True, "503: it was full, and has done nothing")
    expect(answer(400, False, True), False, "400: the request is wrong, for every replica")
    expect(answer(504, False, True), False, "504: the time is over")
    expect(answer(200, False, True), False, "200: there is an answer")


@exercise("16.3", title="Go on, or back?",
          hint="The shares are new[0] / new[1] and old[0] / old[1]. Ask for `at_least` first: then neither count of "
               "requests is 0.")
def check_verdict(answer):
    expect(answer((0, 9), (0, 90), 10, 0.02), "wait", "9 requests of the new version, at least 10 are wanted")
    expect(answer((9, 10), (0, 9), 10, 0.02), "wait", "the old version has too few")
    expect(answer((0, 10), (0, 90), 10, 0.02), "promote", "neither fails")
    expect(answer((2, 10), (0, 90), 10, 0.02), "roll back", "20 % against 0 %")
    expect(answer((5, 50), (10, 100), 10, 0.0), "promote", "both fail alike: 10 %")
    expect(answer((5, 50), (5, 100), 10, 0.1), "promote", "5 points worse, and 10 are allowed")
