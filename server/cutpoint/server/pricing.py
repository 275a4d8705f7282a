"""What a millisecond of tail time costs everybody else."""

from __future__ import annotations

from math import exp

__all__ = ["CongestionPrice"]

#: Utilisation above which the price follows the queue alone: the queue of a busy server would seem to last forever.
_MOST_BUSY = 0.9


class CongestionPrice:
    """Milliseconds of other users' waiting that one more millisecond of tail time causes.

        price = waiting / (workers · (1 − busy))

    A millisecond on one of the workers postpones each sample that waits by 1/workers of it, and so does it to each that
    arrives before the queue is empty: with the share `busy` of the workers' time in use, those are busy + busy² + … =
    busy / (1 − busy) for each that waits now. `waiting` and `busy` are means over the past with exponentially falling
    weight; `busy` counts as at most 0.9.

    Args:
        workers: batches that are computed at a time.
        memory: seconds after which the past has lost all but 1/e of its weight.

    Attributes:
        workers: as given; may be changed.
    """

    def __init__(self, workers: int, memory: float = 1.0) -> None:
        self.workers = workers
        self._memory = memory
        self._then = 0.0
        self._now = (0.0, 0.0)
        self._means = (0.0, 0.0)

    def observe(self, waiting: int, running: int, now: float) -> None:
        """From now on so many samples wait and so many workers compute."""
        self._means = self._at(now)
        self._then = now
        self._now = (float(waiting), running / max(1, self.workers))

    def price(self, now: float) -> float:
        """The price at clock time `now`."""
        waiting, busy = self._at(now)
        return waiting / (max(1, self.workers) * (1 - min(busy, _MOST_BUSY)))

    def _at(self, now: float) -> tuple[float, float]:
        old = exp(-max(0.0, now - self._then) / self._memory)
        return (
            self._now[0] + old * (self._means[0] - self._now[0]),
            self._now[1] + old * (self._means[1] - self._now[1]),
        )
