"""The load generator as a process of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import psutil
from tests.bench._load import Latencies, Load

__all__ = ["Generator"]


class Generator:
    """A process that sends load."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    @asynccontextmanager
    async def started(cls, yielding: bool = False) -> AsyncIterator[Generator]:
        """A generator; one that is `yielding` lets others have the processor first, as if it were another machine."""
        pipe = asyncio.subprocess.PIPE
        command = (sys.executable, "-m", "tests.bench._load")
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=1 << 26)
        if yielding and sys.platform == "linux":
            os.sched_setscheduler(process.pid, os.SCHED_IDLE, os.sched_param(0))
        elif yielding:
            psutil.Process(process.pid).nice(19)
        try:
            yield cls(process)
        finally:
            process.kill()
            await process.communicate()

    async def send(self, load: Load) -> Latencies:
        """Sends `load`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(load) + b"\n")
        return msgspec.json.decode(await self._process.stdout.readline(), type=Latencies)
