"""The end of those who say nothing for too long."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

__all__ = ["IdleLimit"]


class IdleLimit:
    """Raises `TimeoutError` in what it is put around, once nothing was heard for so long.

    An asynchronous context manager, like `asyncio.timeout`. To be heard costs nothing but a look at the clock: there is
    one timer, which is set anew when it goes off too early.

    Args:
        seconds: how long.
    """

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._limit = asyncio.timeout(None)
        self._heard = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    def heard(self) -> None:
        """Something was heard now."""
        self._heard = self._loop.time()

    async def __aenter__(self) -> Self:
        await self._limit.__aenter__()
        self.heard()
        self._look()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._limit.__aexit__(kind, error, trace)

    def _look(self) -> None:
        due = self._heard + self._seconds
        if due > self._loop.time():
            self._timer = self._loop.call_at(due, self._look)
        else:
            self._limit.reschedule(due)
