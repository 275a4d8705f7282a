"""A request on its way through a server, and what came of it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple, Protocol

import msgspec

from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.errors import DeadlineExceeded
from cutpoint.sdk.protocol import Hop, TraceContext
from cutpoint.sdk.tail import TailOutput
from cutpoint.server.scheduler import Outcome
from cutpoint.server.shared_slices import SliceRows
from cutpoint.server.tails import Encoded, LoadedTails, Sample

__all__ = ["Answered", "Asked", "Computing", "SlicedAnswer", "Work"]


class Asked(msgspec.Struct, frozen=True):
    """A request.

    Attributes:
        sample: what it is about.
        budget: seconds for the answer; 0 for no limit.
        hops: tiers that it has passed.
        user: whose it is.
        weight: his share of the workers.
        arrived: clock time.
        trace: whose part it is.
        exits: how many of the exits for servers, in their order, may answer.
    """

    sample: Encoded | SliceRows
    budget: float
    hops: int
    user: Hashable
    weight: float
    arrived: float
    trace: TraceContext | None = None
    exits: int = 0

    def left(self, now: float) -> float:
        """Seconds that are left for the answer at clock time `now`; 0 for no limit. Raises `DeadlineExceeded`."""
        if not self.budget:
            return 0.0
        left = self.budget - (now - self.arrived)
        if left <= 0:
            raise DeadlineExceeded(f"the budget of {self.budget:.3f} s ran out")
        return left


class Answered(NamedTuple):
    """What came of a request: the outcome as if this server had done all of it, and what each tier did."""

    outcome: Outcome
    hops: tuple[Hop, ...]


class Computing(Protocol):
    """What computes the requests for one model on this server."""

    bundle: Bundle
    tails: LoadedTails

    async def submit(self, sample: Sample, budget: float, user: Hashable, weight: float = 1.0) -> Outcome:
        """Computes a sample; as `Scheduler.submit`."""
        ...

    def queue_ms(self, user: Hashable) -> float:
        """How long a request of `user` that arrives now would wait for a worker, in milliseconds."""
        ...

    def refused_at(self) -> float:
        """Clock time at which a request was last refused for want of time or room."""
        ...


class SlicedAnswer(Protocol):
    """A request whose parts come one by one, see `SlicedRequest`."""

    async def answer(self, name: str, computing: Computing, asked: Asked) -> Answered:
        """The answer, by the tier called `name`."""
        ...


class Work:
    """What this server did for a request; milliseconds."""

    def __init__(self) -> None:
        self.queue = self.decode = self.compute = self.encode = 0.0
        self.batch = 1

    def add(self, outcome: Outcome) -> None:
        self.queue += outcome.queue_ms
        self.decode += outcome.output.decode_ms
        self.compute += outcome.output.tail_ms
        self.encode += outcome.output.encode_ms
        self.batch = outcome.batch

    def answered(
        self, name: str, outputs: tuple[Array, ...], total: float, behind: tuple[Hop, ...], exit: int = 0
    ) -> Answered:
        """The answer, `total` milliseconds after the request; `behind` are the tiers behind this one."""
        tail = max(0.0, total - self.queue - self.decode)
        outcome = Outcome(TailOutput(outputs, self.decode, tail, exit=exit), self.queue, self.batch)
        return Answered(outcome, (Hop(name, self.queue, self.decode, self.compute, self.encode, total), *behind))
