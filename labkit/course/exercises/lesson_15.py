"""Lesson 15, Watching it run: a percentile, a report that does not flatter, an alert with two limits."""
from __future__ import annotations

from labkit.course.checking import exercise, expect


@exercise("15.1", title="A percentile",
          hint="Sort the values. The one at place i, counted from 1, has i values that are not above it: look for the "
               "first place where 100 · i is at least percent times the number of values.")
def check_nearest_rank(answer):
    twenty = list(range(20, 0, -1))
    expect(answer(twenty, 95), 19, "95 % of 20 to 1: 19 of 20 values are not above 19")
    expect(answer(twenty, 50), 10, "50 % of them")
    expect(answer(twenty, 96), 20, "96 %: 19 of 20 are only 95 %")
    expect(answer([0.2, 9.0, 0.1], 50), 0.2, "the middle one of three")
    expect(answer([7], 1), 7, "a single value")
    expect(answer([1, 1, 1, 5], 100), 5, "100 %: the highest")
    expect(twenty, list(range(20, 0, -1)), "your function leaves the list as it was")


@exercise("15.2", title="A report that does not flatter",
          hint="Put the seconds of status 200 into a list of their own, and count the statuses of 500 or above. A "
               "status such as 404 is the client's own fault: it belongs to neither, but it is a request.")
def check_report(answer):
    expect(answer([(200, 1.0), (200, 3.0), (503, 0.01), (503, 0.01)]), {"error_share": 0.5, "mean_s": 2.0},
           "two answers and two refusals")
    expect(answer([(503, 0.01)] * 3), {"error_share": 1.0, "mean_s": None}, "refusals only: there is no latency")
    expect(answer([(200, 2.0), (404, 0.1)]), {"error_share": 0.0, "mean_s": 2.0}, "a client's own mistake")
    expect(answer([(500, 9.0), (200, 1.0)]), {"error_share": 0.5, "mean_s": 1.0}, "a failure that took long")
    expect(answer([]), {"error_share": None, "mean_s": None}, "no requests at all")


@exercise("15.3", title="Two limits",
          hint="Keep one variable, on. While it is off, only a value above limit changes it; while it is on, only a "
               "value at until or below does.")
def check_alert_states(answer):
    expect(list(answer([4, 11, 8, 12, 6, 5, 8], 10, 5)), [False, True, True, True, True, False, False],
           "values 4, 11, 8, 12, 6, 5, 8 with limit 10, until 5")
    expect(list(answer([10, 10.5, 10], 10, 10)), [False, True, False], "one limit: at 10 it is over")
    expect(list(answer([8, 9], 10, 5)), [False, False], "between the two it stays off")
    expect(list(answer([], 10, 5)), [], "no values")
