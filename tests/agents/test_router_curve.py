"""APGR and CPT: by hand, against the recorded outcomes' published shares, and what cannot be judged."""
from __future__ import annotations

import json

import numpy as np
import pytest

from labkit.agents.router_curve import Outcomes, apgr_interval, coin, compare, curve, oracle
from labkit.data import data_folder
from labkit.errors import BadRequest

FOUR = Outcomes([1, 0, 0, 1], [1, 1, 1, 1])


def test_by_hand():
    found = curve(FOUR, [0.9, 0.1, 0.2, 0.8])  # the two that the small one gets wrong are least sure
    assert found.quality.tolist() == [0.5, 0.75, 1, 1, 1] and found.pgr.tolist() == [0, 0.5, 1, 1, 1]
    assert found.apgr == pytest.approx((0.25 + 0.75 + 1 + 1) / 4) and found.cpt(0.5) == 0.25 and found.cpt(1) == 0.5
    assert curve(FOUR, [0.1, 0.9, 0.8, 0.2]).apgr == pytest.approx((0 + 0 + 0.25 + 0.75) / 4), "the worst of all"
    assert oracle(FOUR).apgr == found.apgr and coin(FOUR).apgr == pytest.approx(0.5)


def test_the_large_one_can_also_be_worse():
    mixed = Outcomes([1, 0, 0, 0], [0, 1, 1, 1])
    assert oracle(mixed).quality.max() == 1 > oracle(mixed).quality[-1] == 0.75


def test_what_tells_nothing_is_a_coin():
    rng = np.random.default_rng(7)
    small = rng.random(4000) < 0.6
    many = Outcomes(small, small | (rng.random(4000) < 0.5))
    low, high = apgr_interval(many, rng.random(4000))
    assert low < 0.5 < high and abs(curve(many, rng.random(4000)).apgr - 0.5) < 0.05
    assert curve(many, np.zeros(4000)).apgr == pytest.approx(0.5, abs=0.05), "all tied"


def test_side_by_side():
    found = compare(FOUR, {"confidence": [0.9, 0.1, 0.2, 0.8]})
    assert list(found.curves) == ["coin", "confidence", "oracle"] and "0.750" in str(found)
    assert found.to_dict()["confidence"]["cpt50"] == 0.25 and json.dumps(found.to_dict())


@pytest.mark.parametrize(("small", "large", "sure", "words"), [
    ([1, 0], [1], [0, 0], "one length"), ([], [], [], "one length"), ([1, 1], [1, 0], [0, 0], "no better"),
    ([1, 0], [1, 1], [0], "1 numbers"), ([1, 0], [1, 1], [0, float("nan")], "some of them none"),
])
def test_what_cannot_be_judged(small, large, sure, words):
    with pytest.raises(BadRequest, match=words):
        curve(Outcomes(small, large), sure)


def test_the_recorded_outcomes_are_the_published_ones():
    lines = (data_folder("routing") / "routellm.jsonl").read_text(encoding="utf-8").splitlines()
    shares = {}
    for name in ("gsm8k", "mmlu"):
        parts = [part for line in lines if (part := json.loads(line))["benchmark"] == name]
        bits = {who: "".join(part[who] for part in parts) for who in ("weak", "strong")}
        assert len(bits["weak"]) == len(bits["strong"]) == sum(len(part["words"]) for part in parts)
        shares[name] = tuple(round(100 * bits[who].count("1") / len(bits[who]), 1) for who in ("weak", "strong"))
    assert shares == {"gsm8k": (63.8, 85.7), "mmlu": (68.1, 80.6)}
