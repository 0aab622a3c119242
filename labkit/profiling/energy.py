"""Energy, where the machine reports it. Where it does not, the reason is given and never a zero.

The counters are the processor package's: everything that ran meanwhile is in the figure.
"""
from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Energy:
    """joules, or None and the `reason`; battery_percent is what an unplugged battery lost."""

    joules: float | None = None
    source: str = ""
    reason: str = ""
    battery_percent: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        if self.joules is not None:
            return f"{self.joules:.3g} J ({self.source})"
        if self.battery_percent:
            return f"{self.battery_percent:.3g} % of the battery"
        return f"not available: {self.reason}"


class EnergyMeter:
    """Counts from its creation. Call `poll` at least every few minutes: the counters wrap."""

    def __init__(self, powercap: Path = POWERCAP):
        self._zones, self._reason = _packages(powercap)
        self._joules = 0.0
        self._last = {zone: _counter(zone) for zone in self._zones}
        self._battery = _unplugged_percent()

    def poll(self) -> None:
        for zone, before in self._last.items():
            now = _counter(zone)
            # The counter restarts at 0 after max_energy_range_uj (minutes to hours under load).
            step = now - before if now >= before else now - before + _number(zone / "max_energy_range_uj")
            self._joules += step / 1e6
            self._last[zone] = now

    def read(self) -> Energy:
        """What was used since the meter was made."""
        self.poll()
        if self._zones:
            return Energy(self._joules, f"RAPL, {len(self._zones)} package(s)")
        now = _unplugged_percent()
        used = None if now is None or self._battery is None else max(0.0, self._battery - now)
        return Energy(reason=self._reason, battery_percent=used or None)


def _packages(powercap: Path) -> tuple[list[Path], str]:
    """The readable package zones, or none and why. Sub-zones (cores, DRAM) would count twice."""
    if not sys.platform.startswith("linux"):
        return [], _elsewhere()
    zones = [zone for zone in sorted(powercap.glob("*:*")) if _name(zone).startswith("package")]
    if not zones:
        return [], "no energy counter in /sys/class/powercap (virtual machines and most boards have none)"
    try:
        for zone in zones:
            _counter(zone)
    except OSError:
        return [], "only root may read the energy counter (sudo chmod a+r /sys/class/powercap/*/energy_uj)"
    return zones, ""


def _elsewhere() -> str:
    if sys.platform == "darwin":
        return "macOS gives energy to its powermetrics tool only, which needs root"
    return f"{sys.platform} gives no energy counter to a normal process"


def _name(zone: Path) -> str:
    try:
        return (zone / "name").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _counter(zone: Path) -> int:
    """Microjoules. Raises PermissionError where only root may read it."""
    return _number(zone / "energy_uj")


def _number(path: Path) -> int:
    return int(path.read_text(encoding="utf-8"))


def _unplugged_percent() -> float | None:
    try:
        battery = psutil.sensors_battery()
    except (AttributeError, OSError, psutil.Error):  # not every system has the call
        return None
    return battery.percent if battery and battery.power_plugged is False else None
