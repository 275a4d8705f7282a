"""Machines and links of given speed on this one machine: network namespaces, shaped links, processor quotas.

Linux and root only. Propagation delay is not part of it: that is what `LinkEmulator` is for.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Self

from tests.testbed.cpu import CpuQuota, quota_root

__all__ = ["Machine", "TestBed", "missing"]

#: Bytes that may leave at once, at least: what the kernel hands over in one piece.
_BURST = 32_768
#: Milliseconds for which packets wait in front of a slow link before they are dropped.
_QUEUE = 100


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine is like.

    Attributes:
        cpu: processors; None for all.
        rate: bit/s of its link, each way; None for as fast as it goes.
    """

    cpu: float | None = None
    rate: float | None = None


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@cache
def missing() -> str:
    """Why there can be no test bed here; empty if there can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "the test bed needs Linux and root"
    if lacking := [name for name in ("ip", "tc", "nsenter") if not shutil.which(name)]:
        return f"the test bed needs the programs {' and '.join(lacking)} (Debian: iproute2, util-linux)"
    if quota_root() is None:
        return "processor quotas cannot be set: no writable control group with the cpu controller"
    try:
        with TestBed({"probe": Machine(0.5, 1e7)}):
            return ""
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        return f"namespaces and shaped links are not permitted: {said.strip()}"


class TestBed:
    """Machines on one switch. A context manager, whose end removes all of it.

    Each machine is a network namespace with a link to the switch, shaped in both directions by a token bucket, and a
    control group with a processor quota. The switch is this machine's: it reaches all of them, without a limit.

    Args:
        machines: by name.
    """

    __test__ = False

    def __init__(self, machines: Mapping[str, Machine]) -> None:
        self._machines = dict(machines)
        self._numbers = {name: number for number, name in enumerate(self._machines, 2)}
        self._prefix = f"cp{os.getpid() % 100_000}"
        self._network = f"10.231.{os.getpid() % 250}"
        self._quotas: dict[str, CpuQuota] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            bridge = f"{self._prefix}br"
            _ip("link", "add", bridge, "type", "bridge")
            stack.callback(_ip, "link", "del", bridge)
            _ip("addr", "add", f"{self.host}/24", "dev", bridge)
            _ip("link", "set", bridge, "up")
            for name, machine in self._machines.items():
                self._add(stack, name, machine, bridge)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _add(self, stack: ExitStack, name: str, machine: Machine, bridge: str) -> None:
        space, outside, inside = self._space(name), f"{self._space(name)}o", f"{self._space(name)}i"
        _ip("netns", "add", space)
        stack.callback(_ip, "netns", "del", space)
        _ip("link", "add", outside, "type", "veth", "peer", "name", inside)
        # Removing the namespace takes both ends away, but not at once.
        stack.callback(_ip, "link", "del", outside)
        _ip("link", "set", inside, "netns", space)
        _ip("link", "set", outside, "master", bridge, "up")
        _ip("-n", space, "addr", "add", f"{self.address(name)}/24", "dev", inside)
        _ip("-n", space, "link", "set", "lo", "up")
        _ip("-n", space, "link", "set", inside, "up")
        self.set_rate(name, machine.rate)
        if machine.cpu is not None:
            self._quotas[name] = CpuQuota(space, machine.cpu)
            stack.callback(self._quotas[name].close)

    # -- what runs on it -----------------------------------------------------------------------------------------

    @property
    def host(self) -> str:
        """Address at which the machines reach this one."""
        return f"{self._network}.1"

    def address(self, name: str) -> str:
        """Address of a machine."""
        return f"{self._network}.{self._numbers[name]}"

    def command(self, name: str) -> tuple[str, ...]:
        """What to put in front of a command to run it on a machine."""
        # Not `ip netns exec`, which hides the control groups behind a /sys of its own.
        inside = ("nsenter", f"--net=/run/netns/{self._space(name)}")
        if name not in self._quotas:
            return inside
        join = f'echo $$ > {self._quotas[name].processes} && exec "$@"'
        return ("sh", "-c", join, "sh", *inside)

    # -- what happens to it --------------------------------------------------------------------------------------

    def set_cpu(self, name: str, share: float) -> None:
        """From now on a machine, which had a quota before, has so many processors."""
        self._quotas[name].set(share)

    def set_rate(self, name: str, rate: float | None) -> None:
        """From now on a machine's link carries so many bit/s each way; None: as fast as it goes."""
        space = self._space(name)
        for place, device in (([], f"{space}o"), (["-n", space], f"{space}i")):
            root = ["tc", *place, "qdisc", "replace", "dev", device, "root"]
            if rate is None:
                shape = ["pfifo_fast"]
            else:
                burst = max(_BURST, round(rate / 8 / 250))
                shape = ["tbf", "rate", f"{rate:.0f}bit", "burst", f"{burst}b", "latency", f"{_QUEUE}ms"]
            subprocess.run([*root, *shape], check=True, capture_output=True, text=True)

    def cut(self, name: str, off: bool = True) -> None:
        """Takes a machine's cable out, or puts it back."""
        _ip("link", "set", f"{self._space(name)}o", "down" if off else "up")

    def _space(self, name: str) -> str:
        return f"{self._prefix}n{self._numbers[name]}"
