"""What this process may use of the machine: processors and memory, within the limits of its control group."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

__all__ = ["CpuLoad", "cpu_share", "free_memory"]


def cpu_share(root: Path = Path("/")) -> float:
    """Processors that this process may keep busy: those it may run on, or its control group's quota if that is less.

    Args:
        root: of the file system; version 1 and 2 of control groups are looked for where they are usual.
    """
    allowed = float(len(os.sched_getaffinity(0)))
    for group in _groups(root, "cpu"):
        for folder in (group, *group.parents):
            quota = _quota(folder)
            if quota is not None:
                allowed = min(allowed, quota)
            if folder.name in ("cgroup", "cpu", "cpu,cpuacct"):
                break
    return allowed


def free_memory(root: Path = Path("/")) -> int | None:
    """Bytes that can be had without swapping, and within the control group's limit; None where nothing tells."""
    available: int | None = None
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                available = int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    for group in _groups(root, "memory"):
        for limit_name, used_name in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            limit, used = _number(group / limit_name), _number(group / used_name)
            if limit is not None and used is not None:
                free = max(0, limit - used)
                available = free if available is None else min(available, free)
    return available


class CpuLoad:
    """Which share of its processors this server uses.

    Args:
        now: monotonic seconds.
        used: seconds of processor time so far.
    """

    def __init__(self, now: float, used: Callable[[], float]) -> None:
        self._used = used
        self._then = now, used()
        self._load = 0.0

    def look(self, now: float, share: float) -> float:
        """The load between the last look and now, 0 … 1; the last one's if that is no time ago.

        Args:
            now: monotonic seconds.
            share: processors that the process may keep busy.
        """
        seconds = now - self._then[0]
        if seconds >= 0.05:
            used = self._used()
            self._load = min(1.0, max(0.0, (used - self._then[1]) / seconds / share))
            self._then = now, used
        return self._load


def _groups(root: Path, controller: str) -> list[Path]:
    """Folders of this process's control groups that may limit a resource; version 2 first."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found: list[Path] = []
    for line in lines:
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if not path.startswith("/"):
            continue
        if number == "0" and not names:
            found.insert(0, root / "sys/fs/cgroup" / path.lstrip("/"))
        elif controller in names.split(","):
            found.append(root / "sys/fs/cgroup" / names / path.lstrip("/"))
    return found


def _quota(folder: Path) -> float | None:
    """Processors that a control group may use; None for no limit."""
    try:
        limit, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        quota, every = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        return quota / every if quota is not None and every and quota > 0 else None
    return int(limit) / int(period) if limit.isdigit() and int(period) else None


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
