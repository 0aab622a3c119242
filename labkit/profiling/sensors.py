"""What the machine is doing now: processor, memory, GPU, battery, heat. What has no sensor is told with its reason.

A figure that cannot be measured is missing, never 0: a 0 would be averaged, drawn and believed.
"""
from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psutil

from labkit.models.hardware import usable_memory
from labkit.profiling.memory import rss
from labkit.table import Shown, Table, size

UNITS = {  # every figure there can be
    "cpu_percent": "% of the machine's processors, since the last look",
    "rss_bytes": "resident memory of this process",
    "free_memory_bytes": "memory that this process could still take",
    "gpu_percent": "% of the time that the busiest GPU computed",
    "gpu_memory_bytes": "used on all GPUs",
    "gpu_celsius": "the hottest GPU",
    "battery_percent": "% of the battery",
    "plugged": "1 on mains, 0 on battery",
    "celsius": "the hottest sensor of the machine",
}


@dataclass(frozen=True, repr=False)
class Readings(Shown):
    """figures: name -> value, of those in UNITS. missing: name -> why there is none."""

    figures: Mapping[str, float]
    missing: Mapping[str, str]

    def table(self) -> Table:
        rows = [(name, _text(name, self.figures[name]) if name in self.figures else "–",
                 about if name in self.figures else self.missing[name]) for name, about in UNITS.items()]
        return Table(("figure", "value", "what"), tuple(rows))

    def to_dict(self) -> dict[str, Any]:
        return {"figures": dict(self.figures), "missing": dict(self.missing)}


def _text(name: str, value: float) -> str:
    if name.endswith("_bytes"):
        return size(value)
    unit = " °C" if name.endswith("celsius") else " %" if name.endswith("percent") else ""
    return f"{value:.0f}{unit}"


class Sensors:
    """Reads the machine. Keep one: the processor's figure is of the time since its last `read`."""

    def __init__(self):
        self._before = _processor_times()

    def read(self) -> Readings:
        """Everything now; takes some milliseconds."""
        figures: dict[str, float] = {"rss_bytes": rss(), "free_memory_bytes": usable_memory()}
        missing: dict[str, str] = {}
        for names, sensor in ((("cpu_percent",), self._processor), (("battery_percent", "plugged"), _battery),
                              (("celsius",), _heat), (("gpu_percent", "gpu_memory_bytes", "gpu_celsius"), _gpu)):
            found = sensor()
            if isinstance(found, str):
                missing |= dict.fromkeys(names, found)
            else:
                figures |= found
                missing |= dict.fromkeys(set(names) - set(found), "this one does not tell")
        return Readings(figures, missing)

    def _processor(self) -> dict[str, float] | str:
        before, self._before = self._before, _processor_times()
        total, idle = (now - then for now, then in zip(self._before, before, strict=True))
        if total <= 0:
            return "no time has passed since the last look"
        return {"cpu_percent": 100 * min(1.0, max(0.0, 1 - idle / total))}


def _processor_times() -> tuple[float, float]:
    """(all, idle) seconds of all processors since the machine started."""
    times = psutil.cpu_times()
    # Linux counts what guests used a second time, inside user and nice.
    total = sum(times) - getattr(times, "guest", 0) - getattr(times, "guest_nice", 0)
    return total, times.idle + getattr(times, "iowait", 0)


def _battery() -> dict[str, float] | str:
    try:
        battery = psutil.sensors_battery()
    except (AttributeError, OSError, psutil.Error):
        return f"{sys.platform} does not tell"
    if battery is None:
        return "no battery"
    plugged = {} if battery.power_plugged is None else {"plugged": float(battery.power_plugged)}
    return {"battery_percent": battery.percent, **plugged}


def _heat() -> dict[str, float] | str:
    try:
        sensors = psutil.sensors_temperatures()
    except (AttributeError, OSError, psutil.Error):
        return f"psutil reads no temperatures on {sys.platform}"
    # A sensor that is not connected says 0 or less.
    found = [entry.current for entries in sensors.values() for entry in entries if entry.current and entry.current > 0]
    return {"celsius": max(found)} if found else "no sensor in this machine (virtual machines show none)"


def _gpu() -> dict[str, float] | str:
    """NVML's figures of all NVIDIA GPUs. Others are not read."""
    try:
        import pynvml
    except ImportError:
        return "nvidia-ml-py is not installed. For an NVIDIA GPU, run: pip install nvidia-ml-py"
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return f"no NVIDIA GPU here ({error})"
    try:
        return _of_gpus(pynvml)
    except pynvml.NVMLError as error:
        return f"the GPU does not answer ({error})"
    finally:
        pynvml.nvmlShutdown()


def _of_gpus(nvml: Any) -> dict[str, float] | str:
    gpus = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
    if not gpus:
        return "no NVIDIA GPU here"
    readers = {"gpu_percent": (max, lambda gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu),
               "gpu_memory_bytes": (sum, lambda gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).used),
               "gpu_celsius": (max, lambda gpu: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU))}
    figures = {}
    for name, (over_all, reader) in readers.items():
        try:
            figures[name] = float(over_all([reader(gpu) for gpu in gpus]))
        except nvml.NVMLError:  # with MIG there is no utilisation
            continue
    return figures or "no GPU tells anything"
