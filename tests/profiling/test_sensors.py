"""The machine's figures: measured where there is a sensor, told with the reason where there is none."""
from __future__ import annotations

import sys
import types

import psutil
import pytest

from labkit.profiling import sensors
from labkit.profiling.sensors import UNITS, Sensors


def test_every_figure_is_there_or_says_why():
    found = Sensors().read()
    assert set(found.figures) | set(found.missing) == set(UNITS) and not set(found.figures) & set(found.missing)
    assert found.figures["rss_bytes"] > 10e6 and found.figures["free_memory_bytes"] > 0
    assert all(found.missing.values())
    assert all(name in str(found) for name in UNITS)


def test_the_processor_is_busy_when_it_is():
    looking = Sensors()
    before = psutil.cpu_times()
    while sum(psutil.cpu_times()) - sum(before) < 0.5:
        pass
    assert 0 < looking.read().figures["cpu_percent"] <= 100


def test_no_time_no_figure(monkeypatch):
    monkeypatch.setattr(sensors, "_processor_times", lambda: (100.0, 50.0))
    found = Sensors().read()
    assert "cpu_percent" not in found.figures and "no time has passed" in found.missing["cpu_percent"]


def test_a_battery_and_heat_where_there_are_some(monkeypatch):
    """This machine may have neither: psutil's answers are played."""
    plug = types.SimpleNamespace(percent=41.0, power_plugged=False)
    entry = types.SimpleNamespace
    monkeypatch.setattr(psutil, "sensors_battery", lambda: plug, raising=False)
    monkeypatch.setattr(psutil, "sensors_temperatures", raising=False,
                        value=lambda: {"a": [entry(current=0.0), entry(current=-40.0)], "b": [entry(current=61.5)]})
    figures = Sensors().read().figures
    assert (figures["battery_percent"], figures["plugged"], figures["celsius"]) == (41.0, 0.0, 61.5)
    plug.power_plugged = None
    found = Sensors().read()
    assert "plugged" not in found.figures and found.missing["plugged"] == "this one does not tell"


def test_without_them_the_reason(monkeypatch):
    monkeypatch.setattr(psutil, "sensors_battery", lambda: None, raising=False)
    monkeypatch.delattr(psutil, "sensors_temperatures", raising=False)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    missing = Sensors().read().missing
    assert missing["battery_percent"] == missing["plugged"] == "no battery"
    assert missing["celsius"] == f"psutil reads no temperatures on {sys.platform}"
    assert "pip install nvidia-ml-py" in missing["gpu_percent"]


class Nvml(types.ModuleType):
    """Plays NVML with two GPUs, for a machine that has none. MIG has no utilisation."""

    class NVMLError(Exception):
        pass

    NVML_TEMPERATURE_GPU = 0

    def __init__(self, gpus=(0, 1), driver=True, mig=False):
        super().__init__("pynvml")
        self.gpus, self.driver, self.mig, self.open = gpus, driver, mig, 0

    def nvmlInit(self):
        if not self.driver:
            raise self.NVMLError("Driver Not Loaded")
        self.open += 1

    def nvmlShutdown(self):
        self.open -= 1

    def nvmlDeviceGetCount(self):
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, i):
        return self.gpus[i]

    def nvmlDeviceGetUtilizationRates(self, gpu):
        if self.mig:
            raise self.NVMLError("Not Supported")
        return types.SimpleNamespace(gpu=(30, 80)[gpu])

    def nvmlDeviceGetMemoryInfo(self, gpu):
        return types.SimpleNamespace(used=(1e9, 2e9)[gpu])

    def nvmlDeviceGetTemperature(self, gpu, kind):
        return (70, 55)[gpu]


@pytest.mark.parametrize("nvml, figures, reason", [
    (Nvml(), {"gpu_percent": 80.0, "gpu_memory_bytes": 3e9, "gpu_celsius": 70.0}, ""),
    (Nvml(mig=True), {"gpu_memory_bytes": 3e9, "gpu_celsius": 70.0}, "this one does not tell"),
    (Nvml(driver=False), {}, "no NVIDIA GPU here (Driver Not Loaded)"),
    (Nvml(gpus=()), {}, "no NVIDIA GPU here"),
])
def test_gpus(monkeypatch, nvml, figures, reason):
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    found = Sensors().read()
    assert {name: value for name, value in found.figures.items() if name.startswith("gpu")} == figures
    assert found.missing.get("gpu_percent", "") == reason
    assert nvml.open == 0
