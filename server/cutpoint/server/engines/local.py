"""Tails in this process, in worker threads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.runtimes import Runtime
from cutpoint.sdk.tail import Tail
from cutpoint.server.engines.base import Computed, Work
from cutpoint.server.tails import LoadedTails, load_tails, run_together

__all__ = ["LocalEngine"]

log = logging.getLogger("cutpoint.server")


class LocalEngine:
    """Runs tails in threads; the runtimes release the interpreter lock while they compute.

    Args:
        runtime: loads the graphs.
        threads: batches computed at a time.
        clock: monotonic seconds.
        middle: whether spans of the middle are loaded, too.
    """

    def __init__(self, runtime: Runtime, threads: int, clock: Callable[[], float], middle: bool = False) -> None:
        self._runtime = runtime
        self._middle = middle
        self._threads = threads
        self._clock = clock
        self._tails: dict[str, Tail] = {}
        self._executor = ThreadPoolExecutor(threads, "cutpoint-tail")

    @property
    def one_interpreter(self) -> bool:
        return True

    @property
    def processor(self) -> float:
        return 0.0

    @property
    def workers(self) -> int:
        return self._threads

    def load(self, bundle: Bundle) -> LoadedTails:
        self._tails[bundle.hash], loaded = load_tails(bundle, self._runtime, self._middle)
        return loaded

    def unload(self, bundle_hash: str) -> None:
        del self._tails[bundle_hash]

    def compute(self, work: Work) -> None:
        self._executor.submit(self._compute, work).add_done_callback(_report)

    def observe(self, waiting: int, changed: Callable[[], None]) -> None:
        pass  # The number of threads is fixed.

    async def close(self) -> None:
        await asyncio.to_thread(self._executor.shutdown)

    def _compute(self, work: Work | None) -> None:
        while work is not None:
            outcome: Computed | Exception
            try:
                outcome = Computed(run_together(self._tails[work.bundle_hash], work.samples), self._clock())
            except Exception as error:
                outcome = error
            work = work.done(outcome)


def _report(worker: Future[None]) -> None:
    """What goes wrong with the work is told to who gave it; that telling it goes wrong, nobody else would notice."""
    if (error := worker.exception()) is not None:
        log.error("a worker failed: %s", error, exc_info=error)
