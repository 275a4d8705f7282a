"""How long each of several computations in a row takes, on a device that may be emulated."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from statistics import median
from time import perf_counter, thread_time

from cutpoint.sdk.errors import GraphError
from cutpoint.sdk.runtimes import Stop

__all__ = ["Laps", "Stretch", "TypicalTimes"]

#: Runs of a computation after which its time is known.
_RUNS = 5

#: Called with what was computed, its seconds of processor time and of wall time, and what ends it early.
Stretch = Callable[[Hashable, float, float, Stop], None]


class Laps:
    """Times computations of one thread, the first from now on.

    Args:
        stop: ends them early.
        stretch: called behind each, before its result is used: the emulation of a slower device waits there.
    """

    def __init__(self, stop: Stop, stretch: Stretch | None = None) -> None:
        self._stop = stop
        self._stretch = stretch
        self.begin()

    def begin(self) -> None:
        """What comes now is timed; what was since the last lap is not."""
        self._wall, self._processor = perf_counter(), thread_time()

    def lap(self, what: Hashable) -> float:
        """Milliseconds of the computation that ends now; the next begins.

        Args:
            what: names the computation, alike each time: a slower device that is emulated knows it again.

        Raises:
            GraphError: if it was to stop.
        """
        if self._stretch is not None:
            self._stretch(what, thread_time() - self._processor, perf_counter() - self._wall, self._stop)
        if self._stop:
            raise GraphError("called off: the answer is not wanted any more")
        began = self._wall
        self.begin()
        return (self._wall - began) * 1e3


class TypicalTimes:
    """How long computations take: the median of the first few runs of each.

    For emulated machines: they are as fast at any time, whatever else the real one does. Safe from several threads.
    """

    def __init__(self) -> None:
        self._first: dict[Hashable, list[float]] = {}

    def of(self, what: Hashable, seconds: float) -> float:
        """The typical seconds of `what`, which took `seconds` now."""
        first = self._first.setdefault(what, [])
        if len(first) < _RUNS:
            first.append(seconds)
        return median(first)
