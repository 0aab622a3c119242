"""What this process may use of the machine: cores, memory, and a description for reports.

Knows nothing of models. Inside a container the host's figures are wrong (Binder gives one core of
a 32-core host, and llama.cpp on 32 threads is then many times slower), so CPU affinity and the
cgroup limits are read. Every reader takes `root`, the directory that holds `proc` and `sys`.
"""
from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil

SLASH = Path("/")
UNLIMITED = 1 << 60  # cgroup v1 writes "no limit" as a number near 2^63


def usable_cores() -> int:
    """Physical cores this process may use, at least 1: affinity, SMT and CPU quota respected."""
    if sys.platform.startswith("linux"):
        cores = min(physical_cores(os.sched_getaffinity(0)), cpu_quota() or sys.maxsize)
    elif sys.platform == "darwin":
        cores = _performance_cores()
    else:
        cores = min(psutil.cpu_count(logical=False) or sys.maxsize, _affinity_count())
    count = getattr(os, "process_cpu_count", os.cpu_count)  # 3.13: also obeys PYTHON_CPU_COUNT
    return max(1, min(cores, count() or 1))


@lru_cache
def cpu_flags() -> frozenset[str]:
    """What the processor can do, as /proc/cpuinfo names it, e.g. "avx2"; empty where there is no such file."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())


def usable_memory(root: Path = SLASH) -> int:
    """Bytes this process could still take: the RAM available, and the cgroup's limit minus its use."""
    room = memory_headroom(root)
    return _available_ram(root) if room is None else min(_available_ram(root), room)


def physical_cores(cpus: set[int], root: Path = SLASH) -> int:
    """Distinct physical cores behind the logical `cpus` (Linux). SMT siblings count once."""
    return len({_siblings(cpu, root) for cpu in cpus})


def _siblings(cpu: int, root: Path) -> str:
    topology = root / "sys/devices/system/cpu" / f"cpu{cpu}" / "topology"
    for name in ("core_cpus_list", "thread_siblings_list"):  # the new name, then the old one
        if (text := _read(topology / name)):
            return text
    return str(cpu)  # no topology (some sandboxes): the CPU counts as a core


def cpu_quota(root: Path = SLASH) -> int | None:
    """The tightest CPU quota on the process's cgroup path, in whole cores rounded up. None: no quota."""
    quotas = [cores for folder in _cgroup_folders(root, "cpu") if (cores := _quota(folder))]
    return min(quotas, default=None)


def _quota(folder: Path) -> int | None:
    if (text := _read(folder / "cpu.max")):  # v2: "<quota or max> <period>", microseconds
        quota, _, period = text.partition(" ")
    else:                                    # v1: -1 is no quota
        quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    if not quota.isdigit() or int(quota) == 0:
        return None
    return max(1, -(-int(quota) // int(period or 100_000)))


def memory_headroom(root: Path = SLASH) -> int | None:
    """Bytes left under the tightest memory limit on the process's cgroup path. None: no limit."""
    rooms = [room for folder in _cgroup_folders(root, "memory") if (room := _headroom(folder)) is not None]
    return min(rooms, default=None)


def _headroom(folder: Path) -> int | None:
    limit = _read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes")
    used = _read(folder / "memory.current") or _read(folder / "memory.usage_in_bytes")
    if not limit.isdigit() or int(limit) >= UNLIMITED:
        return None
    # Page cache counts as use, but the kernel drops the inactive part before it refuses memory.
    return max(0, int(limit) - max(0, int(used or 0) - _inactive_file(folder)))


def _inactive_file(folder: Path) -> int:
    stat = dict(line.split(maxsplit=1) for line in _read(folder / "memory.stat").splitlines() if " " in line)
    return int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))


def _cgroup_folders(root: Path, controller: str) -> Iterator[Path]:
    """The process's cgroup folders for a controller, innermost first, up to the mount itself.

    A container often shows the host's path in /proc/self/cgroup while its mount starts at its own
    cgroup: folders that do not exist read as no limit, and the mount is always looked at.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if names and controller not in names.split(","):
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for mount in _mounts(root / "sys/fs/cgroup", names, controller):
            yield from (mount.joinpath(*parts[:n]) for n in range(len(parts), -1, -1))


def _mounts(base: Path, names: str, controller: str) -> list[Path]:
    if not names:  # version 2; "unified" on machines that run both
        return [base, base / "unified"]
    return [folder for name in (names, controller) if (folder := base / name).is_dir()][:1]


def _available_ram(root: Path) -> int:
    for line in _read(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return psutil.virtual_memory().available


def _affinity_count() -> int:
    try:
        return len(psutil.Process().cpu_affinity())
    except (AttributeError, psutil.Error):  # a system without affinity
        return os.cpu_count() or 1


def _performance_cores() -> int:
    """Apple silicon: the efficiency cores slow a matrix product down, so they are left out."""
    for key in ("hw.perflevel0.physicalcpu", "hw.physicalcpu"):
        if (text := _sysctl(key)).isdigit():
            return int(text)
    return psutil.cpu_count(logical=False) or 1


@lru_cache(maxsize=8)
def _sysctl(key: str) -> str:
    """A macOS kernel value as text; empty where there is none."""
    try:
        done = subprocess.run(["sysctl", "-n", key], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _read(path: Path) -> str:
    """A small text file, stripped. Missing or unreadable is empty: no limit is stated there."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


@dataclass(frozen=True)
class Machine:
    """The machine as a report names it. No host name and no user name."""

    cpu: str
    cores: int               # physical cores this process may use
    host_cores: int          # physical cores of the host (or virtual machine)
    memory_bytes: int        # this process may still take
    host_memory_bytes: int   # RAM of the host
    os: str
    python: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return (f"{self.cpu}, {self.cores} of {self.host_cores} cores, "
                f"{self.memory_bytes / 1e9:.1f} of {self.host_memory_bytes / 1e9:.1f} GB free, "
                f"{self.os}, Python {self.python}")


def machine() -> Machine:
    """Describe this machine for a report."""
    host_cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    return Machine(
        cpu=cpu_name(), cores=usable_cores(), host_cores=host_cores,
        memory_bytes=usable_memory(), host_memory_bytes=psutil.virtual_memory().total,
        os=_os_name(), python=platform.python_version())


def cpu_name(root: Path = SLASH) -> str:
    """The processor's marketing name, or at least its architecture."""
    if sys.platform == "darwin":
        name = _sysctl("machdep.cpu.brand_string")
    elif sys.platform == "win32":
        name = _windows_cpu_name()
    else:
        name = _linux_cpu_name(root)
    return " ".join(name.split()) or platform.processor() or platform.machine()


def _linux_cpu_name(root: Path) -> str:
    for line in _read(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model"):  # "Model": boards such as a Raspberry Pi
            return value
    return ""


def _windows_cpu_name() -> str:
    import winreg
    path = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, path) as key:
            return str(winreg.QueryValueEx(key, "ProcessorNameString")[0])
    except OSError:
        return ""


def _os_name() -> str:
    if sys.platform.startswith("linux"):
        try:
            name = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
        except OSError:
            name = "Linux"
    elif sys.platform == "darwin":
        name = f"macOS {platform.mac_ver()[0]}"
    else:
        name = f"{platform.system()} {platform.release()}"
    return f"{name}, {platform.machine()}"
