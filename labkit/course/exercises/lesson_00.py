"""Lesson 00, Start here: decode speed, a model's size, its share of the memory's ceiling."""
from __future__ import annotations

from labkit.course.checking import exercise, expect


@exercise("00.1", title="Tokens per second",
          hint="Between n tokens lie n - 1 gaps. They fill the time from the first arrival to the last.")
def check_tokens_per_second(answer):
    expect(answer([0.5, 0.6, 0.7, 0.8]), 10.0, "first token after 0.5 s, then one every 0.1 s")
    expect(answer([9.0, 9.1, 9.2, 9.3]), 10.0, "the same answer after a wait of 9 s: the flow is the same")
    expect(answer([0.0, 2.0]), 0.5, "two tokens, 2 s apart: one gap")
    expect(answer([1.0, 1.1, 1.5, 2.0]), 3.0, "uneven gaps: 3 tokens in the second after the first")


@exercise("00.2", title="How big is a model?",
          hint="Eight bits are a byte. The memory is the file plus the KV cache of the whole context.")
def check_sizes_in_bytes(answer):
    expect(answer(1000, 8, 0, 0), (1000, 1000), "1000 weights of 8 bits and no context")
    expect(answer(1000, 16, 0, 0), (2000, 2000), "twice the bits")
    expect(answer(1000, 4.5, 10, 100), (562.5, 1562.5), "4.5 bits, and 100 tokens of 10 bytes each")
    expect(answer(134_515_008, 16, 23_040, 8192), (269_030_016, 457_773_696),
           "SmolLM2-135M in F16 with its whole context of 8192 tokens")


@exercise("00.3", title="Share of the ceiling",
          hint="The ceiling is how many times a second the memory could deliver the bytes of one token.")
def check_share_of_ceiling(answer):
    expect(answer(100, 1e8, 2e10), 0.5, "100 tokens/s, 100 MB a token, 20 GB/s: the ceiling is 200")
    expect(answer(50, 1e8, 2e10), 0.25, "half the speed is half the share")
    expect(answer(200, 1e8, 2e10), 1.0, "exactly at the ceiling")
    expect(answer(100, 2e8, 2e10), 1.0, "twice the bytes, half the ceiling")
    expect(answer(300, 1e8, 2e10), 1.5, "weights in the processor's cache: above the ceiling is possible")
