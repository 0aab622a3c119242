"""Memory, processor share and energy of a block."""
from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest

from labkit.profiling import energy, memory
from labkit.profiling.measure import profile

MB = 10**6


def test_peak_is_never_below_now():
    block = np.ones(40 * MB, dtype=np.uint8)
    assert memory.peak_rss() >= memory.rss() > block.nbytes


def test_the_peak_outlives_the_memory():
    np.ones(300 * MB, dtype=np.uint8).sum()
    assert memory.peak_rss() > 300 * MB


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
def test_a_child_process_does_not_inherit_its_parents_peak():
    ballast = np.ones(400 * MB, dtype=np.uint8)
    code = "from labkit.profiling.memory import peak_rss; print(peak_rss())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < ballast.nbytes


def test_without_proc_the_system_call_answers(tmp_path, monkeypatch):
    if sys.platform == "win32":
        pytest.skip("Windows has its own counter")
    monkeypatch.setattr(memory, "STATUS", tmp_path / "absent")
    assert memory.peak_rss() >= memory.rss() // 2


def test_memory_held_between_two_looks_is_still_seen():
    """The looks are a minute apart, so only the process's own record can know."""
    grow = memory.peak_rss() - memory.rss() + 200 * MB
    with profile(interval_s=60) as p:
        np.ones(grow, dtype=np.uint8)
    assert p.peak_rss_bytes >= p.rss_before + 0.9 * grow
    assert p.rss_after < p.peak_rss_bytes


def test_memory_below_an_old_record_is_seen_by_sampling():
    """In a process of its own: what other tests hold and let go meanwhile would be counted too."""
    code = f"""
import time, numpy as np
from labkit.profiling.measure import profile
np.ones({400 * MB}, dtype=np.uint8).sum()
with profile(interval_s=0.01) as p:
    block = np.ones({150 * MB}, dtype=np.uint8)
    time.sleep(0.2)
    del block
print(p.peak_rss_bytes - p.rss_before)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 100 * MB < int(done.stdout) < 300 * MB


def test_waiting_costs_no_processor_time_and_work_does():
    with profile() as idle:
        time.sleep(0.3)
    with profile() as busy:
        begin = time.process_time()
        while time.process_time() - begin < 0.3:  # processor time: holds on a crowded machine too
            pass
    assert idle.cpu_s < 0.1 and busy.cpu_s >= 0.3
    assert 0 <= idle.cpu_share < busy.cpu_share <= 1.05


def test_samples_are_there_while_the_block_runs():
    with profile(interval_s=0.01) as p:
        while len(p.samples) < 3:
            time.sleep(0.01)
        assert p.peak_rss_bytes > 0
    times = [sample.at_s for sample in p.samples]
    assert times == sorted(times) and times[-1] == p.wall_s


def test_a_block_that_raises_is_still_measured():
    with pytest.raises(ZeroDivisionError), profile() as p:
        1 / 0  # noqa: B018
    assert p.wall_s > 0 and p.samples


def test_a_profile_shows_itself_and_keeps_no_nan():
    with profile() as p:
        pass
    assert "peak memory" in str(p) and p._repr_markdown_().startswith("| measure | value |")
    assert set(p.to_dict()) >= {"wall_s", "peak_rss_bytes", "cpu_share", "energy"}


def zone(root, name, number, uj, limit=10**9):
    folder = root / f"intel-rapl:{number}"
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in (("name", name), ("energy_uj", uj), ("max_energy_range_uj", limit)):
        (folder / file).write_text(f"{text}\n", encoding="utf-8")
    return folder / "energy_uj"


@pytest.fixture
def linux(monkeypatch):
    monkeypatch.setattr(energy.sys, "platform", "linux")


def test_packages_are_added_and_their_parts_are_not(tmp_path, linux):
    one, two = zone(tmp_path, "package-0", "0", 1000), zone(tmp_path, "package-1", "1", 5000)
    core, psys = zone(tmp_path, "core", "0:0", 0), zone(tmp_path, "psys", "2", 0)
    meter = energy.EnergyMeter(tmp_path)
    for file, uj in ((one, 2_001_000), (two, 1_005_000), (core, 900_000), (psys, 9_000_000)):
        file.write_text(str(uj), encoding="utf-8")
    assert meter.read().joules == pytest.approx(3.0)


def test_a_counter_that_wraps_twice_is_followed(tmp_path, linux):
    counter = zone(tmp_path, "package-0", "0", 9_000_000, limit=10_000_000)
    meter = energy.EnergyMeter(tmp_path)
    for uj in (2_000_000, 8_000_000, 1_000_000):
        counter.write_text(str(uj), encoding="utf-8")
        meter.poll()
    assert meter.read().joules == pytest.approx(3 + 6 + 3)


def test_a_counter_for_root_only_is_not_a_zero(tmp_path, linux, monkeypatch):
    zone(tmp_path, "package-0", "0", 1)

    def refuse(_):  # a test that runs as root could read a file with mode 0
        raise PermissionError
    monkeypatch.setattr(energy, "_counter", refuse)
    found = energy.EnergyMeter(tmp_path).read()
    assert found.joules is None and "root" in str(found)


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_a_machine_without_a_counter_says_why(tmp_path, monkeypatch, platform):
    monkeypatch.setattr(energy.sys, "platform", platform)
    monkeypatch.setattr(energy, "_unplugged_percent", lambda: None)
    found = energy.EnergyMeter(tmp_path).read()
    assert found.joules is None and str(found).startswith("not available: ") and len(found.reason) > 20


def test_an_unplugged_battery_is_reported_once_it_moved(tmp_path, monkeypatch):
    percents = iter([80.0, 78.5, 78.5, 78.5])
    monkeypatch.setattr(energy, "_unplugged_percent", lambda: next(percents))
    assert str(energy.EnergyMeter(tmp_path).read()) == "1.5 % of the battery"
    assert str(energy.EnergyMeter(tmp_path).read()).startswith("not available")
