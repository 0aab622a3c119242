"""A new version on trial: its share, its promotion and its end, each with the figures that decided."""
from __future__ import annotations

import pytest

from labkit.serving.deployment import Canary
from labkit.serving.rollout import CANARY, PROMOTED, ROLLED_BACK, STABLE, TRIAL, Rollout


def trial(rollout: Rollout, requests: int, ok=lambda version, n: True, seconds=lambda version: 0.1) -> int:
    """Send requests until it is decided; how many it took."""
    for n in range(1, requests + 1):
        version = rollout.choose()
        if rollout.record(version, ok(version, n), seconds(version)):
            return n
    return requests


@pytest.mark.parametrize("share", [1, 10, 33, 50, 90])
def test_the_share_is_exact(share):
    rollout = Rollout(Canary(share=share))
    assert [rollout.choose() for _ in range(1000)].count(CANARY) == 10 * share


def test_one_in_ten_is_every_tenth():
    rollout = Rollout(Canary(share=10))
    assert [n for n in range(1, 31) if rollout.choose() == CANARY] == [10, 20, 30]


def test_a_session_stays_with_its_version():
    rollout = Rollout(Canary(share=30))
    chosen = {f"s{n}": rollout.choose(f"s{n}") for n in range(1000)}
    assert all(rollout.choose(name) == version for name, version in chosen.items())
    assert 250 < list(chosen.values()).count(CANARY) < 350


def test_promoted_when_it_holds():
    rollout = Rollout(Canary(share=20, at_least=10))
    assert str(rollout).startswith("On trial with 20 % of the requests, decided after 10. New: no request yet.")
    assert trial(rollout, 1000) == 50 and rollout.state == PROMOTED
    assert "promoted. New: 0 of 10 failed (0.0%, 95 % interval 0.0% to 27.8%), 95 % took up to 0.1 s" in str(rollout)
    assert rollout.choose() == CANARY and set(rollout.usable()) == {STABLE, CANARY}


def test_rolled_back_when_it_fails_too_often():
    rollout = Rollout(Canary(share=50, at_least=20, error_rate=0.02))
    trial(rollout, 1000, ok=lambda version, n: version == STABLE or n % 8 != 0)
    assert rollout.state == ROLLED_BACK and "it fails too often. New: 5 of 20 failed (25.0%" in str(rollout)
    assert "Old: 0 of 20 failed" in str(rollout) and "Allowed: 2.0% more failures" in str(rollout)
    assert {rollout.choose() for _ in range(100)} == {STABLE} and rollout.usable() == (STABLE,)


def test_rolled_back_when_it_is_too_slow():
    rollout = Rollout(Canary(share=50, at_least=10, p95_ratio=1.5))
    trial(rollout, 1000, seconds=lambda version: 0.16 if version == CANARY else 0.1)
    assert rollout.state == ROLLED_BACK and "it is too slow" in str(rollout) and "took up to 0.16 s" in str(rollout)


def test_failures_that_both_have_are_no_ones_fault():
    rollout = Rollout(Canary(share=50, at_least=20))
    trial(rollout, 1000, ok=lambda version, n: n % 4 > 1)
    assert rollout.state == PROMOTED


def test_nothing_is_decided_before_there_is_enough():
    rollout = Rollout(Canary(share=10, at_least=50))
    assert trial(rollout, 499, ok=lambda version, n: version == STABLE) == 499 and rollout.state == TRIAL


def test_without_a_new_version_there_is_no_trial():
    rollout = Rollout()
    assert rollout.choose() == STABLE and not rollout.record(STABLE, False, 1.0) and str(rollout) == ""
