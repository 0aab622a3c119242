"""Lesson 19, Capstone: the weakest kind, what a machine of one's own must save, how many cases a claim needs."""
from __future__ import annotations

from labkit.course.checking import exercise, expect


@exercise("19.1", title="The weakest kind",
          hint="Collect the outcomes of each kind in a list, in the order in which the kinds come. A share is "
               "sum(list) / len(list); min(…, key=…) takes the first among equals.")
def check_weakest(answer):
    expect(answer([("find", True), ("lend", True), ("lend", False), ("find", True)]), ("lend", 0.5),
           "find 2 of 2, lend 1 of 2")
    expect(answer([("a", False), ("b", True), ("c", False)]), ("a", 0.0), "a and c are equal: the first of them")
    expect(answer([("lend", True)] * 9 + [("missing", False)]), ("missing", 0.0), "nine good ones hide a bad one")
    expect(answer([("only", True)]), ("only", 1.0), "one kind alone")


@exercise("19.2", title="Has it paid for itself?",
          hint="Watts × seconds are joules, and 3.6 million joules are a kilowatt-hour. What one request saves is the "
               "cloud's price of one request less the electricity of one. Where that is 0 or less, it never pays.")
def check_break_even(answer):
    expect(answer(100, 3600, 100, 0.30, 130), 1000, "0.03 of electricity and 0.13 in the cloud: 0.10 saved a request")
    expect(answer(300, 1, 0, 0.30, 1), 300_000, "no electricity at all")
    expect(answer(300, 60, 200, 0.30, 0.5), None, "the electricity costs more than the cloud")
    expect(answer(10, 3600, 1000, 0.25, 250), None, "nothing is saved")


@exercise("19.3", title="How many cases does a claim need?",
          hint="Try n = 1, 2, 3, … until share_interval(n, n)[1] reaches the share.")
def check_needed(answer):
    expect(answer(0.5), 4, "at least a half: 4 of 4")
    expect(answer(0.8), 16, "at least 80 %: 16 of 16")
    expect(answer(0.97), 125, "at least 97 %: 125 of 125")
    expect(answer(0.1), 1, "at least a tenth: a single one")
