"""The four worlds: their rules, their agents, and what each agent is supposed to be good at."""
from __future__ import annotations

import itertools
import random

import pytest

from labkit.agents.worlds import canteen, compare, house, interval, room, run_episode, town
from labkit.errors import BadRequest
from labkit.intervals import share_interval

SEEDS = range(10)


def test_an_episode_ends_when_the_agent_has_nothing_left_to_do():
    home = house.House(seed=1)
    episode = run_episode(house.MapVacuum(), home, 10_000)
    assert len(episode) < 1_000 and not home.dirt and episode.score == 1.0
    assert len(episode.percepts) == len(episode.actions) == len(home.trail) - 1


def test_wilson_interval_agrees_with_a_published_value():
    share, low, high = share_interval(81, 263)  # Newcombe (1998), table I, method 3
    assert (round(share, 4), round(low, 4), round(high, 4)) == (0.308, 0.2553, 0.3662)
    with pytest.raises(ValueError):
        share_interval(3, 2)


def test_interval_covers_the_true_mean_about_as_often_as_it_says():
    chance = random.Random(0)
    covered = 0
    for _ in range(200):
        _, low, high = interval([chance.random() for _ in range(30)], resamples=400)
        covered += low <= 0.5 <= high
    assert 0.88 <= covered / 200 <= 0.99


class TestRoom:
    def test_a_room_without_heat_follows_the_weather(self):
        cold = room.Room(seed=0)
        for _ in range(room.DAY):
            cold.step("off")
        assert abs(cold.temperature - cold.outside) < 5 and cold.starts == 0

    def test_a_band_saves_starts_and_keeps_the_comfort(self):
        scores = compare({"jumpy": lambda s: room.Thermostat(0.0), "calm": lambda s: room.Thermostat(0.5)},
                         room.Room, room.DAY, SEEDS)
        assert all(calm > jumpy for jumpy, calm in zip(*scores.values(), strict=True))

    def test_equal_percepts_give_equal_actions(self):
        agent = room.Thermostat()
        percept = room.RoomPercept(19.9, True, 20.0)
        assert {agent.act(percept) for _ in range(5)} == {"heat"}
        assert agent.act(room.RoomPercept(19.9, False, 20.0)) == "off"

    def test_notes_turn_the_dial_only_when_read(self):
        percept = room.RoomPercept(20.0, False, 20.0, note="brr")
        assert room.Thermostat(read={"brr": "cold"}.get).act(percept) == "warmer"
        assert room.Thermostat(read={}.get).act(percept) == "off"
        assert room.Thermostat().act(percept) == "off"

    def test_the_note_says_what_the_person_feels(self):
        notes = {"cold": ["c"], "fine": ["f"], "warm": ["w"]}
        home = room.Room(seed=1, wish=24.0, notes=notes)
        home.minute = room.NOTE_EVERY - 1
        assert home.percept().note == "c"

    def test_an_unknown_action_is_refused(self):
        with pytest.raises(ValueError, match="heat"):
            room.Room().step("explode")


class TestHouse:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_every_room_and_every_speck_can_be_reached(self, seed):
        home = house.House(seed)
        assert set(house._distances(home.at, home.floor)) == set(home.floor)
        assert set(home.floor.values()) == set(house.ROOMS.values())

    def test_the_robot_senses_nine_cells_and_no_more(self):
        percept = house.House(seed=3).percept()
        assert len(percept.seen) == 9
        assert max(abs(r - percept.at[0]) + abs(c - percept.at[1]) for r, c in percept.seen) == 2

    def test_the_map_never_says_what_is_not_so(self):
        home, robot = house.House(seed=4), house.MapVacuum()
        for _ in range(80):
            home.step(robot.act(home.percept()))
        assert all((what == "wall") == (cell not in home.floor) for cell, what in robot.map.items())

    def test_a_map_beats_a_reflex(self):
        scores = compare({"reflex": house.ReflexVacuum, "map": lambda s: house.MapVacuum()},
                         house.House, 150, SEEDS)
        assert all(mapped > reflex for reflex, mapped in zip(*scores.values(), strict=True))

    def test_memory_survives_a_restart(self, tmp_path):
        memory = tmp_path / "map.json"
        robot = house.MapVacuum(memory)
        run_episode(robot, house.House(seed=5), 300)
        robot.save()
        again = house.MapVacuum(memory)
        assert again.rooms == robot.rooms
        assert {c for c, what in again.map.items() if what == "wall"} == {
            c for c, what in robot.map.items() if what == "wall"}
        assert "dirt" not in again.map.values()  # yesterday's dirt is no knowledge of today
        assert list(tmp_path.iterdir()) == [memory]

    def test_a_crash_while_saving_leaves_the_old_map(self, tmp_path, monkeypatch):
        memory = tmp_path / "map.json"
        robot = house.MapVacuum(memory)
        run_episode(robot, house.House(seed=5), 50)
        robot.save()
        before = memory.read_bytes()
        run_episode(robot, house.House(seed=5), 50)
        monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("power cut")))
        with pytest.raises(OSError):
            robot.save()
        assert memory.read_bytes() == before

    @pytest.mark.parametrize("text", ["", "{", '{"cells": 3}', '{"cells": [[1]]}', "[]"])
    def test_a_broken_memory_says_what_to_do(self, tmp_path, text):
        memory = tmp_path / "map.json"
        memory.write_text(text, encoding="utf-8")
        with pytest.raises(BadRequest, match="Delete it"):
            house.MapVacuum(memory)

    def test_no_memory_file_is_said_when_saving(self):
        with pytest.raises(BadRequest, match="no memory file"):
            house.MapVacuum().save()

    def test_the_asked_room_is_cleaned_first(self):
        robot = house.MapVacuum(read=lambda text: "bathroom")
        run_episode(robot, house.House(seed=6), 300)
        robot.new_day()
        home = house.House(seed=6, day=1, asked="bathroom", request="the one with the shower")
        while robot.first is None or home.score() < 1:
            home.step(robot.act(home.percept()))
        assert home.dirt  # done there, and not yet elsewhere


class TestTown:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_a_star_finds_ways_as_short_as_dijkstra(self, seed):
        import networkx as nx
        city = town.Town(seed)
        exact = nx.single_source_dijkstra_path_length(city.streets, city.depot, weight="minutes")
        assert all(city.minutes(city.depot, corner) == exact[corner] for corner in city.where.values())

    @pytest.mark.parametrize("seed", SEEDS)
    def test_the_plan_is_as_good_as_trying_every_order(self, seed):
        chance, city = random.Random(seed), town.Town(seed)
        orders = [town.Order(o.address, chance.randint(30, 200)) for o in list(city.orders.values())[:5]]
        stops = town.plan(city, city.depot, 0, orders)
        assert {order for order, _ in stops} == set(orders)
        assert _cost(city, [order for order, _ in stops]) == min(
            _cost(city, order) for order in itertools.permutations(orders))

    def test_arrivals_are_when_the_drive_ends(self):
        city = town.Town(seed=2)
        stops = town.plan(city, city.depot, 0, list(city.orders.values()))
        at, minute = city.depot, 0
        for order, arrive in stops:
            minute += city.minutes(at, city.where[order.address]) + town.UNLOAD
            at = city.where[order.address]
            assert arrive == minute

    def test_planning_beats_nearest_first(self):
        scores = compare({"near": lambda s: town.NearestCourier(), "plan": lambda s: town.PlanningCourier()},
                         town.Town, 10, SEEDS)
        gain = [plan - near for near, plan in zip(*scores.values(), strict=True)]
        assert interval(gain)[1] > 0 and min(gain) >= 0

    def test_a_misread_address_costs_the_drive_and_is_not_tried_again(self):
        orders = {"a": town.Order("bakery", 500), "b": town.Order("school", 500)}
        wrong = {"a": town.Order("museum", 500), "b": town.Order("school", 500)}
        city = town.Town(seed=1, messages=orders)
        episode = run_episode(town.PlanningCourier(read=wrong.get), city, 20)
        assert sorted(episode.actions) == ["museum", "school"] and episode.score == 0.5

    def test_nothing_to_deliver_is_no_plan(self):
        city = town.Town()
        assert town.plan(city, city.depot, 0, []) == []
        with pytest.raises(ValueError, match="bakery"):
            city.step("moon")

    def test_clock(self):
        assert town.clock(0) == "08:00" and town.clock(125) == "10:05"


def _cost(city: town.Town, orders) -> tuple[int, int]:
    """(late deliveries, sum of arrivals) of this order of stops: what plan() makes small."""
    at, minute, late, total = city.depot, 0, 0, 0
    for order in orders:
        minute += city.minutes(at, city.where[order.address]) + town.UNLOAD
        at = city.where[order.address]
        late, total = late + (minute > order.deadline), total + minute
    return late, total


class TestCanteen:
    def test_learning_beats_the_fixed_favourite(self):
        favourite = canteen.FixedCook()
        scores = compare({"fixed": lambda s: favourite, "learning": canteen.LearningCook},
                         canteen.Canteen, 100, range(100))
        gain = [learning - fixed for fixed, learning in zip(*scores.values(), strict=True)]
        assert interval(gain)[1] > 0

    def test_it_gets_better_with_feedback_and_not_without(self):
        def halves(cook_of):
            guests = [canteen.Canteen(seed) for seed in range(60)]
            for seed, guest in enumerate(guests):
                run_episode(cook_of(seed), guest, 100)
            return (sum(sum(g.history[:20]) / 20 for g in guests) / 60,
                    sum(sum(g.history[-20:]) / 20 for g in guests) / 60)
        early, late = halves(canteen.LearningCook)
        assert late > early + 0.1
        early, late = halves(lambda seed: canteen.LearningCook(seed, read=lambda _: None))
        assert abs(late - early) < 0.05

    def test_the_belief_is_bayesian_linear_regression(self):
        import numpy as np
        cook, chance = canteen.LearningCook(noise=0.5), np.random.default_rng(0)
        x = np.column_stack([np.ones(40), chance.random((40, 5))])
        y = chance.random(40)
        for row, reward in zip(x, y, strict=True):
            cook.learn(row[1:], reward)
        mean = np.linalg.solve(cook.precision, cook.evidence)
        ridge = np.linalg.solve(x.T @ x + 0.25 * np.eye(6), x.T @ (y - 0.5))
        assert np.allclose(mean, ridge)

    def test_words_stand_for_the_answer(self):
        guest = canteen.Canteen(seed=1, words={1: ["yum"], 0: ["meh"]})
        guest.step("pancakes")
        assert guest.percept().answer in ("yum", "meh")
        with pytest.raises(ValueError, match="pancakes"):
            guest.step("stone soup")


def test_every_world_can_be_drawn():
    day = room.Room(seed=1)
    run_episode(room.Thermostat(), day, room.DAY)
    robot, home = house.MapVacuum(), house.House(seed=1)
    run_episode(robot, home, 30)
    city = town.Town(seed=1)
    run_episode(town.PlanningCourier(), city, 10)
    guests = [canteen.Canteen(seed) for seed in range(3)]
    for seed, guest in enumerate(guests):
        run_episode(canteen.LearningCook(seed), guest, 30)
    figures = [room.draw({"a": day}), house.draw(home, {"now": (robot.map, home.at)}), town.draw({"a": city}),
               canteen.draw({"learning": [guest.history for guest in guests]})]
    for figure in figures:
        figure.canvas.draw()
        assert any(axis.lines or axis.patches for axis in figure.axes)
