"""Lesson 04, The quantisation lab: bits of a block, rounding with one scale, levels worth having."""
from __future__ import annotations

from labkit.course.checking import exercise, expect


@exercise("04.1", title="Bits per weight",
          hint="Every weight has its own bits, and an equal part of what the block keeps besides.")
def check_bits_per_weight(answer):
    expect(answer(8, 32, 16), 8.5, "Q8_0: 8 bits, blocks of 32, a scale of 16 bits")
    expect(answer(4, 32, 16), 4.5, "Q4_0")
    expect(answer(4, 32, 32), 5.0, "Q4_1 has two numbers of 16 bits")
    expect(answer(2, 256, 160), 2.625, "Q2_K: 16 scales and minima of 4 bits, and two numbers of 16")


@exercise("04.2", title="Rounding with one scale",
          hint="The scale is the largest absolute value, divided by 2**(bits - 1) - 1. Divide, round, multiply.")
def check_rounded(answer):
    def near(values, bits):
        return [round(float(value), 6) for value in answer(values, bits)]
    expect(near([7.0, -3.4, 0.2], 4), [7.0, -3.0, 0.0], "4 bits: the scale is 1")
    expect(near([-14.0, 5.1], 4), [-14.0, 6.0], "4 bits: the scale is 2, and 5.1 is nearer to 6")
    expect(near([0.0, 0.0], 8), [0.0, 0.0], "nothing but zeros")
    expect(near([1.0, 0.5, -0.25], 2), [1.0, 0.0, 0.0], "2 bits: -1, 0 and 1 times the scale; halves go to even")


@exercise("04.3", title="Levels worth having",
          hint="For each level look for another one that is no larger and no less true.")
def check_worth_having(answer):
    levels = [("F16", 271, 0.0), ("Q8_0", 145, 0.004), ("Q5_1", 112, 0.03), ("Q5_K_S", 110, 0.02)]
    expect(list(answer(levels)), ["F16", "Q8_0", "Q5_K_S"], "Q5_K_S is smaller and truer than Q5_1")
    expect(list(answer(levels[:1])), ["F16"], "one level alone")
    expect(list(answer([])), [], "no level")
    expect(list(answer([("a", 10, 0.2), ("b", 10, 0.1)])), ["b"], "as large, and truer")
