"""Lesson 09, Which runtime: bits a weight, what is dominated, a choice under limits."""
from __future__ import annotations

from types import SimpleNamespace

from labkit.course.checking import exercise, expect


@exercise("09.1", title="Bits a weight",
          hint="The group shares 32 bits. How many of them fall to one weight?")
def check_bits_per_weight(answer):
    expect(answer(4, 64), 4.5, "4 bits in groups of 64")
    expect(answer(4, 32), 5.0, "4 bits in groups of 32: smaller groups, more overhead")
    expect(answer(8, 128), 8.25, "8 bits in groups of 128")


@exercise("09.2", title="What is worth a look",
          hint="Compare each row with every row. A row with the same two figures does not dominate it.")
def check_worth_a_look(answer):
    expect(list(answer([("a", 500, 0.1), ("b", 300, 0.2), ("c", 600, 0.3)])), ["a", "b"], "c is worse in both")
    expect(list(answer([("a", 500, 0.1), ("b", 500, 0.2)])), ["a"], "the same memory, b is slower")
    expect(list(answer([("a", 500, 0.1), ("b", 500, 0.1)])), ["a", "b"], "two equal ones: neither dominates")
    expect(list(answer([("a", 1, 9), ("b", 2, 8), ("c", 3, 7)])), ["a", "b", "c"], "each better in one thing")


@exercise("09.3", title="For the desk",
          hint="First the list of those that fit and keep to a schema, then max() with a key. "
               "An empty list has no max.")
def check_for_the_desk(answer):
    def entry(name, memory, speed, *constraints):
        return SimpleNamespace(name=name, rss_bytes=memory, tokens_per_s={1: 9, 4: 9, 16: speed},
                               capabilities={"constraints": list(constraints)})
    entries = [entry("large", 4e9, 400, "json_schema"), entry("loose", 5e8, 300),
               entry("small", 6e8, 100, "json_schema", "regex"), entry("slow", 5e8, 50, "json_schema")]
    expect(answer(entries, 1e9), "small", "1 GB: the fastest of those that fit and keep to a schema")
    expect(answer(entries, 8e9), "large", "8 GB: the fastest of all that keep to a schema")
    expect(answer(entries, 1e8), None, "100 MB: nothing fits")
