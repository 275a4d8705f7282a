"""The edge server on a virtual clock: its own queue, shares, batches and price, without sockets and threads."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from math import inf

from cutpoint.calibration.simulate.clock import VirtualClock
from cutpoint.sdk.bundle import Point
from cutpoint.sdk.errors import Refused
from cutpoint.sdk.protocol import ServerState
from cutpoint.server.batching import Batch, BatchQueue
from cutpoint.server.fairness import Job, TailKey
from cutpoint.server.pricing import CongestionPrice

__all__ = ["ServerScenario", "SimulatedServer", "Work"]


@dataclass(frozen=True, slots=True)
class ServerScenario:
    """What clients share.

    Attributes:
        workers: batches that are computed at a time.
        scale: how many times slower than in calibration.
        max_queue: requests that may wait.
        max_batch: requests that are computed together at most.
        batch_window: seconds that a batch waits for more requests.
        batch_cost: what one more request in a batch costs, relative to one alone; 1 on a processor that is busy with
            one, less where several are computed side by side.
    """

    workers: int = 1
    scale: float = 1.0
    max_queue: int = 256
    max_batch: int = 1
    batch_window: float = 0.0
    batch_cost: float = 1.0


@dataclass(slots=True, eq=False)
class Work:
    """A request, as the server sees it.

    Attributes:
        seconds: of a worker, alone.
        answered: is called when the tail is done, with the seconds since the request arrived.
        refused: is called instead if the server gives it up, or when it was cancelled.
        over: whether one of them has been called.
        job: in the server's queue.
    """

    seconds: float
    answered: Callable[[float], None]
    refused: Callable[[], None]
    over: bool = False
    job: Job[Work] | None = field(default=None, repr=False)

    def refuse(self) -> None:
        """There will be no answer."""
        self.over = True
        self.refused()


class SimulatedServer:
    """Serves `Work` with the objects that serve requests.

    Args:
        scenario: what it is like.
        clock: of the world.

    Attributes:
        busy_s: seconds for which workers have computed so far, batches that are begun counted whole.
    """

    def __init__(self, scenario: ServerScenario, clock: VirtualClock) -> None:
        self._scenario = scenario
        self._clock = clock
        self._queue: BatchQueue[Work] = BatchQueue(
            scenario.workers, scenario.max_queue, scenario.max_batch, scenario.batch_window
        )
        self._price = CongestionPrice(scenario.workers)
        self.busy_s = 0.0
        self._tails: set[TailKey] = set()

    @property
    def price(self) -> float:
        """The price now."""
        return self._price.price(self._clock.now)

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return self._queue.waiting

    def seconds(self, point: Point) -> float:
        """Seconds of a worker that a request at `point` takes alone."""
        return (point.measured.decode_ms + point.measured.tail_ms) * self._scenario.scale / 1e3

    def state(self, user: Hashable) -> ServerState:
        """What `user` is told now."""
        return ServerState(self._queue.wait(user, self._clock.now) * 1e3, self.price)

    def submit(self, work: Work, user: Hashable, point: Point) -> None:
        """`work` arrives; it is refused at once, or later, or answered."""
        assert point.tail_precision is not None, "local points ask no server"
        tail = "", point.end, 0, point.tail_precision
        if tail not in self._tails:
            self._tails.add(tail)
            self._queue.add_tail(tail, work.seconds, self._scenario.max_batch > 1)
        try:
            work.job = self._queue.put(work, user, tail, 0.0, self._clock.now)
        except Refused:
            work.refuse()
        self._dispatch()

    def cancel(self, work: Work) -> None:
        """The answer is not wanted any more; work in a batch is done all the same, and nobody is told."""
        if work.over:
            return
        if work.job is not None and work.job.waiting:
            self._queue.cancel(work.job)
            self._observe()
        work.refuse()

    def _dispatch(self) -> None:
        queue, scenario, now = self._queue, self._scenario, self._clock.now
        while queue.running < scenario.workers and (batch := queue.next_batch(now)) is not None:
            self._begin(batch)
        for job, _ in queue.take_refused():
            job.work.refuse()
        if queue.running < scenario.workers and (due := queue.wake_at()) < inf:
            self._clock.at(max(due, now), self._dispatch)
        self._observe()

    def _begin(self, batch: Batch[Work]) -> None:
        alone = [job.work.seconds for job in batch.jobs]
        longest = max(alone)
        seconds = longest + self._scenario.batch_cost * (sum(alone) - longest)
        self.busy_s += seconds
        self._clock.at(self._clock.now + seconds, lambda: self._finish(batch))

    def _finish(self, batch: Batch[Work]) -> None:
        self._queue.finish(batch, self._clock.now)
        self._dispatch()
        for job in batch.jobs:
            if not job.work.over:
                job.work.over = True
                job.work.answered(self._clock.now - job.arrived)

    def _observe(self) -> None:
        self._price.observe(self._queue.waiting, self._queue.running, self._clock.now)
