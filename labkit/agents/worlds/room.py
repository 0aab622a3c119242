"""A heated room over a day, and thermostats: the simple reflex agent.

The room loses heat in proportion to how much warmer it is than outside (Newton's law of cooling):
dT/dt = (T_outside - T) / tau + heater. One step is one minute.
"""
from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DAY = 24 * 60            # minutes
TAU = 180.0              # minutes: how slowly the closed room follows the outside
HEATER = 0.17            # °C per minute while the burner is on
COMFORT = 1.0            # °C either side of the wish that a person accepts
NOTE_EVERY = 60          # minutes between two notes


@dataclass(frozen=True)
class RoomPercept:
    """What a thermostat senses: the temperature (°C), its own relay and dial (°C), and perhaps a note."""

    temperature: float
    heating: bool
    dial: float
    note: str | None = None


class Room:
    """One day in a room. Actions: "heat", "off", and "warmer" / "cooler", which turn the dial by 1 °C.

    wish: what the person in it wants (°C); the thermostat cannot sense it.
    notes: texts per feeling ("cold", "fine", "warm"); the person writes one every hour.
    """

    actions = ("heat", "off", "warmer", "cooler")

    def __init__(self, seed: int = 0, wish: float | None = None,
                 notes: Mapping[str, Sequence[str]] | None = None):
        self.random = random.Random(seed)
        self.wish = 20.0 if wish is None else wish
        self.notes = notes
        self.temperature, self.heating, self.dial = 19.0, False, 20.0
        self.mean_outside = self.random.uniform(0, 8)
        self.window_opens = self.random.randrange(9 * 60, 19 * 60)
        self.minute = self.starts = self.comfortable = 0
        self.history: list[tuple[float, float, bool, float]] = []  # inside, outside, heating, dial

    @property
    def outside(self) -> float:
        """Outside temperature (°C): coldest at 05:00, warmest at 17:00."""
        return self.mean_outside - 5 * math.cos((self.minute - 5 * 60) / DAY * 2 * math.pi)

    @property
    def window_open(self) -> bool:
        return 0 <= self.minute - self.window_opens < 20

    def feeling(self) -> str:
        """What the person feels: "cold", "fine" or "warm"."""
        if abs(self.temperature - self.wish) <= COMFORT:
            return "fine"
        return "cold" if self.temperature < self.wish else "warm"

    def percept(self) -> RoomPercept:
        """The thermometer is off by a little each time (sd 0.05 °C), as real ones are."""
        note = None
        if self.notes and self.minute % NOTE_EVERY == NOTE_EVERY - 1:
            note = self.random.choice(self.notes[self.feeling()])
        return RoomPercept(self.temperature + self.random.gauss(0, 0.05), self.heating, self.dial, note)

    def step(self, action: str) -> None:
        if action not in self.actions:
            raise ValueError(f"A room knows the actions {', '.join(self.actions)}; not {action!r}")
        if action in ("warmer", "cooler"):
            self.dial = min(28.0, max(12.0, self.dial + (1 if action == "warmer" else -1)))
        else:
            self.starts += action == "heat" and not self.heating
            self.heating = action == "heat"
        loss = (self.outside - self.temperature) / TAU * (4 if self.window_open else 1)
        self.temperature += loss + (HEATER if self.heating else 0.0)
        self.comfortable += self.feeling() == "fine"
        self.history.append((self.temperature, self.outside, self.heating, self.dial))
        self.minute += 1

    def score(self) -> float:
        """Comfortable minutes, less one for each start of the burner (wear), as a share of all minutes."""
        return max(0.0, (self.comfortable - self.starts) / max(1, self.minute))


class Thermostat:
    """A rule, and nothing else: it remembers nothing, so equal percepts give equal actions.

    band: °C either side of the dial in which the relay stays as it is (hysteresis).
    read: from a note to "cold", "fine" or "warm" (None: cannot tell); without it notes are ignored.
    """

    def __init__(self, band: float = 0.5, read: Callable[[str], str] | None = None):
        self.band, self.read = band, read

    def act(self, percept: RoomPercept) -> str:
        if percept.note and self.read:
            turn = {"cold": "warmer", "warm": "cooler"}.get(self.read(percept.note))
            if turn:
                return turn
        if percept.temperature < percept.dial - self.band:
            return "heat"
        if percept.temperature > percept.dial + self.band:
            return "off"
        return "heat" if percept.heating else "off"


class CoinFlip:
    """Heats or not by chance: what no rule at all is worth."""

    def __init__(self, seed: int = 0):
        self.random = random.Random(seed)

    def act(self, percept: RoomPercept) -> str:
        return self.random.choice(("heat", "off"))


def draw(rooms: Mapping[str, Room]) -> Any:
    """A panel per room: its temperature, the comfort zone, the burner. Below, the weather they share."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 1.7 * len(rooms) + 1.3), layout="constrained")
    axes = figure.subplots(len(rooms) + 1, 1, sharex=True, height_ratios=[1.7] * len(rooms) + [1])
    hours = [minute / 60 for minute in range(DAY)]
    for axis, (name, room) in zip(axes, rooms.items(), strict=False):
        inside, _, heating, dial = zip(*room.history, strict=True)
        low = room.wish - 4
        axis.axhspan(room.wish - COMFORT, room.wish + COMFORT, color="0.88")
        axis.text(0.2, room.wish + 1.1, "grey: comfortable", fontsize=8, color="0.3")
        axis.plot(hours[:len(inside)], inside, color="black", lw=1, ls="-", marker="")
        axis.plot(hours[:len(dial)], dial, color="0.5", lw=1, ls=":", marker="")
        axis.fill_between(hours[:len(inside)], low, low + 0.8, where=heating, fc="black", step="post", lw=0)
        axis.text(0.2, low + 1, "burner on", fontsize=8)
        axis.set(ylabel="inside (°C)", ylim=(low - 0.2, room.wish + 2.6))
        axis.set_title(f"{name}: {room.starts} starts, score {room.score():.2f}", fontsize=10, loc="left")
        axis.annotate("window open", (room.window_opens / 60, room.wish + 1.2), fontsize=8, color="0.3")
        axis.axvline(room.window_opens / 60, color="0.6", lw=0.8, ls="-")
    outside = [weather for _, weather, *_ in next(iter(rooms.values())).history]
    axes[-1].plot(hours[:len(outside)], outside, color="0.3", lw=1.2, ls="--", marker="")
    axes[-1].set(ylabel="outside (°C)", xlabel="hour of the day", xlim=(0, 24), xticks=range(0, 25, 3))
    return figure
