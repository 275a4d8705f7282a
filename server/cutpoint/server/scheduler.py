"""Requests become batches for an engine: the queue at the rim, with futures and timers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable
from functools import partial
from math import inf

import msgspec

from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.errors import Overloaded, ServerDraining
from cutpoint.sdk.tail import TailOutput
from cutpoint.server.batching import Batch, BatchQueue, Share
from cutpoint.server.engines import Computed, Engine, Work
from cutpoint.server.fairness import TailKey
from cutpoint.server.pricing import CongestionPrice
from cutpoint.server.tails import LoadedTails, Sample

__all__ = ["Outcome", "Scheduler"]

#: A sample that takes no more seconds takes hardly longer than a thread waits for the interpreter's lock of another.
_HAND_OVER = 0.0003
#: Seconds that a decoder alone is taken to need before one was run.
_DECODER = 0.001


class Outcome(msgspec.Struct, frozen=True):
    """What came of a request.

    Attributes:
        output: what the tail gave.
        queue_ms: time from its arrival until the output was there, less its own computation: it waited for a worker,
            and for the codecs of those in its batch.
        batch: samples that were computed together.
    """

    output: TailOutput
    queue_ms: float
    batch: int


class _Request(msgspec.Struct, frozen=True, eq=False):
    sample: Sample
    answer: asyncio.Future[Outcome]


class Scheduler:
    """Decides what an engine computes next. All models share its queue and the engine's workers.

    Requests come and are answered in the event loop. A worker that is done takes what is next by itself, in its thread:
    the loop may be busy for as long as a short tail takes. So the queue has a lock.

    Args:
        engine: computes batches.
        max_queue: requests that may wait; more are refused.
        max_batch: requests that are computed together at most.
        batch_window: seconds that a batch waits for more requests; see `BatchQueue`.
        clock: monotonic seconds.
    """

    def __init__(
        self, engine: Engine, max_queue: int, max_batch: int, batch_window: float, clock: Callable[[], float]
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._queue: BatchQueue[_Request] = BatchQueue(engine.workers, max_queue, max_batch, batch_window)
        self._price = CongestionPrice(engine.workers)
        #: Of all of the above and of what follows.
        self._lock = threading.Lock()
        self._computing = 0
        #: The event loop's thread.
        self._home = 0
        self._refused_at: dict[str, float] = {}
        self._finished: Callable[[TailKey, float, int], None] = lambda tail, seconds, size: None
        #: The next look at what can be computed: with all that arrives in this turn of the loop, …
        self._soon: asyncio.Handle | None = None
        #: … and when a batch is due.
        self._timer: asyncio.TimerHandle | None = None

    @property
    def pending(self) -> int:
        """Requests that wait or are being computed."""
        return self._queue.waiting + self._computing

    @property
    def waiting(self) -> int:
        """Requests without a worker."""
        return self._queue.waiting

    def add(self, bundle: Bundle, loaded: LoadedTails, share: Share) -> None:
        """From now on there may be requests for `bundle`, which the engine has loaded."""

        def brief(seconds: float) -> bool:
            return self._engine.one_interpreter and seconds * loaded.scale <= _HAND_OVER

        with self._lock:
            for (boundary, precision), tail in loaded.tails.items():
                of = bundle.hash, boundary, 0, precision
                self._queue.add_tail(of, tail.seconds, tail.batches, brief=brief(tail.seconds))
            for key, span in loaded.spans.items():
                self._queue.add_tail((bundle.hash, *key), span.seconds, span.batches, brief=brief(span.seconds))
            for slice_key, seconds in loaded.slices.items():
                self._queue.add_tail((bundle.hash, *slice_key), seconds, batches=False)
            for number, seconds in loaded.shared.items():
                self._queue.add_tail((bundle.hash, "slice", number), seconds, batches=False)
            for start in {piece.start for piece in bundle.manifest.slices}:
                self._queue.add_tail((bundle.hash, "decoder", start), _DECODER, batches=False)
            for key, exit in loaded.exits.items():
                of = bundle.hash, *key
                self._queue.add_tail(of, exit.seconds, exit.batches, extra=True, brief=brief(exit.seconds))
            self._queue.limit(bundle.hash, share)

    def limit(self, bundle_hash: str, share: Share) -> None:
        """Changes what a bundle may take of the workers and the queue."""
        with self._lock:
            self._queue.limit(bundle_hash, share)

    def remove(self, bundle_hash: str) -> None:
        """Forgets a bundle, of which nothing may be under way."""
        with self._lock:
            self._queue.remove_model(bundle_hash)
        self._refused_at.pop(bundle_hash, None)

    def tell(self, finished: Callable[[TailKey, float, int], None]) -> None:
        """From now on `finished` is called with each batch's tail, seconds and size, if nothing in it failed."""
        self._finished = finished

    def queue_ms(self, user: Hashable) -> float:
        """How long a request of `user` that arrives now would wait for a worker, in milliseconds; an estimate."""
        with self._lock:
            return self._queue.wait(user, self._clock()) * 1e3

    def price(self) -> float:
        """Milliseconds that others wait longer for one more millisecond of tail time."""
        with self._lock:
            return self._price.price(self._clock())

    def refused_at(self, bundle_hash: str) -> float:
        """Clock time at which a request for a bundle was last refused for want of time or room."""
        return self._refused_at.get(bundle_hash, -inf)

    async def submit(
        self, bundle_hash: str, sample: Sample, budget: float, user: Hashable, weight: float = 1.0
    ) -> Outcome:
        """Decodes a sample and runs its tail. Cancelling this frees the work, as far as it has not begun.

        Args:
            bundle_hash: of an added bundle.
            sample: what to compute.
            budget: seconds until the answer is of no use; 0 for no limit. Work that has not begun by then is dropped.
            user: whose request it is; users share the workers fairly.
            weight: the user's share, relative to others'.

        Raises:
            BitstreamError, CodecError, GraphError: if the payload or the graphs do not work.
            Overloaded: if too much is waiting, or for too long.
            DeadlineExceeded: if the budget ran out while it waited.
            ServerDraining: if the scheduler was closed.
        """
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        request = _Request(sample, answer)
        now = self._clock()
        try:
            with self._lock:
                job = self._queue.put(request, user, (bundle_hash, *sample.tail), budget, now, weight)
        except Overloaded:
            self._refused_at[bundle_hash] = now
            raise
        try:
            if self._soon is None:
                self._soon = answer.get_loop().call_soon(self._dispatch)
            return await answer
        finally:
            with self._lock:
                waiting = job.waiting
                if waiting:
                    self._queue.cancel(job)
            if waiting:
                self._observe()

    async def close(self) -> None:
        """Refuses what waits, lets the engine finish what it has begun, and closes it."""
        with self._lock:
            self._queue.give_up(ServerDraining("the server has stopped"))
        self._dispatch()
        await self._engine.close()

    def _dispatch(self) -> None:
        """Gives free workers what they shall compute, and tells those who wait in vain."""
        for handle in (self._soon, self._timer):
            if handle is not None:
                handle.cancel()
        self._soon = self._timer = None
        self._home = threading.get_ident()
        loop = asyncio.get_running_loop()
        queue = self._queue
        begun: list[Work] = []
        with self._lock:
            queue.workers = self._price.workers = self._engine.workers
            while (work := self._next(loop, self._clock())) is not None:
                begun.append(work)
            refused = queue.take_refused()
            due = queue.wake_at() if queue.running < queue.workers else inf
        for work in begun:
            self._engine.compute(work)
        for job, error in refused:
            self._refused_at[job.tail[0]] = self._clock()
            if not job.work.answer.done():
                job.work.answer.set_exception(error)
        if due < inf:
            self._timer = loop.call_later(due - self._clock(), self._dispatch)
        self._observe()

    def _next(self, loop: asyncio.AbstractEventLoop, now: float) -> Work | None:
        """What a worker that is free from `now` on shall compute, if there is one; with the lock."""
        queue = self._queue
        if queue.running >= queue.workers or (batch := queue.next_batch(now)) is None:
            return None
        self._computing += len(batch.jobs)
        return Work(batch.tail[0], [job.work.sample for job in batch.jobs], partial(self._done, loop, batch))

    def _done(
        self, loop: asyncio.AbstractEventLoop, batch: Batch[_Request], computed: Computed | Exception
    ) -> Work | None:
        """A worker has computed a batch; returns the next one. In the worker's thread."""
        failed = isinstance(computed, Exception) or any(isinstance(one, BaseException) for one in computed.outcomes)
        now = self._clock()  # what it takes to hand over counts as the next batch's
        with self._lock:
            self._computing -= len(batch.jobs)
            self._queue.finish(batch, now, learn=not failed)
            following = self._next(loop, now)
            self._price.observe(self._queue.waiting, self._queue.busy, now)
        tell = loop.call_soon if threading.get_ident() == self._home else loop.call_soon_threadsafe
        tell(self._tell, batch, computed, failed)
        return following

    def _tell(self, batch: Batch[_Request], computed: Computed | Exception, failed: bool) -> None:
        """Answers those whose samples were in a batch."""
        if isinstance(computed, Exception):
            computed = Computed([computed] * len(batch.jobs), self._clock())
        if not failed:
            self._finished(batch.tail, computed.done - batch.started, len(batch.jobs))
        self._dispatch()
        for job, outcome in zip(batch.jobs, computed.outcomes, strict=True):
            answer = job.work.answer
            if answer.done():
                continue
            if isinstance(outcome, BaseException):
                answer.set_exception(outcome)
            else:
                waited = (computed.done - job.arrived) * 1e3 - outcome.decode_ms - outcome.tail_ms - outcome.encode_ms
                answer.set_result(Outcome(outcome, max(0.0, waited), len(batch.jobs)))

    def _observe(self) -> None:
        with self._lock:
            waiting = self._queue.waiting
            self._price.observe(waiting, self._queue.busy, self._clock())
        self._engine.observe(waiting, self._dispatch)
