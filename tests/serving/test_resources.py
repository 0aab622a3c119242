"""Models in a budget of memory, power and scaling: real models, measured memory."""
from __future__ import annotations

import threading

import pytest

import labkit as lk
from labkit.models.quantise import made
from labkit.profiling.memory import rss
from labkit.serving.admission import Busy
from labkit.serving.model_pool import ModelPool, NoRoom
from labkit.serving.power import PowerMode
from labkit.serving.scaling import Scaler

LEVELS = ("Q8_0", "Q6_K", "Q4_0")  # not F16: where another test holds it, its weights are shared and add nothing


def models(*levels):
    return {level: lambda level=level: lk.connect("llama.cpp", str(made(level)), context_length=512, adapter=None)
            for level in levels}


@pytest.fixture
def pool():
    made_here = []

    def make(*levels, **settings):
        made_here.append(ModelPool(models(*levels), **settings))
        return made_here[-1]
    yield make
    for one in made_here:
        one.close()


def ask(pool, level):
    with pool.use(level) as chat:
        return chat.chat("The capital of France is", max_tokens=4).text


def test_what_is_asked_for_is_loaded_once_and_measured(pool):
    two = pool("Q6_K", "Q4_0")
    assert two.loaded == [] and "not known yet" in str(two)
    assert ask(two, "Q4_0") == ask(two, "Q4_0") != ""
    assert two.loaded == ["Q4_0"] and [(c.model, c.loaded) for c in two.changes] == [("Q4_0", True)]
    assert "loaded" in str(two) and "no limit" in str(two)


def test_the_least_recently_used_leaves_when_room_is_needed(pool):
    base = rss()
    three = pool(*LEVELS)
    for level in ("Q8_0", "Q4_0", "Q8_0"):
        ask(three, level)
    three.memory_bytes = base + (rss() - base) * 1.1  # for these two, and not for a third
    ask(three, "Q6_K")
    assert rss() <= three.memory_bytes
    left = [change.model for change in three.changes if not change.loaded]
    assert left and left[0] == "Q4_0" and "Q6_K" in three.loaded
    assert "allowed" in next(change.why for change in three.changes if not change.loaded)


def test_what_is_in_use_stays_and_what_does_not_fit_is_refused(pool):
    base = rss()
    two = pool("Q8_0", "Q6_K")
    with two.use("Q8_0") as chat:
        chat.chat("Hello", max_tokens=1)
        held = rss() - base
        two.memory_bytes = base + held + 20e6
        with pytest.raises(NoRoom, match="Q6_K takes .* allowed"), two.use("Q6_K") as other:
            other.chat("Hello", max_tokens=1)
            pytest.fail("it was let in")
        assert chat.chat("The capital of France is", max_tokens=4).text and two.loaded == ["Q8_0"]


def test_no_more_than_at_once(pool):
    one = pool("Q4_0", at_once=1)
    with one.use("Q4_0"):
        with pytest.raises(Busy, match="1 models are in use"), one.use("Q4_0", wait_s=0.05):
            pass
        with pytest.raises(Busy, match="In use: Q4_0"):
            one.close()
        waiting = threading.Thread(target=ask, args=(one, "Q4_0"))
        waiting.start()
    waiting.join(30)
    assert not waiting.is_alive() and one.loaded == ["Q4_0"]


def test_idle_models_are_unloaded_and_come_back(pool):
    one = pool("Q4_0", idle_s=0.0)
    one.warm("Q4_0")
    threading.Event().wait(0.01)
    assert one.tidy() == ["Q4_0"] and one.loaded == [] and "idle for" in one.changes[-1].why
    assert ask(one, "Q4_0")
    one.idle_s = None
    assert one.tidy() == [] and one.loaded == ["Q4_0"]


def test_a_model_that_cannot_be_loaded_leaves_the_pool_as_it_was(pool):
    one = pool("Q4_0")
    one._models["broken"] = type(one._models["Q4_0"])(lambda: lk.connect("llama.cpp", "no such file.gguf"))
    with pytest.raises(lk.LabkitError, match="no model file"), one.use("broken"):
        pass
    assert ask(one, "Q4_0") and one.loaded == ["Q4_0"]


@pytest.mark.parametrize("wrong", [{"models": {}}, {"at_once": 0}, {"instead": {"Q4_0": "Q1"}}])
def test_a_pool_that_makes_no_sense(wrong):
    with pytest.raises(lk.BadRequest, match="pool"):
        ModelPool(**{"models": models("Q4_0"), **wrong})
    with pytest.raises(lk.BadRequest, match="no model 'x'"), ModelPool(models("Q4_0")).use("x"):
        pass


def test_on_battery_a_smaller_model_steps_in(pool):
    figures = {"battery_percent": 30.0, "plugged": 0.0}
    power = PowerMode(lambda: figures)
    two = pool("F16", "Q4_0", saving=power.saving, instead={"F16": "Q4_0"})
    assert two.choose("F16") == "Q4_0" and power.why == "on battery with 30 %"
    figures["battery_percent"] = 50.0
    assert two.choose("F16") == "Q4_0", "between the two it stays as it is"
    figures["battery_percent"] = 61.0
    assert two.choose("F16") == "F16"
    figures["battery_percent"] = 50.0
    assert two.choose("F16") == "F16"
    figures.update(battery_percent=10.0, plugged=1.0)
    assert two.choose("F16") == "F16" and power.why == "on mains"
    figures.clear()
    assert two.choose("F16") == "F16" and power.why == "no battery"
    with pytest.raises(lk.BadRequest, match="percent"):
        PowerMode(dict, below=70, above=60)


def test_workers_follow_the_delay_with_hysteresis():
    now = [0.0]
    scaler = Scaler(1, 3, high_s=1.0, low_s=0.1, up_after_s=2, down_after_s=10, clock=lambda: now[0])
    workers, seen = 1, []
    for second in range(40):
        now[0] = float(second)
        delay = 3.0 if second < 9 else 0.5 if second < 15 else 0.0
        step = scaler.look(delay, workers)
        if step.workers != workers:
            seen.append((second, step.workers, step.why))
        workers = step.workers
    assert [(at, n) for at, n, _ in seen] == [(2, 2), (4, 3), (25, 2), (35, 1)]
    assert seen[0][2] == "requests waited 3.00 s, above 1 s for 2 s"
    assert scaler.look(0.0, 7).workers == 3, "more than there may be"
    with pytest.raises(lk.BadRequest, match="least"):
        Scaler(3, 1)
