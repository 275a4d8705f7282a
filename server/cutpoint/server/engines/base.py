"""What an engine is: something that computes tails for the server."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

from cutpoint.codecs import SymbolMemory
from cutpoint.sdk.bundle import Point
from cutpoint.sdk.tail import TailOutput

__all__ = ["Engine", "Outcome"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a request.

    Attributes:
        output: what the tail gave.
        queue_ms: time from its arrival until the output was there, less decoder and tail: it waited for a worker, and
            for the decoders of those in its batch.
        batch: samples that were computed together.
    """

    output: TailOutput
    queue_ms: float
    batch: int


class Engine(Protocol):
    """Computes tails. Cancelling the task that awaits `submit` frees the work, as far as it has not begun."""

    @property
    def pending(self) -> int:
        """Requests that wait or are being computed."""
        ...

    async def submit(
        self, point: Point, payload: bytes, budget: float, memory: SymbolMemory, user: Hashable
    ) -> Outcome:
        """Decodes `payload` and runs the tail.

        Args:
            point: its point.
            payload: what the client's codec wrote.
            budget: seconds until the answer is of no use; 0 for no limit. Work that has not begun by then is dropped.
            memory: earlier frames of the client's stream.
            user: whose request it is; users share the workers fairly.

        Raises:
            BitstreamError, CodecError, GraphError: if the payload or the graphs do not work.
            Overloaded: if too much is waiting, or for too long.
            DeadlineExceeded: if the budget ran out while it waited.
        """
        ...

    def queue_ms(self, user: Hashable) -> float:
        """How long a request of `user` that arrives now would wait for a worker, in milliseconds; an estimate."""
        ...

    def price(self) -> float:
        """Milliseconds that others wait longer for one more millisecond of tail time."""
        ...

    async def close(self) -> None:
        """Waits for the work that has begun and frees the workers."""
        ...
