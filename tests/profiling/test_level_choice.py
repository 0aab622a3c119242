"""Which level for which device: worked by hand on a ladder with figures typed in."""
from __future__ import annotations

import json

import pytest

import labkit as lk
from labkit.models.budget import Budget
from labkit.profiling.level_choice import DEVICES, READABLE, Device


def test_the_fastest_that_is_true_enough_and_fits(typed_ladder):
    found = typed_ladder()
    assert lk.choose(ladder=found, quality=0.9).level == "Q4_K_M"
    assert lk.choose(ladder=found, quality=0.95).level == "Q8_0"
    assert lk.choose(ladder=found, quality=1).level == "F16"
    assert lk.choose(ladder=found, quality=0).level == "Q2_K"
    why = {o.level: o.against for o in lk.choose(ladder=found, quality=0.9, ram_bytes=250e6).options}
    assert why["F16"].startswith("needs 4") and why["Q4_0"] == "not true enough"
    assert why["Q4_K_M"].startswith("needs 25")


def test_speed_and_memory_are_those_of_the_formula(typed_ladder):
    found, device = typed_ladder(), Device("mine", int(8e9), 50e9)
    option = next(o for o in lk.choose(device, ladder=found, context=1000).options if o.level == "Q8_0")
    budget = Budget(found.shape, context=1000)
    assert option.tokens_per_s == pytest.approx(0.6 * 50e9 / (145e6 + 500 * budget.kv_bytes_per_token))
    assert option.ram_bytes == 145_000_000 + budget.kv_bytes + budget.compute_bytes
    longer = next(o for o in lk.choose(device, ladder=found, context=8000).options if o.level == "Q8_0")
    assert longer.ram_bytes > option.ram_bytes and longer.tokens_per_s < option.tokens_per_s


@pytest.mark.parametrize("name", DEVICES)
def test_devices_are_labelled_as_estimates_with_their_formula(name, typed_ladder):
    choice = lk.choose(name, ladder=typed_ladder())
    assert choice.level and "estimate: " in str(choice) and "MT/s" in str(choice) and json.dumps(choice.to_dict())
    assert DEVICES["phone"].bytes_per_s == READABLE * 64 / 8 * 6400e6


def test_where_nothing_will_do_it_says_what_to_change(typed_ladder):
    choice = lk.choose("phone", ladder=typed_ladder(), ram_bytes=1e8)
    assert choice.level is None and choice.best is None and "phone: no level" in str(choice)
    assert "more memory, a shorter context or a lower floor" in " ".join(str(choice).split())


def test_figures_of_ones_own_replace_the_devices(typed_ladder):
    choice = lk.choose("phone", ladder=typed_ladder(), bytes_per_s=1e9)
    assert choice.device.source == "as given" and choice.device.ram_bytes == DEVICES["phone"].ram_bytes
    assert lk.choose(ladder=typed_ladder()).device.source == "measured"


@pytest.mark.parametrize("wrong, said", [({"quality": 2}, "from 0 to 1"), ({"context": 0}, "at least 1"),
                                         ({"device": "toaster"}, "Unknown device 'toaster'.*'phone'"),
                                         ({"ram_bytes": -1}, "more than 0")])
def test_what_makes_no_sense_is_refused(wrong, said, typed_ladder):
    with pytest.raises(lk.BadRequest, match=said):
        lk.choose(ladder=typed_ladder(), **wrong)
