from __future__ import annotations

import os
from pathlib import Path

import pytest

from cutpoint.server.nodes.machine import CpuLoad, cpu_share, free_memory

_ALL = float(len(os.sched_getaffinity(0)))


def _file(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_without_control_groups_there_are_the_processors(tmp_path: Path) -> None:
    assert cpu_share(tmp_path) == _ALL
    assert free_memory(tmp_path) is None


def test_quota_of_version_2(tmp_path: Path) -> None:
    _file(tmp_path, "proc/self/cgroup", "0::/a/b\n")
    _file(tmp_path, "sys/fs/cgroup/a/b/cpu.max", "max 100000\n")
    assert cpu_share(tmp_path) == _ALL
    _file(tmp_path, "sys/fs/cgroup/a/b/cpu.max", "40000 100000\n")
    assert cpu_share(tmp_path) == pytest.approx(0.4)


def test_the_group_above_may_have_less(tmp_path: Path) -> None:
    _file(tmp_path, "proc/self/cgroup", "0::/a/b\n")
    _file(tmp_path, "sys/fs/cgroup/a/b/cpu.max", "40000 100000\n")
    _file(tmp_path, "sys/fs/cgroup/a/cpu.max", "20000 100000\n")
    assert cpu_share(tmp_path) == pytest.approx(0.2)


def test_quota_of_version_1(tmp_path: Path) -> None:
    _file(tmp_path, "proc/self/cgroup", "4:memory:/m\n1:cpu,cpuacct:/nodes/x\n")
    _file(tmp_path, "sys/fs/cgroup/cpu,cpuacct/nodes/x/cpu.cfs_quota_us", "6000\n")
    _file(tmp_path, "sys/fs/cgroup/cpu,cpuacct/nodes/x/cpu.cfs_period_us", "10000\n")
    assert cpu_share(tmp_path) == pytest.approx(0.6)
    _file(tmp_path, "sys/fs/cgroup/cpu,cpuacct/nodes/x/cpu.cfs_quota_us", "-1\n")
    assert cpu_share(tmp_path) == _ALL


def test_memory_is_the_least_that_is_left(tmp_path: Path) -> None:
    _file(tmp_path, "proc/meminfo", "MemTotal: 900 kB\nMemAvailable: 500 kB\n")
    assert free_memory(tmp_path) == 512_000
    _file(tmp_path, "proc/self/cgroup", "4:memory:/m\n")
    _file(tmp_path, "sys/fs/cgroup/memory/m/memory.limit_in_bytes", "100000\n")
    _file(tmp_path, "sys/fs/cgroup/memory/m/memory.usage_in_bytes", "30000\n")
    assert free_memory(tmp_path) == 70_000


def test_of_this_process() -> None:
    assert 0 < cpu_share() <= _ALL
    free = free_memory()
    assert free is None or free > 0


def test_load_is_processor_time_over_what_there_could_be() -> None:
    used = iter([10.0, 10.5, 10.5, 13.0])
    load = CpuLoad(now=100.0, used=lambda: next(used))
    assert load.look(102.0, 0.5) == pytest.approx(0.5)
    assert load.look(102.01, 0.5) == pytest.approx(0.5), "no time has passed"
    assert load.look(103.0, 0.5) == 0.0
    assert load.look(104.0, 0.5) == 1.0, "never more than all"
