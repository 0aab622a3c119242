"""The labelled texts of lesson 01, the readers over them, the closed network, and the exercises."""
from __future__ import annotations

import socket
from collections import Counter
from typing import Literal

import pytest
from pydantic import BaseModel

import labkit as lk
from labkit.agents.worlds import town
from labkit.course import words
from labkit.course.checking import run_check
from labkit.course.offline import Refused, bytes_sent, no_network
from labkit.errors import BadRequest


@pytest.fixture(scope="module")
def slm():
    return lk.connect()


@pytest.mark.parametrize("world", words.WORLDS)
def test_halves_share_no_text_and_are_balanced(world):
    dev, test = words.load(world, "dev"), words.load(world, "test")
    texts = [said.text.casefold() for said in dev + test]
    assert len(set(texts)) == len(texts) and len(test) >= 30
    labels = Counter(said.label if world != "town" else said.label[0] for said in test)
    assert len(set(labels.values())) == 1
    assert {said.kind for said in dev + test} <= set(words.KINDS)


def test_town_labels_are_in_town():
    for said in words.load("town", "dev") + words.load("town", "test"):
        address, hour = said.label
        assert address in town.ADDRESSES and 9 <= hour <= 17


def test_an_unknown_set_is_refused():
    with pytest.raises(BadRequest, match="canteen"):
        words.load("zoo", "test")


def test_the_keyword_rule_takes_the_last_word_and_knows_when_it_cannot_tell():
    read = words.by_keywords({"cold": "cold freezing", "fine": "fine"})
    assert read("It was cold, now it is FINE.") == "fine"
    assert read("Colder than cold") == "cold"  # whole words: "colder" is none of them
    assert read("My teeth are chattering.") is None


@pytest.mark.parametrize(("text", "hour"), [
    ("before 10 am", 10), ("by 2 pm", 14), ("at noon", 12), ("until two in the afternoon", 14),
    ("the five o'clock train", 17), ("at 9", 9), ("ten parcels before 3 pm", 10), ("soon", None),
    ("at 25", None)])
def test_hours(text, hour):
    """The seventh is a known limit: the first number that can be an hour is taken."""
    assert words.hour_in(text) == hour


def test_first_that_can_tell_asks_no_further_than_it_must():
    asked = []
    read = words.first_that_can_tell(lambda text: None, lambda text: "b", lambda text: asked.append(text))
    assert read("x") == "b" and asked == []


def test_readings_count_right_wrong_and_silent():
    said = [words.Said("a", 1, "plain"), words.Said("b", 0, "plain"), words.Said("c", 1, "trap")]
    readings = words.measure({"rule": {"a": 1, "b": 1}.get}, said)
    assert readings.right("rule") == (1, 3) and readings.right("rule", "plain") == (1, 2)
    row = readings.table().rows[0]
    assert row[1] == "33%" and row[-2] == "1"


def test_asking_stays_within_the_schema(slm):
    class Room(BaseModel, extra="forbid"):
        room: Literal["kitchen", "bedroom"]

    read = words.by_asking(slm, "Which room?", Room)
    assert read("Tell me about the moon.") in ("kitchen", "bedroom")


def test_asking_for_two_things_gives_both(slm):
    class Goal(BaseModel, extra="forbid"):
        address: Literal["bakery", "school"]
        hour: Literal[9, 10]

    assert words.by_asking(slm, "Where and when?", Goal)("To the school by 9.") in {
        (a, h) for a in ("bakery", "school") for h in (9, 10)}


def test_turned_round_the_model_reads_hints_that_keywords_miss(slm):
    """Dev half only: the test half is for the lesson's measurement."""
    said = [words.Said(s.text, s.label[0], s.kind) for s in words.load("town", "dev")]
    read = words.by_likelihood(slm, {name: f"Ask a courier to bring a parcel to the {name}."
                                     for name in town.ADDRESSES})
    assert words.measure({"model": read}, said).share("model") > 3 * 1 / len(town.ADDRESSES)
    assert read("Yeast for the ovens and cakes.") == "bakery"


def test_the_closed_network_refuses_counts_and_opens_again():
    with no_network() as tried:
        for attempt in (lambda: socket.create_connection(("192.0.2.1", 80), timeout=1),
                        lambda: socket.getaddrinfo("example.org", 80),
                        lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.2", 9))):
            with pytest.raises(Refused):
                attempt()
        assert tried == ["192.0.2.1", "example.org", "192.0.2.2"]
    assert socket.socket.connect.__name__ == "connect" and socket.getaddrinfo.__module__ == "socket"


def test_the_closed_network_lets_this_machine_talk_to_itself():
    with socket.create_server(("127.0.0.1", 0)) as server, no_network() as tried:
        with socket.create_connection(server.getsockname()) as client, server.accept()[0] as peer:
            client.sendall(b"hello")
            assert peer.recv(5) == b"hello"
        assert tried == []


def test_loopback_is_not_counted_as_leaving():
    before = bytes_sent()
    with (socket.create_server(("127.0.0.1", 0)) as server,
          socket.create_connection(server.getsockname()) as client, server.accept()[0] as peer):
        for _ in range(200):
            client.sendall(b"x" * 10_000)
            peer.recv(10_000)
    assert bytes_sent() - before < 1_000_000  # 2 MB went over loopback


def right_thermostat(temperature, heating, dial=20.0, band=0.5):
    return "heat" if temperature < dial - band or (heating and temperature <= dial + band) else "off"


SIDES = [(0, 1), (1, 0), (0, -1), (-1, 0)]
ALL_AROUND = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]


def frontier(around):
    return lambda known: {(r, c) for (r, c), what in known.items() if what != "wall"
                          and any((r + i, c + j) not in known for i, j in around)}


@pytest.mark.parametrize(("exercise", "answer", "status"), [
    ("01.1", right_thermostat, "passed"),
    ("01.1", lambda t, heating, dial=20.0, band=0.5: "heat" if t < dial else "off", "not yet"),
    ("01.1", lambda t, heating, dial=20.0, band=0.5: "heat" if t < 19.5 else "off" if t > 20.5 else
     ("heat" if heating else "off"), "not yet"),  # dial and band left out of the rule
    ("01.2", lambda known: {cell for cell, what in known.items() if what != "wall"}, "not yet"),
    ("01.2", frontier(ALL_AROUND), "not yet"),
    ("01.2", frontier(SIDES), "passed"),
    ("01.3", lambda value, count, reward: (value * count + reward) / (count + 1), "passed"),
    ("01.3", lambda value, count, reward: value + 0.5 * (reward - value), "not yet"),
])
def test_exercises_tell_right_from_wrong(exercise, answer, status):
    assert run_check(exercise, answer).status == status
