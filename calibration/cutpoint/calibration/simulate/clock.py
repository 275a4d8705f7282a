"""Time that jumps from one event to the next."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

__all__ = ["VirtualClock"]


class VirtualClock:
    """Calls what is due, in the order of time; what is due at the same time in the order in which it was asked for.

    Attributes:
        now: seconds.
    """

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Calls `action` at `time`, in seconds."""
        heapq.heappush(self._events, (time, next(self._order), action))

    def run(self, going: Callable[[], bool]) -> None:
        """Lets time pass while `going` says so and anything is still to come."""
        while self._events and going():
            self.now, _, action = heapq.heappop(self._events)
            action()
