"""A rubric: thresholds for the figures of a report, each with its evidence. It grades the capstone."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from labkit import yaml_file
from labkit.data import data_folder
from labkit.table import Shown, Table

PASS, FAIL, NOT = "pass", "FAIL", "not measured"


class Line(BaseModel):
    """figure: where it stands in the report's JSON, like latency.p95_s. unit: for people."""

    model_config = ConfigDict(extra="forbid")
    what: str
    figure: str = Field(pattern=r"^[a-z0-9_.]+$")
    at_least: float | None = None
    at_most: float | None = None
    unit: str = ""
    points: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _one_limit(self) -> Line:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("give either at_least or at_most")
        return self


class Rubric(BaseModel):
    """The file data/capstone/rubric.yaml, or one of your own."""

    model_config = ConfigDict(extra="forbid")
    name: str
    lines: list[Line] = Field(min_length=1)


@dataclass(frozen=True)
class Graded:
    """A line, and what the report says of it. value: None where it was not measured."""

    what: str
    status: str
    points: int
    value: float | None
    evidence: str


@dataclass(frozen=True, repr=False)
class Grade(Shown):
    """What was not measured has no points: a report with parts left out cannot pass."""

    name: str
    lines: tuple[Graded, ...]

    @property
    def points(self) -> int:
        return sum(line.points for line in self.lines if line.status == PASS)

    @property
    def of(self) -> int:
        return sum(line.points for line in self.lines)

    def table(self) -> Table:
        rows = tuple((line.what, line.status, line.evidence) for line in self.lines)
        return Table(("line", "", "evidence"), rows, title=self.name, note=f"{self.points} of {self.of} points.")

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "points": self.points, "of": self.of, "lines": [asdict(line) for line in self.lines]}


def read_rubric(path: str | Path | None = None) -> Rubric:
    """The rubric of a file, or the capstone's. Raises BadRequest with line and field."""
    return yaml_file.read(path or data_folder("capstone") / "rubric.yaml", Rubric)


def grade(found: Mapping[str, Any], rubric: Rubric | None = None) -> Grade:
    """Grade a report, given as its dict (Card.to_dict(), or the JSON file read)."""
    rubric = rubric or read_rubric()
    return Grade(rubric.name, tuple(_graded(line, found) for line in rubric.lines))


def _graded(line: Line, found: Mapping[str, Any]) -> Graded:
    value, why = _figure(found, line.figure)
    if value is None:
        return Graded(line.what, NOT, line.points, None, why)
    good = value >= line.at_least if line.at_least is not None else value <= line.at_most
    limit = f"at least {line.at_least:g}" if line.at_least is not None else f"at most {line.at_most:g}"
    unit = f" {line.unit}" if line.unit else ""
    return Graded(line.what, PASS if good else FAIL, line.points, value,
                  f"{line.figure} = {value:.4g}{unit}, wanted {limit}{unit}")


def _figure(found: Mapping[str, Any], path: str) -> tuple[float | None, str]:
    """(the number at a path like latency.p95_s, or None; why there is none)."""
    value: Any = found
    for name in path.split("."):
        if isinstance(value, Mapping) and "not_run" in value:
            return None, f"{path}: not run: {value['not_run']}"
        if not isinstance(value, Mapping) or name not in value:
            return None, f"{path}: the report has no such figure"
        value = value[name]
    if not isinstance(value, bool | int | float):
        return None, f"{path}: the report has no number there"
    return float(value), ""
