"""What an engine is: something that computes tails for the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cutpoint.codecs import SymbolMemory
from cutpoint.sdk.bundle import Point
from cutpoint.sdk.tail import TailOutput

__all__ = ["Engine", "Outcome"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a request, and how long it waited for a worker, in milliseconds."""

    output: TailOutput
    queue_ms: float


class Engine(Protocol):
    """Computes tails. Cancelling the task that awaits `submit` frees the work, as far as it has not begun."""

    async def submit(self, point: Point, payload: bytes, budget: float, memory: SymbolMemory) -> Outcome:
        """Decodes `payload` and runs the tail.

        Args:
            point: its point.
            payload: what the client's codec wrote.
            budget: seconds until the answer is of no use; 0 for no limit. Work that has not begun by then is dropped.
            memory: earlier frames of the client's stream.

        Raises:
            BitstreamError, CodecError, GraphError: if the payload or the graphs do not work.
            Overloaded: if too much is waiting.
            DeadlineExceeded: if the budget ran out while it waited.
        """
        ...

    def queue_ms(self) -> float:
        """How long a request that arrives now would wait for a worker, in milliseconds; an estimate."""
        ...

    async def close(self) -> None:
        """Waits for the work that has begun and frees the workers."""
        ...
