"""Fair shares of worker time between users: start-time fair queueing (Goyal, Vin, Cheng, SIGCOMM 1996).

Every user has a virtual time: the worker time charged so far, divided by the user's weight. The one who is furthest
behind is next. Who comes back after a pause starts at the virtual time of those being served: nobody saves up, and
nobody pays for what was free.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Container, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import chain
from typing import Generic, TypeVar

__all__ = ["FairQueue", "Job", "TailKey", "User"]

T = TypeVar("T")

#: Users without waiting jobs that are remembered before it is looked through who can be forgotten.
_PRUNE = 64

#: A model, the boundary where the tail begins, and its precision.
TailKey = tuple[str, int, str]


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
    """

    def __init__(self, name: Hashable, virtual: float) -> None:
        self.name = name
        self.weight = 1.0
        self.virtual = virtual
        self.backlog = 0.0
        self.count = 0
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

    def last(self) -> Job[T]:
        """The job with the latest deadline of all."""
        return max(jobs[-1] for jobs in self._jobs.values())

    def count_model(self, model: str) -> int:
        """How many wait for tails of `model`."""
        return sum(len(jobs) for tail, jobs in self._jobs.items() if tail[0] == model)

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


class FairQueue(Generic[T]):
    """The waiting jobs of all users.

    Attributes:
        count: jobs that wait.
        backlog: seconds of work that wait.
    """

    def __init__(self) -> None:
        self.count = 0
        self.backlog = 0.0
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

    def count_model(self, model: str) -> int:
        """Jobs that wait for tails of `model`."""
        return sum(user.count_model(model) for user in self.users())

    def add(self, job: Job[T]) -> None:
        """`job` waits."""
        user = job.user
        if not user.count:
            user.virtual = max(user.virtual, self._virtual)
            self._resting.pop(user.name, None)
            self._active[user.name] = user
        user.add(job)
        job.waiting = True
        self.count += 1
        self.backlog += job.charge

    def remove(self, job: Job[T]) -> None:
        """`job` waits no more."""
        user = job.user
        user.remove(job)
        job.waiting = False
        self.count -= 1
        self.backlog = max(0.0, self.backlog - job.charge) if self.count else 0.0
        if not user.count:
            self._resting[user.name] = self._active.pop(user.name)
            if len(self._resting) >= self._prune_at:
                self._prune()

    def turns(self, tails: Container[TailKey]) -> Iterator[Job[T]]:
        """The jobs for `tails` in the order of their turn. Each must be removed before the next is asked for."""
        heap = [(user.virtual, job.number, user, job) for user in self.users() if (job := user.first(tails))]
        heapify(heap)
        while heap:
            _, _, user, job = heappop(heap)
            yield job
            if (job := user.first(tails)) is not None:
                heappush(heap, (user.virtual, job.number, user, job))

    def serve(self, user: User[T]) -> None:
        """`user` is served now: who comes back after a pause starts beside him."""
        self._virtual = max(self._virtual, user.virtual)

    def forget(self) -> None:
        """Everybody starts anew: nothing waits and nothing is being computed."""
        self._resting.clear()
        self._virtual = 0.0

    def _prune(self) -> None:
        """Forgets those who would start anew at the same virtual time."""
        self._resting = {name: user for name, user in self._resting.items() if user.virtual > self._virtual}
        self._prune_at = max(_PRUNE, 2 * len(self._resting))
