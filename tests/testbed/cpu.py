"""Processor quotas by control group, version 1 or 2."""

from __future__ import annotations

import os
import time
from pathlib import Path

__all__ = ["CpuQuota", "quota_root"]

_ROOT = Path("/sys/fs/cgroup")
#: Microseconds in which a quota is used up and given anew. Short, so that a request meets the mean speed, not a pause;
#: but the kernel takes no quota of less than a millisecond.
_PERIOD, _LEAST = 5_000, 1_000
#: How many times the usual weight a group has, so that a busy machine gives it what its quota allows.
_WEIGHT = 8


def quota_root() -> Path | None:
    """Where groups with quotas can be made; None if that is not permitted here."""
    if (_ROOT / "cgroup.controllers").exists():
        controllers = (_ROOT / "cgroup.subtree_control").read_text().split()
        root, quota = _ROOT, "cpu" in controllers
    else:
        root = next((path for name in ("cpu", "cpu,cpuacct") if (path := _ROOT / name).is_dir()), _ROOT)
        quota = (root / "cpu.cfs_quota_us").exists()
    return root if quota and os.access(root, os.W_OK) else None


class CpuQuota:
    """A group of processes that share so many processors.

    Args:
        name: of the group.
        share: processors, such as 0.4.

    Raises:
        OSError: if it cannot be made here; see `quota_root`.
    """

    def __init__(self, name: str, share: float) -> None:
        root = quota_root()
        if root is None:
            raise OSError("processor quotas cannot be set here")
        self._folder = root / name
        self._folder.mkdir()
        for name in ("cpu.weight", "cpu.shares"):
            if (file := self._folder / name).exists():
                file.write_text(str(_WEIGHT * int(file.read_text())))
        self.set(share)

    @property
    def processes(self) -> Path:
        """The file in which a process writes its id to join the group."""
        return self._folder / "cgroup.procs"

    def set(self, share: float) -> None:
        """From now on the group gets so many processors."""
        period = max(_PERIOD, round(_LEAST / share))
        quota = round(share * period)
        if (self._folder / "cpu.max").exists():
            (self._folder / "cpu.max").write_text(f"{quota} {period}")
        else:
            (self._folder / "cpu.cfs_quota_us").write_text("-1")
            (self._folder / "cpu.cfs_period_us").write_text(str(period))
            (self._folder / "cpu.cfs_quota_us").write_text(str(quota))

    def close(self) -> None:
        """Removes the group, whose processes have ended or are about to."""
        for _ in range(200):
            try:
                self._folder.rmdir()
                return
            except OSError:  # A process that was killed stays in it for a moment.
                time.sleep(0.01)
        self._folder.rmdir()
