"""The search for an adapter's settings: who goes on, for how long, on what; with scripted losses, and once for real."""
from __future__ import annotations

import json
import math

import pytest

import labkit as lk
from labkit.models import search
from labkit.models.adapter import Settings, Trained

LINES = [(f"Line {n}.", [("Yes?", "No.")]) for n in range(6)]
VALID = [("Valid.", [("Yes?", "No.")])]
EXTRA = [(f"Extra {n}.", [("Yes?", "No.")]) for n in range(40)]


class ScriptedTraining:
    """Stands in for adapter.train: real training takes minutes. loss(settings, lines) gives a loss, or raises."""

    def __init__(self, loss):
        self.loss, self.calls = loss, []

    def __call__(self, lines, valid, target, settings, *, format, on_event):
        self.calls.append((lines, settings, target))
        assert valid == VALID and format == "f"
        target.write_bytes(b"an adapter")
        on_event({"event": "done", "step": 1})
        curve = (1, math.nan, 0.0), (2, self.loss(settings, lines), 0.5), (3, 9.0, 0.0)
        return Trained(target, 3, settings.seconds, curve)


def by_rate(settings, lines):
    """Best at 2e-3, and better with a higher rank."""
    return abs(math.log10(settings.rate / 2e-3)) + 1 / settings.rank


def find(loss=by_rate, **more):
    training = ScriptedTraining(loss)
    return search.search(LINES, VALID, format="f", train=training, **more), training


def test_a_third_goes_on_and_every_rung_has_the_same_time():
    found, training = find(seconds=600)
    assert (found.best.settings.rank, found.best.settings.rate, found.best.settings.alpha) == (32, 2e-3, 32)
    assert [tried.rung for tried in found.tried] == [0] * 9 + [1] * 3
    assert {tried.candidate.settings.rate for tried in found.tried if tried.rung} == {2e-3}
    assert [round(settings.seconds, 3) for _, settings, _ in training.calls] == [33.333] * 9 + [100.0] * 3
    assert min(tried.loss for tried in found.tried) == 1 / 32  # the lowest look counts, and one that is no number not


@pytest.mark.parametrize("count, rungs", [(1, [1]), (2, [2]), (3, [3]), (4, [4, 2]), (9, [9, 3]), (10, [10, 4, 2])])
def test_rungs_until_one_is_left(count, rungs):
    found, training = find(ranks=range(1, 20), candidates=count, seconds=60)
    ran = [tried.rung for tried in found.tried]
    assert [ran.count(rung) for rung in range(max(ran) + 1)] == rungs
    assert sum(settings.seconds for _, settings, _ in training.calls) == pytest.approx(60)


def test_the_seed_draws_the_candidates():
    def drawn(seed):
        return [tried.candidate.facts for tried in find(candidates=3, seed=seed)[0].tried]
    assert drawn(0) == drawn(0) and any(drawn(0) != drawn(seed) for seed in (1, 2, 3))


def test_short_runs_have_settings_of_their_own_and_the_best_keeps_those_of_a_long_one():
    found, training = find(seconds=600, seed=5)
    first = training.calls[0][1]
    assert (first.report, first.warmup, first.check, first.seed) == (1, 3, Settings().check, 5)
    assert first.passes * len(LINES) > 100 * 33  # the time ends a run, not the data
    assert found.best.settings == Settings(rank=32, rate=2e-3, seed=5)
    assert find(seconds=1e5)[1].calls[0][1].warmup == Settings().warmup


def test_a_run_that_fails_is_dropped():
    def loss(settings, lines):
        if settings.rate > 1e-3:
            raise lk.LabkitError("The loss was no number.")
        return by_rate(settings, lines)
    found, _ = find(loss, rates=(6e-4, 2e-3), ranks=(8, 16))
    assert found.best.settings.rate == 6e-4 and {t.rung for t in found.tried if t.failed} == {0}
    assert math.inf in [t.loss for t in found.tried] and "failed" in str(found)
    assert None in [tried["loss"] for tried in json.loads(json.dumps(found.to_dict(), allow_nan=False))["tried"]]


def fail(error):
    def loss(settings, lines):
        raise error
    return loss


def test_when_all_fail_it_says_why():
    with pytest.raises(lk.LabkitError, match="No candidate could be trained.*lower rate"):
        find(fail(lk.LabkitError("Train with a lower rate.")))


@pytest.mark.parametrize("error", [lk.BackendUnavailable, lk.ModelFileError, KeyboardInterrupt])
def test_what_is_no_fault_of_a_candidate_ends_the_search(error):
    with pytest.raises(error, match="^not here$"):
        find(fail(error("not here")))


def test_the_adapters_are_thrown_away():
    _, training = find()
    assert not any(target.parent.exists() for *_, target in training.calls)


def test_the_mix_is_searched_too():
    found, training = find(lambda settings, lines: 1 / len(lines), ranks=(8,), rates=(1e-3,), shares=(0.0, 0.5, 0.25),
                           extra=EXTRA)
    assert found.best.share == 0.5 and sorted(len(lines) for lines, *_ in training.calls) == [6, 8, 12]


@pytest.mark.parametrize("share, count", [(0.0, 0), (0.25, 2), (0.5, 6), (0.9, 54), (1.0, 40)])
def test_a_mixture_has_its_share_and_repeats_what_is_too_few(share, count):
    mixture = search.mixed(LINES, EXTRA, share, seed=0)
    drawn = [line for line in mixture if line in EXTRA]
    assert len(drawn) == count and len(set(map(str, drawn))) == min(count, 40)
    assert [line in mixture for line in LINES] == [share < 1] * 6
    assert mixture == search.mixed(LINES, EXTRA, share, seed=0)


def test_it_tells_what_it_does_and_shows_what_came_of_it():
    events = []
    found, _ = find(ranks=(8, 16), rates=(2e-3,), on_event=events.append)
    assert [event["event"] for event in events] == ["candidate", "done"] * 2
    assert events[2] == {"event": "candidate", "rung": 0, "n": 2, "of": 2, "rate": 2e-3, "share": 0.0,
                         "rank": found.tried[1].candidate.settings.rank}
    assert "Best: rank 16, rate 0.002, share 0" in str(found) and found.table().rows[0][1] == "16"
    assert Settings(**found.to_dict()["best"]["settings"]) == found.best.settings


@pytest.mark.parametrize("wrong, said", [
    ({"lines": []}, "give a line"), ({"valid": []}, "give a line"), ({"candidates": 0}, "try one"),
    ({"seconds": 0}, "give the time"), ({"seconds": math.nan}, "give the time"), ({"ranks": ()}, "give a rank"),
    ({"shares": (1.5,)}, "0 to 1"), ({"shares": (0.5,)}, "give lines"),
])
def test_what_cannot_be_searched_is_refused(wrong, said):
    with pytest.raises(lk.BadRequest, match=said):
        search.search(**{"lines": LINES, "valid": VALID, "format": "f", "train": ScriptedTraining(by_rate), **wrong})


@pytest.mark.usefixtures("workshop_environment")
def test_a_real_search_finds_the_rate_that_can_be_learned_with():
    words = [("hot", "cold"), ("up", "down"), ("big", "small"), ("new", "old"), ("wet", "dry"), ("far", "near")]
    lines = [(f"Opposites, {n}.\n" * 20, [(f"{a}: ", b) for a, b in words[n % 3:]]) for n in range(60)]
    events = []
    found = search.search(lines, lines[:2], ranks=(4,), rates=(2e-3, 1e25), seconds=8, format="labkit-calls-1",
                          on_event=events.append)
    assert found.best == search.Candidate(Settings(rank=4, rate=2e-3), 0.0)
    good, bad = sorted(found.tried, key=lambda tried: tried.loss)
    assert 0 < good.loss < 20 and bad.loss == math.inf and "no number" in bad.failed
    assert {event["event"] for event in events} >= {"candidate", "step", "valid", "done"}
