"""A house seen a few cells at a time, and robot vacuums: reflex, and model-based with a map that lasts.

Cells are (row, column). One step is one move or one cell cleaned.
"""
from __future__ import annotations

import json
import os
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.errors import BadRequest

Cell = tuple[int, int]
PLAN = """
###############
#kkkk#lllllll##
#kkkk#llllllll#
#kkkkkllllllll#
#kkkk#llllllll#
##k#####l######
#tttt#bbbbbbbb#
#tttttbbbbbbbb#
#tttt#bbbbbbbb#
#tttt#bbbbbbbb#
###############
""".strip().splitlines()
ROOMS = {"k": "kitchen", "l": "living room", "b": "bedroom", "t": "bathroom"}
MOVES = {"north": (-1, 0), "south": (1, 0), "west": (0, -1), "east": (0, 1)}


@dataclass(frozen=True)
class HousePercept:
    """Where the robot is, the room's name, and the cells around it (3 x 3): "wall", "floor" or "dirt"."""

    at: Cell
    room: str
    seen: Mapping[Cell, str]
    request: str | None = None


class House:
    """Furniture and dirt differ by seed. Actions: "north", "south", "west", "east", "clean".

    day: same furniture every day, new dirt. asked: a room somebody waits for; then only its dirt counts.
    """

    def __init__(self, seed: int = 0, day: int = 0, asked: str | None = None, request: str | None = None):
        floor = {(r, c): ROOMS[ch] for r, row in enumerate(PLAN) for c, ch in enumerate(row) if ch in ROOMS}
        self.size = (len(PLAN), len(PLAN[0]))
        self.at, self.asked, self.request = (3, 6), asked, request
        self.floor = _furnish(floor, random.Random(seed), self.at)
        spots = sorted(set(self.floor) - {self.at})
        self.dirt = set(random.Random(f"{seed}/{day}").sample(spots, 24))
        self.at_first = frozenset(self.dirt)
        self.trail = [self.at]

    def percept(self) -> HousePercept:
        r, c = self.at
        around = [(r + i, c + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        seen = {cell: self._look(cell) for cell in around}
        return HousePercept(self.at, self.floor[self.at], seen, self.request)

    def _look(self, cell: Cell) -> str:
        if cell in self.dirt:
            return "dirt"
        return "floor" if cell in self.floor else "wall"

    def step(self, action: str) -> None:
        """Walking into a wall costs the step and moves nothing."""
        if action == "clean":
            self.dirt.discard(self.at)
        elif action in MOVES:
            there = (self.at[0] + MOVES[action][0], self.at[1] + MOVES[action][1])
            self.at = there if there in self.floor else self.at
        else:
            raise ValueError(f"A house knows the actions clean, {', '.join(MOVES)}; not {action!r}")
        self.trail.append(self.at)

    def score(self) -> float:
        """Share of the dirt that is gone (of the asked room, if one was asked for)."""
        wanted = [cell for cell in self.at_first if self.asked in (None, self.floor[cell])]
        return sum(cell not in self.dirt for cell in wanted) / len(wanted) if wanted else 1.0


def _furnish(floor: dict[Cell, str], chance: random.Random, start: Cell) -> dict[Cell, str]:
    """Put ten pieces of furniture where every remaining cell can still be reached."""
    floor, placed = dict(floor), 0
    for cell in chance.sample(sorted(set(floor) - {start}), len(floor) - 1):
        rest = {c: room for c, room in floor.items() if c != cell}
        if placed < 10 and len(_distances(start, rest)) == len(rest):
            floor, placed = rest, placed + 1
    return floor


def _distances(start: Cell, floor) -> dict[Cell, Cell | None]:
    """Breadth-first: every reachable cell, nearest first, with the cell before it on a shortest way."""
    before: dict[Cell, Cell | None] = {start: None}
    queue = deque([start])
    while queue:
        r, c = queue.popleft()
        for i, j in MOVES.values():
            if (r + i, c + j) in floor and (r + i, c + j) not in before:
                before[r + i, c + j] = (r, c)
                queue.append((r + i, c + j))
    return before


class ReflexVacuum:
    """Cleans what is under it, else moves by chance to a free cell. It remembers nothing."""

    def __init__(self, seed: int = 0):
        self.random = random.Random(seed)

    def act(self, percept: HousePercept) -> str:
        if percept.seen[percept.at] == "dirt":
            return "clean"
        (r, c), seen = percept.at, percept.seen
        return self.random.choice([m for m, (i, j) in MOVES.items() if seen[r + i, c + j] != "wall"])


class MapVacuum:
    """Keeps a map of what it saw and walks the shortest known way to what it wants next.

    memory: a file that keeps the map between runs; None keeps it in memory only.
    read: a function from a request to a room's name (None: cannot tell); without it requests are ignored.
    """

    def __init__(self, memory: Path | None = None, read: Callable[[str], str] | None = None):
        self.memory, self.read = memory, read
        self.map: dict[Cell, str] = {}
        self.rooms: dict[Cell, str] = {}
        self.first: str | None = None
        if memory and memory.exists():
            self._load(memory)

    def act(self, percept: HousePercept) -> str | None:
        if percept.request and self.read and self.first is None:
            self.first = self.read(percept.request)
        self.map.update(percept.seen)
        self.rooms[percept.at] = percept.room
        if percept.seen[percept.at] == "dirt":
            return "clean"
        way = self._way(percept.at)
        return way and next(m for m, (i, j) in MOVES.items() if (percept.at[0] + i, percept.at[1] + j) == way)

    def _way(self, at: Cell) -> Cell | None:
        """The next cell towards the best target, or None: all is clean as far as the map goes."""
        free = {cell for cell, what in self.map.items() if what != "wall"}
        before = _distances(at, free)  # nearest first
        asked = [c for c in before if self.first and self.rooms.get(c) == self.first and self._worth(c)]
        target = next(iter(asked), None) or next((c for c in before if self._worth(c)), None)
        while target and before[target] != at:
            target = before[target]
        return target

    def _worth(self, cell: Cell) -> bool:
        """Worth a visit: dirty, never entered, or not looked at since the last restart."""
        return self.map[cell] == "dirt" or cell not in self.rooms or self.map[cell] == "not seen today"

    def new_day(self) -> None:
        """Walls and rooms stay true over night. Dirt does not: every other cell counts as not seen today."""
        self.map = {cell: what if what == "wall" else "not seen today" for cell, what in self.map.items()}
        self.first = None

    def save(self) -> None:
        """Write the map beside the old file and swap them: a crash leaves one whole map, never half a one."""
        if self.memory is None:
            raise BadRequest("This robot has no memory file. Make it with MapVacuum(memory=Path(…)).")
        cells = [[r, c, what, self.rooms.get((r, c))] for (r, c), what in sorted(self.map.items())]
        fresh = self.memory.with_name(self.memory.name + ".new")
        fresh.write_text(json.dumps({"cells": cells}), encoding="utf-8")
        os.replace(fresh, self.memory)

    def _load(self, memory: Path) -> None:
        try:
            for r, c, what, room in json.loads(memory.read_text(encoding="utf-8"))["cells"]:
                self.map[r, c] = what
                if room:
                    self.rooms[r, c] = room
            self.new_day()
        except (ValueError, KeyError, TypeError) as error:
            message = f"{memory} is not a saved map ({error}). Delete it, and the robot maps anew."
            raise BadRequest(message) from error


def draw(house: House, frames: Mapping[str, tuple[Mapping[Cell, str], Cell]]) -> Any:
    """The true house beside what the robot believed at each frame: {title: (map, position)}."""
    from matplotlib.figure import Figure

    rows = -(-(1 + len(frames)) // 3)
    figure = Figure(figsize=(7.8, 2.1 * rows + 0.3), layout="constrained")
    axes = figure.subplots(rows, 3, squeeze=False).ravel()
    cells = [(r, c) for r in range(house.size[0]) for c in range(house.size[1])]
    truth = {cell: "dirt" if cell in house.at_first else house._look(cell) for cell in cells}
    views = {"the true house, at first": (truth, house.trail[0]), **frames}
    for axis, (title, (believed, at)) in zip(axes, views.items(), strict=False):
        _draw_grid(axis, house, believed, at, title)
    for axis in axes[len(views):]:
        axis.set_axis_off()
    key = "black: wall or furniture    hatched: not seen yet    star: dirt    disc: the robot"
    figure.supxlabel(key, fontsize=8)
    return figure


def _draw_grid(axis, house: House, believed: Mapping[Cell, str], at: Cell, title: str) -> None:
    from matplotlib.patches import Rectangle

    rows, columns = house.size
    look = {"wall": ("black", None), "floor": ("white", None), "dirt": ("white", None)}
    for r in range(rows):
        for c in range(columns):
            colour, hatch = look.get(believed.get((r, c)), ("0.85", "////"))
            axis.add_patch(Rectangle((c, r), 1, 1, facecolor=colour, hatch=hatch, edgecolor="0.7", lw=0.3))
    for r, c in (cell for cell, what in believed.items() if what == "dirt"):
        axis.plot(c + 0.5, r + 0.5, "k*", ms=6)
    axis.plot(at[1] + 0.5, at[0] + 0.5, "o", ms=7, mfc="0.6", mec="black")
    axis.set(xlim=(0, columns), ylim=(rows, 0), xticks=[], yticks=[], aspect="equal")
    axis.spines[:].set_visible(False)
    axis.set_title(title, fontsize=9, loc="left")
