"""Tails in this process, in worker threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import inf

from cutpoint.codecs import SymbolMemory
from cutpoint.sdk.bundle import Bundle, Point
from cutpoint.sdk.errors import ServerDraining
from cutpoint.sdk.tail import Tail, TailOutput
from cutpoint.server.batching import Batch, BatchQueue
from cutpoint.server.engines.base import Outcome
from cutpoint.server.pricing import CongestionPrice
from cutpoint.server.tails import Sample, run_together, takes_batches

__all__ = ["LocalEngine"]


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    sample: Sample
    answer: asyncio.Future[Outcome]


class LocalEngine:
    """Runs tails in threads; the runtimes release the interpreter lock while they compute.

    Building it runs every tail a few times, to find out which of them take batches.

    Args:
        tail: runs the server's share of a point, warmed up.
        bundle: that it is of.
        threads: batches computed at a time.
        max_queue: requests that may wait; more are refused.
        max_batch: requests that are computed together at most.
        batch_window: seconds that a batch waits for more requests; see `BatchQueue`.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        tail: Tail,
        bundle: Bundle,
        threads: int,
        max_queue: int,
        max_batch: int,
        batch_window: float,
        clock: Callable[[], float],
    ) -> None:
        self._tail = tail
        self._threads = threads
        self._clock = clock
        self._executor = ThreadPoolExecutor(threads, "cutpoint-tail")
        self._queue: BatchQueue[_Request] = BatchQueue(threads, max_queue, max_batch, batch_window)
        self._price = CongestionPrice(threads)
        self._computing = 0
        self._timer: asyncio.TimerHandle | None = None
        points: dict[tuple[int, str], list[Point]] = {}
        for point in bundle.points:
            if point.tail_precision is not None:
                points.setdefault((point.end, point.tail_precision), []).append(point)
        for key, its in points.items():
            seconds = [(point.measured.decode_ms + point.measured.tail_ms) / 1e3 for point in its]
            inputs = bundle.manifest.boundaries[key[0]].tensors
            batches = max_batch > 1 and takes_batches(tail.graph(its[0]), inputs)
            self._queue.add_tail(key, sum(seconds) / len(seconds), batches)

    @property
    def pending(self) -> int:
        return self._queue.waiting + self._computing

    def queue_ms(self, user: Hashable) -> float:
        return self._queue.wait(user, self._clock()) * 1e3

    def price(self) -> float:
        return self._price.price(self._clock())

    async def submit(
        self, point: Point, payload: bytes, budget: float, memory: SymbolMemory, user: Hashable
    ) -> Outcome:
        assert point.tail_precision is not None, "the protocol lets no local point through"
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        request = _Request(Sample(point, payload, memory), answer)
        job = self._queue.put(request, user, (point.end, point.tail_precision), budget, self._clock())
        try:
            self._dispatch()
            return await answer
        finally:
            if job.waiting:
                self._queue.cancel(job)
                self._observe()

    async def close(self) -> None:
        self._queue.give_up(ServerDraining("the server has stopped"))
        self._dispatch()
        await asyncio.to_thread(self._executor.shutdown)

    def _dispatch(self) -> None:
        """Gives free workers what they shall compute, and tells those who wait in vain."""
        loop = asyncio.get_running_loop()
        while self._queue.running < self._threads and (batch := self._queue.next_batch(self._clock())) is not None:
            self._computing += len(batch.jobs)
            samples = [job.work.sample for job in batch.jobs]
            work = loop.run_in_executor(self._executor, self._compute, samples)
            work.add_done_callback(partial(self._finish, batch))
        for job, error in self._queue.take_refused():
            if not job.work.answer.done():
                job.work.answer.set_exception(error)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._queue.running < self._threads and (due := self._queue.wake_at()) < inf:
            self._timer = loop.call_later(due - self._clock(), self._dispatch)
        self._observe()

    def _compute(self, samples: list[Sample]) -> tuple[list[TailOutput | Exception], float]:
        outcomes = run_together(self._tail, samples)
        return outcomes, self._clock()

    def _finish(self, batch: Batch[_Request], work: asyncio.Future[tuple[list[TailOutput | Exception], float]]) -> None:
        outcomes, done = work.result()
        self._computing -= len(batch.jobs)
        failed = any(isinstance(outcome, Exception) for outcome in outcomes)
        self._queue.finish(batch, self._clock(), learn=not failed)
        self._dispatch()
        for job, outcome in zip(batch.jobs, outcomes, strict=True):
            answer = job.work.answer
            if answer.done():
                continue
            if isinstance(outcome, Exception):
                answer.set_exception(outcome)
            else:
                waited = (done - job.arrived) * 1e3 - outcome.decode_ms - outcome.tail_ms
                answer.set_result(Outcome(outcome, max(0.0, waited), len(batch.jobs)))

    def _observe(self) -> None:
        self._price.observe(self._queue.waiting, self._queue.running, self._clock())
