"""What the work costs here and would cost in the cloud: the same tokens at a list price, against electricity."""
from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from labkit import yaml_file
from labkit.agents.routing import Price
from labkit.backends.reply import Usage
from labkit.data import data_folder
from labkit.profiling.energy import Energy

REQUESTS = 1000  # all costs are of so many
JOULES_PER_KWH = 3.6e6


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CloudModel(_Part):
    """read, written: of a million tokens. seen: when that was its price; source: where."""

    name: str
    read: float = Field(ge=0)
    written: float = Field(ge=0)
    seen: datetime.date
    source: str


class Electricity(_Part):
    """watts: assumed where the machine does not measure its energy."""

    per_kwh: float = Field(ge=0)
    watts: float = Field(gt=0)


class Prices(_Part):
    """The file data/prices/cloud.yaml. The report compares with the first model."""

    currency: str
    models: list[CloudModel] = Field(min_length=1)
    electricity: Electricity


def read_prices(path: str | Path | None = None) -> Prices:
    """The prices of a file, or the course's own. Raises BadRequest with line and field."""
    return yaml_file.read(path or data_folder("prices") / "cloud.yaml", Prices)


def compare(prices: Prices, usages: Sequence[Usage], seconds: float, energy: Energy) -> dict[str, Any]:
    """Of a thousand requests like these. seconds: of all of them. energy: measured, or the reason why not."""
    n, used = len(usages), sum(usages, Usage())
    measured = energy.joules is not None
    joules = (energy.joules if measured else prices.electricity.watts * seconds) / n
    kwh = joules * REQUESTS / JOULES_PER_KWH
    cloud = [{"name": model.name, "cost": Price(model.read, model.written).of(used) / n * REQUESTS,
              "read": model.read, "written": model.written, "seen": str(model.seen), "source": model.source}
             for model in prices.models]
    return {"requests": REQUESTS, "currency": prices.currency, "cloud": cloud,
            "here": {"cost": kwh * prices.electricity.per_kwh, "kwh": kwh, "joules_per_request": joules,
                     "measured": measured, "per_kwh": prices.electricity.per_kwh,
                     "watts": None if measured else prices.electricity.watts}}
