"""Lesson 05, llama.cpp: the KV cache's size, a guess from earlier text, how many slots."""
from __future__ import annotations

from labkit.course.checking import exercise, expect


@exercise("05.1", title="The KV cache's size",
          hint="One key and one value per layer, KV head and token, each of head_dim numbers: multiply all of it.")
def check_kv_bytes(answer):
    expect(answer(1, 1, 1, 1), 4, "one number for a key and one for a value, 2 bytes each")
    expect(answer(30, 3, 64, 1), 23_040, "one token of SmolLM2-135M")
    expect(answer(30, 3, 64, 8192), 188_743_680, "its whole context")
    expect(answer(28, 8, 128, 1000, 1), 57_344_000, "8-bit keys and values, 1000 tokens, a model of 3B")


@exercise("05.2", title="A guess from earlier text",
          hint="Walk backwards over the starts. The tail itself does not count as a place before, "
               "but it may overlap with one.")
def check_guess_next(answer):
    expect(list(answer([1, 2, 3, 9, 1, 2], 2, 3)), [3, 9, 1], "1 2 was followed by 3 9 1")
    expect(list(answer([1, 2, 3, 9, 1, 2], 2, 1)), [3], "at most one token")
    expect(list(answer([1, 2, 5, 1, 2, 6, 1, 2], 2, 1)), [6], "the latest place counts")
    expect(list(answer([4, 5, 6], 2, 3)), [], "5 6 did not stand anywhere before")
    expect(list(answer([7, 7, 7], 2, 4)), [7], "a place may overlap with the tail")
    expect(list(answer([3], 2, 4)), [], "fewer tokens than n")


@exercise("05.3", title="How many slots",
          hint="Round up what is wanted, divide whole numbers for what fits, take the smaller, and at least 1.")
def check_slots_needed(answer):
    expect(answer(2, 3, 100, 8192), 6, "two a second, three seconds each")
    expect(answer(0.5, 3, 100, 8192), 2, "1.5 on average: two slots")
    expect(answer(10, 5, 1000, 8192), 8, "50 wanted, but only 8 conversations fit into the context")
    expect(answer(0.1, 1, 100, 8192), 1, "seldom a request: still one slot")
    expect(answer(2, 3, 9000, 8192), 1, "one conversation larger than the context: one slot")
