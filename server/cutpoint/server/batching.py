"""Which samples are computed together, and when: admission, fair shares, deadlines, batches. No threads, no clock."""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterator
from itertools import count
from math import inf
from typing import Generic, TypeVar

import msgspec

from cutpoint.sdk.errors import DeadlineExceeded, Overloaded, Refused
from cutpoint.server.fairness import FairQueue, Job, TailKey, User
from cutpoint.server.tail_curve import TailCurve

__all__ = ["Batch", "BatchQueue", "Share"]

T = TypeVar("T")

#: Least `retry_after` in seconds: a client that comes back at once only adds to the load.
_RETRY_AFTER = 0.1
#: What a queue holds takes this much longer than expected, at worst: requests are let in that are in time even then.
#: Without it an overloaded server would compute nothing but answers that come just in time, or just too late.
_MARGIN = 1.25
#: Where others are about, one user's samples make a batch no longer than this many seconds, …
_OWN_SECONDS = 0.0005
#: … or so many times as long as one sample: whoever comes in the meantime waits for its end.
_OWN_TIMES = 1.1
#: A batch may take this share of the time until all that waits is done: then nobody waits much longer for its size.
_PATIENCE = 0.5


class Batch(msgspec.Struct, Generic[T], frozen=True, eq=False):
    """Jobs that a worker computes together.

    Attributes:
        tail: what all of them wait for.
        jobs: at least one.
        started: clock time.
        expected: seconds that it will take.
        brief: whether its tail is; see `BatchQueue.add_tail`.
    """

    tail: TailKey
    jobs: tuple[Job[T], ...]
    started: float
    expected: float
    brief: bool


class Share(msgspec.Struct, frozen=True):
    """What one model may take of what all share; None: as much as there is.

    Attributes:
        queue: samples that may wait for its tails.
        workers: batches of its tails that are computed at a time.
    """

    queue: int | None = None
    workers: int | None = None


_UNLIMITED = Share()


class BatchQueue(Generic[T]):
    """Samples wait here for workers.

    A batch begins with the user who is furthest behind his share, and of his samples with the earliest deadline. It is
    filled with samples for the same tail, in the order of the same rule, up to the size that costs least per sample, as
    far as that makes nobody in it late, and with further samples of one user only while that hardly makes it longer,
    unless he is the only one. Times are seconds of one clock, which is the caller's.

    Args:
        workers: batches that are computed at a time.
        capacity: samples that may wait.
        largest: samples of a batch at most; 1 for no batches.
        window: seconds that a batch which could be larger waits for more samples, from the arrival of its first. With 0
            a free worker never waits: batches form while all of them are busy.

    Attributes:
        workers: as given; may be changed.
    """

    def __init__(self, workers: int, capacity: int, largest: int, window: float) -> None:
        self.workers = workers
        self._capacity = capacity
        self._largest = largest
        self._window = window
        self._queue: FairQueue[T] = FairQueue(timed=window > 0)
        self._curves: dict[TailKey, TailCurve] = {}
        self._extra: set[TailKey] = set()
        self._brief: set[TailKey] = set()
        self._shares: dict[str, Share] = {}
        self._running: set[Batch[T]] = set()
        self._numbers = count()
        self._refused: list[tuple[Job[T], Refused]] = []

    @property
    def waiting(self) -> int:
        """Samples that wait."""
        return self._queue.count

    @property
    def running(self) -> int:
        """Batches that are computed now."""
        return len(self._running)

    @property
    def busy(self) -> int:
        """Workers that compute, or are of no use to what waits: that is brief, and one of its batches is computed."""
        return self.workers if self._all_brief and self._one_brief else self.running

    def add_tail(self, tail: TailKey, seconds: float, batches: bool, extra: bool = False, brief: bool = False) -> None:
        """Makes a tail known.

        Args:
            tail: model, boundary and precision.
            seconds: of a worker for one sample, as calibration measured it.
            batches: whether it takes several samples at once.
            extra: whether it is for what there is no room for otherwise: where `capacity` is used up, as many samples
                again may wait for such tails.
            brief: whether a second worker would be in the way of the first: of all such tails, one batch is computed at
                a time.
        """
        if extra:
            self._extra.add(tail)
        if brief:
            self._brief.add(tail)
        self._curves[tail] = TailCurve(seconds, self._largest if batches else 1)

    def limit(self, model: str, share: Share) -> None:
        """From now on `model` gets no more than `share`. What waits or is being computed already goes on."""
        self._shares[model] = share

    def remove_model(self, model: str) -> None:
        """Forgets the tails of `model`, of which nothing may wait or be computed any more."""
        self._curves = {tail: curve for tail, curve in self._curves.items() if tail[0] != model}
        self._extra = {tail for tail in self._extra if tail[0] != model}
        self._brief = {tail for tail in self._brief if tail[0] != model}
        self._shares.pop(model, None)

    def wait(self, user: Hashable, now: float) -> float:
        """Expected seconds until a worker is free for a sample of `user` that arrives now.

        Ahead of it are what is being computed, his own waiting samples, and those of each other user that are served
        before it: as much of their work as of his, by weight. That part may be up to 9 % too high; see `Backlogs`.
        """
        queue = self._queue
        if len(self._running) < self.workers and not queue.count:
            return 0.0
        workers, running = max(1, self.workers), self._running
        if self._all_brief and self._one_brief:
            workers, running = 1, {batch for batch in running if batch.brief}
        begun = sum(max(0.0, batch.started + batch.expected - now) for batch in running)
        if not queue.count:
            return begun / workers
        asking = queue.user(user)
        share = (asking.backlog + queue.backlog / queue.count) / asking.weight
        return (begun + asking.backlog + queue.others(asking, share)) / workers

    def put(self, work: T, user: Hashable, tail: TailKey, budget: float, now: float, weight: float = 1.0) -> Job[T]:
        """A sample arrives.

        Args:
            work: what the worker will need.
            user: who sent it.
            tail: what it needs.
            budget: seconds until the answer is of no use; 0 for no limit.
            now: clock.
            weight: share of the user from now on, relative to others'.

        Raises:
            Overloaded: if it has to wait and would hardly be done within its budget, if as many wait for the model as
                may, or if the queue is full and no other user has more samples in it. Otherwise, in a full queue, the
                user with the most loses his least urgent one.
        """
        curve = self._curves[tail]
        if budget and (wait := self.wait(user, now)):
            needed = _MARGIN * (wait + curve.cost(1))
            if needed > budget:
                message = f"a worker will be free in {wait * 1e3:.0f} ms, the request's budget is {budget * 1e3:.0f} ms"
                raise Overloaded(message, max(_RETRY_AFTER, needed - budget))
        share, places = self._shares.get(tail[0], _UNLIMITED), 2 if tail in self._extra else 1
        if share.queue is not None and self._queue.count_model(tail[0]) >= places * share.queue:
            message = f"{share.queue} requests are waiting for this model, which is its limit"
            raise Overloaded(message, max(_RETRY_AFTER, self.wait(user, now)))
        sender = self._queue.user(user)
        self._queue.weigh(sender, weight)
        if self._queue.count >= places * self._capacity:
            error = Overloaded(
                f"{self._capacity} requests are waiting, which is the server's limit",
                max(_RETRY_AFTER, self.wait(user, now)),
            )
            heaviest = self._queue.heaviest()
            if heaviest is None or heaviest.count / heaviest.weight <= (sender.count + 1) / weight:
                raise error
            self._refuse(heaviest.last(), error)
        deadline = now + budget if budget else inf
        job = Job(deadline, next(self._numbers), now, tail, work, sender, curve.each(curve.best))
        self._queue.add(job)
        return job

    def cancel(self, job: Job[T]) -> None:
        """The answer is not wanted any more. A job that is in a batch stays there; the others in it notice nothing."""
        if job.waiting:
            self._queue.remove(job)

    def next_batch(self, now: float) -> Batch[T] | None:
        """What a worker that is free shall compute; None if nothing waits, or all of it waits for company.

        Samples whose budget has run out, or will have before they could be done, are refused on the way; see
        `take_refused`. One that nobody else waits behind is computed as long as there is any hope.
        """
        closed = self._closed()
        if closed.issuperset(self._queue.lines):
            return None
        collected: Container[TailKey]
        if self._window:
            collected = {tail for tail, at in self._due(closed).items() if at <= now}
        elif closed:
            collected = self._curves.keys() - closed
        else:
            collected = self._curves.keys()
        first = next(self._in_time(collected, now), None)
        if first is None:
            return None
        self._queue.serve(first.user)
        curve = self._curves[first.tail]
        workers = 1 if self._all_brief else max(1, self.workers)
        target = curve.target(_PATIENCE * self._queue.backlog / workers)
        jobs: list[Job[T]] = []
        users: set[User[T]] = set()
        latest = inf
        own = max(_OWN_SECONDS, _OWN_TIMES * curve.cost(1)) if self._queue.shared else inf
        for job in self._in_time({first.tail}, now):
            cost = curve.cost(len(jobs) + 1)
            if jobs and (now + cost > min(latest, job.deadline) or (job.user in users and cost > own)):
                break
            latest = min(latest, job.deadline)
            users.add(job.user)
            self._queue.remove(job)
            job.user.pay(job.charge)
            jobs.append(job)
            if len(jobs) >= target:
                break
        batch = Batch(first.tail, tuple(jobs), now, curve.cost(len(jobs)), first.tail in self._brief)
        self._running.add(batch)
        return batch

    def finish(self, batch: Batch[T], now: float, learn: bool = True) -> None:
        """A worker is done with `batch`.

        Args:
            batch: from `next_batch`.
            now: clock.
            learn: whether the time says something about other batches of the tail; not so if part of it failed.
        """
        self._running.remove(batch)
        curve = self._curves.get(batch.tail)  # none of a model that went while nobody waited for the batch any more
        if learn and curve is not None:
            curve.observe(len(batch.jobs), now - batch.started)
        if not self._running and not self._queue.count:
            self._queue.forget()

    def wake_at(self) -> float:
        """Clock time at which a batch that waits for company is due; infinite if there is none."""
        return min(self._due(self._closed()).values(), default=inf) if self._window else inf

    def take_refused(self) -> list[tuple[Job[T], Refused]]:
        """The waiting jobs that were given up since the last call, and why."""
        refused, self._refused = self._refused, []
        return refused

    def give_up(self, error: Refused) -> None:
        """Refuses all that wait."""
        for user in tuple(self._queue.users()):
            for job in tuple(user.jobs()):
                self._refuse(job, error)

    @property
    def _all_brief(self) -> bool:
        """Whether all that waits is brief."""
        return bool(self._queue.lines) and self._brief.issuperset(self._queue.lines)

    @property
    def _one_brief(self) -> bool:
        """Whether a batch of a brief tail is being computed."""
        return any(batch.brief for batch in self._running)

    def _due(self, closed: Container[TailKey]) -> dict[TailKey, float]:
        """When a batch of each tail that is not `closed` is due, at the latest."""
        due = {}
        for tail, line in self._queue.lines.items():
            if tail in closed:
                continue
            curve = self._curves[tail]
            if line.count >= curve.target():
                due[tail] = -inf
            else:
                urgent = line.deadline() - curve.cost(line.count)
                due[tail] = min(urgent, line.arrived() + self._window)
        return due

    def _closed(self) -> set[TailKey]:
        """The tails of which no batch may begin now: their model has as many workers as it may, or they are brief."""
        limits = ((model, share.workers) for model, share in self._shares.items() if share.workers is not None)
        full = {model for model, most in limits if sum(b.tail[0] == model for b in self._running) >= most}
        closed = {tail for tail in self._curves if tail[0] in full} if full else set[TailKey]()
        return closed | self._brief if self._brief and self._one_brief else closed

    def _in_time(self, tails: Container[TailKey], now: float) -> Iterator[Job[T]]:
        """The jobs for `tails` in the order of their turn; those that cannot be done in time are refused on the way."""
        for job in self._queue.turns(tails):
            # What a tail costs is only an expectation: it does not count against the last one that waits.
            needed = self._curves[job.tail].cost(1) if self._queue.count > 1 else 0.0
            if job.deadline > now + needed:
                yield job
            else:
                waited = (now - job.arrived) * 1e3
                error = DeadlineExceeded(f"waited {waited:.0f} ms for a worker, too long for the request's budget")
                self._refuse(job, error)

    def _refuse(self, job: Job[T], error: Refused) -> None:
        self._queue.remove(job)
        self._refused.append((job, error))
