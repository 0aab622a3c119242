"""Lesson 01, What is an agent?: hysteresis, the frontier of a map, a running mean."""
from __future__ import annotations

from labkit.course.checking import exercise, expect


@exercise("01.1", title="A thermostat with a band",
          hint="Two comparisons, each with its own return. What is left lies between the two: "
               "then only `heating` counts.")
def check_thermostat(answer):
    expect(answer(17.0, False), "heat", "17 °C, burner off, dial 20, band 0.5")
    expect(answer(23.0, True), "off", "23 °C, burner on, dial 20, band 0.5")
    expect(answer(20.2, True), "heat", "20.2 °C, burner on: inside the band, so go on as you are")
    expect(answer(19.8, False), "off", "19.8 °C, burner off: inside the band, so go on as you are")
    expect(answer(19.5, False), "off", "19.5 °C, burner off: exactly at the edge is not colder than it")
    expect(answer(22.0, False, dial=24.0, band=1.0), "heat", "22 °C, burner off, dial 24, band 1")


@exercise("01.2", title="The frontier of a map",
          hint="For each known cell that is no wall, look at its four neighbours. "
               "Is one of them missing from `known`? `(r, c) not in known` says so.")
def check_frontier(answer):
    expect(answer({}), set(), "an empty map")
    expect(answer({(0, 0): "floor"}), {(0, 0)}, "one free cell, nothing known around it")
    expect(answer({(0, 0): "wall"}), set(), "one wall: nobody can stand there")
    closed = {(r, c): "floor" if (r, c) == (1, 1) else "wall" for r in range(3) for c in range(3)}
    expect(answer(closed), set(), "one free cell with walls all around")
    door = {cell: what for cell, what in closed.items() if cell != (1, 2)}
    expect(answer(door), {(1, 1)}, "one free cell, its east side unknown")
    expect(answer({**closed, (1, 2): "dirt"}), {(1, 2)}, "a dirty cell at the edge, a free one behind it")
    corner = {cell: what for cell, what in closed.items() if cell != (0, 0)}
    expect(answer(corner), set(), "only a corner is unknown: corners do not touch")


@exercise("01.3", title="A running mean",
          hint="The new mean is the old one plus a share of the surprise, (reward - value). "
               "With count = 0 the share is the whole, with count = 1 it is half.")
def check_update(answer):
    expect(answer(0.0, 0, 1), 1.0, "the first reward is 1")
    expect(answer(1.0, 1, 0), 0.5, "a mean of 1 over one reward, then a 0")
    expect(answer(0.5, 9, 0.5), 0.5, "a reward equal to the mean changes nothing")
    value = 0.0
    for count, reward in enumerate((1, 0, 0, 1, 1)):
        value = answer(value, count, reward)
    expect(value, 0.6, "the rewards 1, 0, 0, 1, 1, one after the other")
