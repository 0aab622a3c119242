"""Container limits are read from made-up /proc and /sys trees: no test machine has them all."""
from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from labkit.models import hardware

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's /sys")


def tree(root, files):
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text + "\n", encoding="utf-8")
    return root


def v2(root, path, **files):
    tree(root, {"proc/self/cgroup": f"0::{path}"})
    return tree(root, {f"sys/fs/cgroup/{name.replace('__', '/').replace('_', '.')}": text
                       for name, text in files.items()})


@pytest.mark.parametrize("text, cores", [
    ("100000 100000", 1), ("150000 100000", 2), ("50000 100000", 1), ("400000 100000", 4),
    ("max 100000", None),
])
def test_a_version_2_quota_is_rounded_up_to_whole_cores(tmp_path, text, cores):
    assert hardware.cpu_quota(v2(tmp_path, "/", cpu_max=text)) == cores


def test_the_tightest_quota_on_the_way_up_counts(tmp_path):
    root = v2(tmp_path, "/pod/box", pod__box__cpu_max="max 100000", pod__cpu_max="200000 100000",
              cpu_max="800000 100000")
    assert hardware.cpu_quota(root) == 2


def test_a_host_path_that_the_container_cannot_see_still_finds_the_mount(tmp_path):
    assert hardware.cpu_quota(v2(tmp_path, "/kubepods/burst/abc", cpu_max="300000 100000")) == 3
    assert hardware.cpu_quota(v2(tmp_path, "/../../abc", cpu_max="300000 100000")) == 3


@pytest.mark.parametrize("quota, cores", [("250000", 3), ("-1", None), ("1000", 1)])
def test_a_version_1_quota(tmp_path, quota, cores):
    folder = "sys/fs/cgroup/cpu,cpuacct/docker/x"
    tree(tmp_path, {"proc/self/cgroup": "5:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n0::/",
                    f"{folder}/cpu.cfs_quota_us": quota, f"{folder}/cpu.cfs_period_us": "100000"})
    assert hardware.cpu_quota(tmp_path) == cores


def test_a_version_1_controller_mounted_under_its_own_name(tmp_path):
    tree(tmp_path, {"proc/self/cgroup": "3:cpu,cpuacct:/", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000",
                    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"})
    assert hardware.cpu_quota(tmp_path) == 4


def test_no_cgroup_at_all_is_no_limit(tmp_path):
    assert hardware.cpu_quota(tmp_path) is None
    assert hardware.memory_headroom(tmp_path) is None


def test_smt_siblings_count_once(tmp_path):
    pairs = {0: "0,4", 4: "0,4", 1: "1,5", 5: "1,5"}
    tree(tmp_path, {f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list": text
                    for cpu, text in pairs.items()})
    assert hardware.physical_cores({0, 1, 4, 5}, tmp_path) == 2
    assert hardware.physical_cores({0, 4}, tmp_path) == 1
    assert hardware.physical_cores({4, 5}, tmp_path) == 2


def test_cpus_without_topology_count_as_cores(tmp_path):
    assert hardware.physical_cores({0, 1, 2}, tmp_path) == 3


def test_memory_left_under_a_version_2_limit_gives_back_inactive_page_cache(tmp_path):
    root = v2(tmp_path, "/box", box__memory_max="1000", box__memory_current="700",
              box__memory_stat="anon 500\ninactive_file 150")
    assert hardware.memory_headroom(root) == 1000 - (700 - 150)


def test_memory_of_a_parent_can_be_the_tighter_limit(tmp_path):
    root = v2(tmp_path, "/pod/box", pod__box__memory_max="max", pod__box__memory_current="10",
              pod__memory_max="500", pod__memory_current="480")
    assert hardware.memory_headroom(root) == 20


@pytest.mark.parametrize("limit, room", [("1000", 700), ("9223372036854771712", None)])
def test_memory_under_version_1(tmp_path, limit, room):
    folder = "sys/fs/cgroup/memory"
    tree(tmp_path, {"proc/self/cgroup": "5:memory:/gone", f"{folder}/memory.limit_in_bytes": limit,
                    f"{folder}/memory.usage_in_bytes": "400",
                    f"{folder}/memory.stat": "inactive_file 1\ntotal_inactive_file 100"})
    assert hardware.memory_headroom(tmp_path) == room


def test_usable_memory_is_the_smaller_of_ram_and_limit(tmp_path):
    root = v2(tmp_path, "/", memory_max="2048000", memory_current="1024000")
    tree(root, {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 8000 kB"})
    assert hardware.usable_memory(root) == 1024000
    tree(root, {"proc/meminfo": "MemAvailable: 500 kB"})
    assert hardware.usable_memory(root) == 500 * 1024


def test_a_cgroup_that_is_full_leaves_nothing(tmp_path):
    root = v2(tmp_path, "/", memory_max="1000", memory_current="1500")
    tree(root, {"proc/meminfo": "MemAvailable: 8000 kB"})
    assert hardware.usable_memory(root) == 0


@linux
def test_affinity_of_this_process_limits_the_cores():
    one = min(os.sched_getaffinity(0))
    code = (f"import os; os.sched_setaffinity(0, {{{one}}}); "
            "from labkit.models.hardware import usable_cores; print(usable_cores())")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_this_machine_is_described_without_naming_it():
    import getpass
    import socket
    found = hardware.machine()
    assert 1 <= found.cores <= os.cpu_count()
    assert 0 < found.memory_bytes <= found.host_memory_bytes
    assert found.cpu and found.python in str(found)
    for private in (socket.gethostname(), getpass.getuser()):
        assert not re.search(rf"\b{re.escape(private)}\b", str(found.to_dict()))


def test_a_board_without_a_model_name_line_is_named_by_its_model(tmp_path):
    tree(tmp_path, {"proc/cpuinfo": "processor : 0\nBogoMIPS : 108\n\nModel : Example Board 5"})
    assert hardware._linux_cpu_name(tmp_path).strip() == "Example Board 5"
