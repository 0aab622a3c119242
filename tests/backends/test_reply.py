"""Timing and usage by their definitions, on arrivals made by hand."""
from __future__ import annotations

import math

import pytest

from labkit.backends.reply import Reply, Timing, Usage

ARRIVALS = ((0.5, 1), (0.6, 1), (0.9, 4))  # (seconds, tokens): the last chunk is forced text


def test_timing_follows_vllms_definitions():
    timing = Timing(ARRIVALS, 0.9)
    assert timing.ttft_s == 0.5
    assert timing.itl_s == pytest.approx((0.1, 0.3))
    assert timing.tpot_s == pytest.approx(0.4 / 5)
    assert timing.tokens_per_s == pytest.approx(5 / 0.4)


@pytest.mark.parametrize("arrivals", [(), ((0.5, 1),)])
def test_a_speed_that_cannot_be_known_is_not_a_number(arrivals):
    timing = Timing(arrivals, 0.7)
    assert math.isnan(timing.tpot_s) and math.isnan(timing.tokens_per_s) and timing.itl_s == ()
    assert timing.ttft_s == (0.5 if arrivals else 0.7)


def test_usage_adds_up():
    total = Usage(10, 5, 3) + Usage(20, 1)
    assert total == Usage(30, 6, 3) and total.total_tokens == 36


def test_a_reply_shows_its_cost_also_without_a_speed():
    shown = Reply("Hi", usage=Usage(7, 1), timing=Timing(((0.05, 1),), 0.05))._repr_markdown_()
    assert shown.startswith("Hi\n") and "7 + 1 tokens" in shown and "50 ms" in shown and "nan" not in shown
