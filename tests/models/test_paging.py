"""The block table: what it hands out, shares and takes back, against counts made another way."""
from __future__ import annotations

import random

from labkit.models.paging import BlockTable


def test_blocks_are_handed_out_as_needed():
    table = BlockTable(8, block_tokens=4, share=False)
    assert table.admit("a", range(6))
    assert (table.used, table.wasted) == (2, 2)
    assert all(table.append("a") for _ in range(3))  # fills the second block, and begins a third
    assert (table.used, table.wasted) == (3, 3)


def test_what_does_not_fit_changes_nothing():
    table = BlockTable(2, block_tokens=4)
    assert table.admit("a", range(8)) and not table.admit("b", range(10, 15)) and not table.append("a")
    assert table.used == 2 and list(table.of) == ["a"]


def test_a_common_beginning_is_held_once_and_only_in_full_blocks():
    table = BlockTable(10, block_tokens=4)
    common = ["you", "are", "a", "helpful", "assistant", "."]
    assert table.admit("a", [*common, "one"]) and table.admit("b", [*common, "two", "three"])
    assert table.of["a"][0] is table.of["b"][0] and table.of["a"][0].holders == ["a", "b"]
    assert table.of["a"][1] is not table.of["b"][1] and table.used == 3
    table.release("a")
    assert table.used == 2 and table.of["b"][0].holders == ["b"]
    table.release("b")
    assert table.used == 0 and table.wasted == 0


def test_alike_but_not_from_the_start_is_not_shared():
    table = BlockTable(10, block_tokens=2)
    assert table.admit("a", ["x", "y", "p", "q"]) and table.admit("b", ["z", "y", "p", "q"])
    assert table.used == 4


def test_many_answers_coming_and_going_lose_no_block():
    rng, table, lengths = random.Random(5), BlockTable(40, block_tokens=4, share=False), {}
    for step in range(2000):
        name = f"answer {step}"
        if lengths and rng.random() < 0.3:
            table.release(gone := rng.choice(list(lengths)))
            del lengths[gone]
        elif lengths and rng.random() < 0.6:
            grown = rng.choice(list(lengths))
            lengths[grown] += table.append(grown)
        elif table.admit(name, list(range(length := rng.randint(1, 30)))):
            lengths[name] = length
        assert table.used == sum(-(-length // 4) for length in lengths.values())
        assert table.wasted == table.used * 4 - sum(lengths.values())
