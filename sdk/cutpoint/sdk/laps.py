"""How long each of several computations in a row takes, on a device that may be emulated."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter, thread_time

from cutpoint.sdk.errors import GraphError
from cutpoint.sdk.runtimes import Stop

__all__ = ["Laps", "Stretch"]

#: Called with a computation's seconds of processor time and of wall time, and what ends it early.
Stretch = Callable[[float, float, Stop], None]


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

    def lap(self) -> float:
        """Milliseconds of the computation that ends now; the next begins. Raises `GraphError` if it was to stop."""
        if self._stretch is not None:
            self._stretch(thread_time() - self._processor, perf_counter() - self._wall, self._stop)
        if self._stop:
            raise GraphError("called off: the answer is not wanted any more")
        began = self._wall
        self.begin()
        return (self._wall - began) * 1e3
