"""An event loop on a virtual clock: real sockets, real threads, and no waiting."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple, Unpack

__all__ = ["VirtualLoop"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: Seconds of real time in which what was written to a socket is surely there for its reader.
_SETTLE = 0.0005
#: Seconds of real time between looks for threads that work.
_WORK = 0.02


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its clock stands still while there is something to do, and jumps to the next timer when there is not.

    Minutes of time-outs, delays and outages pass in seconds, and in the same order as for real, as long as everything
    runs in this loop and its executors; other processes live in another time. Give `loop.time` to whatever takes a
    clock. Work in executors takes no virtual time.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._working = 0
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self._now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self._working += 1
        future.add_done_callback(self._worked)
        return future

    def _worked(self, _: asyncio.Future[Any]) -> None:
        self._working -= 1


class _Selector(selectors.DefaultSelector):
    """Looks at sockets for a moment, and lets the loop's clock jump where it would have waited."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return super().select(0)
        if self._loop._working or timeout is None:
            return super().select(_WORK)
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(_SETTLE)
        if not ready:
            self._loop._now += timeout
        return ready
