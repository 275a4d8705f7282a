"""Fair shares of worker time between users: start-time fair queueing (Goyal, Vin, Cheng, SIGCOMM 1996).

Every user has a virtual time: the worker time charged so far, divided by the user's weight. The one who is furthest
behind is next. Who comes back after a pause starts at the virtual time of those being served: nobody saves up, and
nobody pays for what was free.

What a request costs here is logarithmic in the users: nothing but giving up asks all of them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Container, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Generic, Literal, TypeVar

from cutpoint.server.backlogs import Backlogs
from cutpoint.server.lazy_heap import LazyHeap

__all__ = ["FairQueue", "Job", "TailKey", "User"]

T = TypeVar("T")

#: Users without waiting jobs that are remembered before it is looked through who can be forgotten.
_PRUNE = 64

#: A model, the boundary where the tail begins, that where it stops (0: at the outputs; where an exit is asked instead,
#: the exit's, and its id stands behind the precision), and its precision. Or a model and the number of one of its
#: slices, or the boundary whose tensors are wanted of a payload.
TailKey = tuple[str, int, int, str] | tuple[str, Literal["slice", "decoder"], int]


@dataclass(slots=True, order=True)
class Job(Generic[T]):
    """One sample that waits for its tail, or is in a batch. Jobs sort by deadline, then by arrival.

    Attributes:
        deadline: clock time after which the answer is of no use; infinite without one.
        number: of arrival.
        arrived: clock time.
        tail: what it waits for.
        work: what the worker needs; nothing here looks at it.
        user: whose it is.
        charge: seconds of a worker that the user pays for it: what it is expected to cost, for what one computation
            happens to take on a busy machine is nobody's fault.
        waiting: whether it is in the queue; not any more once it is in a batch, refused or cancelled.
    """

    deadline: float
    number: int
    arrived: float = field(compare=False)
    tail: TailKey = field(compare=False)
    work: T = field(compare=False)
    user: User[T] = field(compare=False, repr=False)
    charge: float = field(compare=False)
    waiting: bool = field(compare=False, default=False)


class User(Generic[T]):
    """What the queue knows of a user.

    Attributes:
        name: any key.
        weight: share of the workers, relative to other users'.
        virtual: seconds charged, divided by the weight.
        backlog: seconds of work that wait.
        count: jobs that wait.
        since: which of the users he was to begin to wait, in the order of their beginning.
    """

    def __init__(self, name: Hashable, virtual: float) -> None:
        self.name = name
        self.weight = 1.0
        self.virtual = virtual
        self.backlog = 0.0
        self.count = 0
        self.since = 0
        self._jobs: dict[TailKey, list[Job[T]]] = {}

    def pay(self, seconds: float) -> None:
        """Charges seconds of a worker."""
        self.virtual += seconds / self.weight

    def first(self, tails: Container[TailKey]) -> Job[T] | None:
        """The job with the earliest deadline of those that wait for one of `tails`."""
        first = None
        for tail, jobs in self._jobs.items():
            if tail in tails and (first is None or jobs[0] < first):
                first = jobs[0]
        return first

    def first_of(self, tail: TailKey) -> Job[T] | None:
        """The job with the earliest deadline of those that wait for `tail`."""
        jobs = self._jobs.get(tail)
        return jobs[0] if jobs else None

    def last(self) -> Job[T]:
        """The job with the latest deadline of all."""
        return max(jobs[-1] for jobs in self._jobs.values())

    def leads(self, job: Job[T]) -> bool:
        """Whether `job` is the first of his that waits for its tail."""
        return self.first_of(job.tail) is job

    def jobs(self) -> Iterator[Job[T]]:
        """All that wait."""
        return chain.from_iterable(self._jobs.values())

    def add(self, job: Job[T]) -> None:
        """`job` waits."""
        insort(self._jobs.setdefault(job.tail, []), job)
        self.backlog += job.charge
        self.count += 1

    def remove(self, job: Job[T]) -> None:
        """`job` waits no more."""
        jobs = self._jobs[job.tail]
        del jobs[bisect_left(jobs, job)]
        if not jobs:
            del self._jobs[job.tail]
        self.count -= 1
        # Sums of rounded numbers do not return to zero of themselves, and may pass it.
        self.backlog = max(0.0, self.backlog - job.charge) if self.count else 0.0


class Line(Generic[T]):
    """The jobs that wait for one tail.

    Args:
        timed: whether `deadline` and `arrived` will be asked for.

    Attributes:
        count: of them.
        turns: the first job of each user, by the user's virtual time.
    """

    def __init__(self, timed: bool) -> None:
        self.count = 0
        self._timed = timed
        self.turns: LazyHeap[Job[T]] = LazyHeap(
            lambda job: (job.user.virtual, job.number) if job.user.leads(job) else None
        )
        self._urgent: LazyHeap[Job[T]] = LazyHeap(lambda job: (job.deadline, job.number) if job.waiting else None)
        self._oldest: LazyHeap[Job[T]] = LazyHeap(lambda job: (job.arrived, job.number) if job.waiting else None)

    def add(self, job: Job[T]) -> None:
        """`job` waits, of its user as well."""
        self.count += 1
        if self._timed:
            self._urgent.push(job)
            self._oldest.push(job)
        if job.user.leads(job):
            self.turns.push(job)

    def remove(self, job: Job[T]) -> None:
        """`job` waits no more, nor of its user."""
        self.count -= 1
        following = job.user.first_of(job.tail)
        if following is not None and job < following:
            self.turns.push(following)

    def deadline(self) -> float:
        """The earliest of all."""
        job = self._urgent.first()
        assert job is not None, "a timed line is never empty"
        return job.deadline

    def arrived(self) -> float:
        """When the one came that has waited longest."""
        job = self._oldest.first()
        assert job is not None, "a timed line is never empty"
        return job.arrived


class FairQueue(Generic[T]):
    """The waiting jobs of all users.

    Args:
        timed: whether lines will be asked when they are due.

    Attributes:
        count: jobs that wait.
        backlog: seconds of work that wait.
        lines: of the tails that jobs wait for.
    """

    def __init__(self, timed: bool = False) -> None:
        self.count = 0
        self.backlog = 0.0
        self._timed = timed
        self.lines: dict[TailKey, Line[T]] = {}
        self._backlogs = Backlogs()
        self._heaviest: LazyHeap[User[T]] = LazyHeap(
            lambda user: (-user.count / user.weight, user.since) if user.count else None
        )
        self._beginnings = count()
        self._virtual = 0.0
        self._active: dict[Hashable, User[T]] = {}
        self._resting: dict[Hashable, User[T]] = {}
        self._prune_at = _PRUNE

    def user(self, name: Hashable) -> User[T]:
        """The user of that name, known or new."""
        return self._active.get(name) or self._resting.get(name) or User(name, self._virtual)

    def users(self) -> Iterable[User[T]]:
        """Those with waiting jobs."""
        return self._active.values()

    @property
    def shared(self) -> bool:
        """Whether there has been more than one user since the workers were last idle, as far as it is remembered."""
        return len(self._active) + len(self._resting) > 1

    def count_model(self, model: str) -> int:
        """Jobs that wait for tails of `model`."""
        return sum(line.count for tail, line in self.lines.items() if tail[0] == model)

    def heaviest(self) -> User[T] | None:
        """The user with the most waiting jobs in proportion to his weight; None if nothing waits."""
        return self._heaviest.first()

    def others(self, user: User[T], share: float) -> float:
        """Seconds of the others' work, of each at most `share` times his weight; up to 9 % more, see `Backlogs`."""
        return self._backlogs.others(user.name, share)

    def weigh(self, user: User[T], weight: float) -> None:
        """From now on `user` has that weight."""
        if user.weight != weight:
            user.weight = weight
            self._update(user)

    def add(self, job: Job[T]) -> None:
        """`job` waits."""
        user = job.user
        if not user.count:
            user.virtual = max(user.virtual, self._virtual)
            self._resting.pop(user.name, None)
            self._active[user.name] = user
            user.since = next(self._beginnings)
        user.add(job)
        job.waiting = True
        line = self.lines.get(job.tail)
        if line is None:
            line = self.lines[job.tail] = Line(self._timed)
        line.add(job)
        self._update(user)
        self.count += 1
        self.backlog += job.charge

    def remove(self, job: Job[T]) -> None:
        """`job` waits no more."""
        user = job.user
        user.remove(job)
        job.waiting = False
        line = self.lines[job.tail]
        line.remove(job)
        if not line.count:
            del self.lines[job.tail]
        self._backlogs.set(user.name, user.backlog, user.weight)
        self.count -= 1
        self.backlog = max(0.0, self.backlog - job.charge) if self.count else 0.0
        if not user.count:
            self._resting[user.name] = self._active.pop(user.name)
            if len(self._resting) >= self._prune_at:
                self._prune()

    def turns(self, tails: Container[TailKey]) -> Iterator[Job[T]]:
        """The jobs for `tails` in the order of their turn. Each must be removed before the next is asked for."""
        while (job := self._next(tails)) is not None:
            yield job

    def serve(self, user: User[T]) -> None:
        """`user` is served now: who comes back after a pause starts beside him."""
        self._virtual = max(self._virtual, user.virtual)

    def forget(self) -> None:
        """Everybody starts anew: nothing waits and nothing is being computed."""
        self._resting.clear()
        self._virtual = 0.0

    def _next(self, tails: Container[TailKey]) -> Job[T] | None:
        """Whose turn it is among those for `tails`."""
        heaps = [line.turns for tail, line in self.lines.items() if tail in tails]
        if len(heaps) == 1:
            return heaps[0].first()
        passed: list[tuple[LazyHeap[Job[T]], Job[T]]] = []
        while True:
            tops = [(job.user.virtual, job.number, job, heap) for heap in heaps if (job := heap.first()) is not None]
            first = min(tops, default=None)
            # Of a user who waits for several tails, his most urgent job counts, although another may have come earlier.
            if first is None or first[2].user.first(tails) is first[2]:
                break
            first[3].pop()
            passed.append((first[3], first[2]))
        for heap, job in passed:
            heap.push(job)
        return first[2] if first is not None else None

    def _update(self, user: User[T]) -> None:
        """What counts jobs, work or weight of `user` takes note of a change."""
        self._backlogs.set(user.name, user.backlog, user.weight)
        if user.count:
            self._heaviest.push(user)

    def _prune(self) -> None:
        """Forgets those who would start anew at the same virtual time."""
        self._resting = {name: user for name, user in self._resting.items() if user.virtual > self._virtual}
        self._prune_at = max(_PRUNE, 2 * len(self._resting))
