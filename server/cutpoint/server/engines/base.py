"""What an engine is: something that computes batches for the scheduler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.tail import TailOutput
from cutpoint.server.tails import LoadedTails, Sample

__all__ = ["Computed", "Engine", "Work"]


class Computed(msgspec.Struct, frozen=True):
    """What came of a batch.

    Attributes:
        outcomes: for each sample its output, or what went wrong with it alone.
        done: clock time when the last of them was there.
    """

    outcomes: Sequence[TailOutput | Exception]
    done: float


class Work(msgspec.Struct, frozen=True):
    """What a worker is to compute.

    Attributes:
        bundle_hash: of a loaded bundle.
        samples: for the same tail of it.
        done: called where it was computed, in a worker thread or in the event loop, with what came of it, or with what
            went wrong with all of it. Returns what that worker is to compute next: it does not wait for the event loop.
    """

    bundle_hash: str
    samples: Sequence[Sample]
    done: Callable[[Computed | Exception], Work | None]


class Engine(Protocol):
    """Computes batches on its workers. Which samples, and when, is the scheduler's affair."""

    @property
    def one_interpreter(self) -> bool:
        """Whether its workers are threads of one process, which wait for each other between their computations."""
        ...

    @property
    def workers(self) -> int:
        """Batches that can be computed at a time now."""
        ...

    @property
    def processor(self) -> float:
        """Seconds of processor time that other processes on this machine have taken for batches so far."""
        ...

    def load(self, bundle: Bundle) -> LoadedTails:
        """Loads and warms up every tail of `bundle`. Blocking; may be called from any thread.

        Raises:
            BundleError, GraphError, CodecError: if it cannot be computed here.
        """
        ...

    def unload(self, bundle_hash: str) -> None:
        """Forgets a bundle. Nothing of it may be under way."""
        ...

    def compute(self, work: Work) -> None:
        """Computes `work`, and whatever follows it; called in the event loop. At most `workers` may be under way."""
        ...

    def observe(self, waiting: int, changed: Callable[[], None]) -> None:
        """Says how many samples wait, for engines that grow with the load.

        Args:
            waiting: samples without a worker.
            changed: called in the event loop when `workers` changes.
        """
        ...

    async def close(self) -> None:
        """Waits for the work that has begun and frees the workers."""
        ...
