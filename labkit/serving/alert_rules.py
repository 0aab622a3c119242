"""Alerts in a YAML file, and what they can do by name. A file can name figures and actions; it cannot run anything.

    alerts:
      - name: long queue
        figure: requests_waiting
        above: 20                  # or below:
        until: 5                   # where it is over; at the limit itself without it
        for_s: 10                  # begins when it has been so for 10 s
        action: stop taking work
      - {name: idle, figure: requests_per_s, below: 0.001, for_s: 600, action: unload the model}
"""
from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from labkit import yaml_file
from labkit.profiling import sensors
from labkit.serving import window
from labkit.serving.alerts import Alerts, Rule
from labkit.serving.generation import Service

FIGURES = {**window.UNITS, **sensors.UNITS}
STOP, SHRINK, UNLOAD = "stop taking work", "shrink the model", "unload the model"
SMALLER = "Q4_0"


class Entry(BaseModel):
    """One alert of the file. action: nothing but the log, the history and /health/why, if None."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=60)
    figure: str
    above: float | None = None
    below: float | None = None
    until: float | None = None
    for_s: float = Field(0.0, ge=0)
    action: Literal["stop taking work", "shrink the model", "unload the model"] | None = None

    @model_validator(mode="after")
    def _makes_sense(self):
        if self.figure not in FIGURES:
            raise ValueError(f"there is no figure {self.figure!r}. Use one of: {', '.join(FIGURES)}")
        if (self.above is None) == (self.below is None):
            raise ValueError("give either above: or below:, the limit")
        self.rule(None)
        return self

    def rule(self, service: Service | None) -> Rule:
        """The rule, acting on a service."""
        above = self.above is not None
        action = undo = None
        if self.action == STOP:
            why = f"the alert {self.name!r} is on"
            action, undo = lambda _: service.admission.pauses.add(why), lambda: service.admission.pauses.discard(why)
        elif self.action == SHRINK:
            action = lambda _: service.shrink(SMALLER)  # noqa: E731
        elif self.action == UNLOAD:
            action = lambda _: service.unload()  # noqa: E731
        return Rule(self.name, self.figure, self.above if above else self.below, above, self.until, self.for_s,
                    action, undo)


class AlertsFile(BaseModel):
    model_config = ConfigDict(extra="forbid")
    alerts: list[Entry] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_differ(self):
        Alerts([entry.rule(None) for entry in self.alerts])
        return self


def load(path: str | Path) -> list[Entry]:
    """The alerts of a file. Raises BadRequest with the line of what is wrong."""
    return yaml_file.read(path, AlertsFile).alerts


def parse(text: str) -> list[Entry]:
    """As load(), from a text."""
    return yaml_file.parse(text, AlertsFile, "the alerts").alerts
