"""Tails in this process, in worker threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from cutpoint.codecs import SymbolMemory
from cutpoint.sdk.bundle import Point
from cutpoint.sdk.errors import DeadlineExceeded, Overloaded
from cutpoint.sdk.tail import Tail
from cutpoint.server.engines.base import Outcome

__all__ = ["LocalEngine"]

#: Weight of a new sample in the mean time of a request.
_WEIGHT = 0.2


class LocalEngine:
    """Runs tails in threads; the runtimes release the interpreter lock while they compute.

    Args:
        tail: runs the server's share of a point.
        threads: requests computed at a time.
        max_queue: requests that may wait; more are refused.
        clock: monotonic seconds.
    """

    def __init__(self, tail: Tail, threads: int, max_queue: int, clock: Callable[[], float]) -> None:
        self._tail = tail
        self._threads = threads
        self._max_queue = max_queue
        self._clock = clock
        self._executor = ThreadPoolExecutor(threads, "cutpoint-tail")
        self._pending = 0
        self._service_ms = 0.0

    def queue_ms(self) -> float:
        waiting = max(0, self._pending - self._threads + 1)
        return waiting * self._service_ms / self._threads

    async def submit(self, point: Point, payload: bytes, budget: float, memory: SymbolMemory) -> Outcome:
        if self._pending >= self._max_queue + self._threads:
            retry_after = max(0.1, self.queue_ms() / 1e3)
            raise Overloaded(f"{self._max_queue} requests are waiting, which is the server's limit", retry_after)
        arrived = self._clock()

        def work() -> Outcome:
            waited = self._clock() - arrived
            if budget and waited >= budget:
                raise DeadlineExceeded(f"waited {waited * 1e3:.0f} ms for a worker, longer than the request's budget")
            return Outcome(self._tail.run(point, payload, memory), waited * 1e3)

        self._pending += 1
        try:
            outcome = await asyncio.get_running_loop().run_in_executor(self._executor, work)
        finally:
            self._pending -= 1
        took = outcome.output.decode_ms + outcome.output.tail_ms
        self._service_ms += (_WEIGHT if self._service_ms else 1.0) * (took - self._service_ms)
        return outcome

    async def close(self) -> None:
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)
