"""What a millisecond of tail time costs everybody else."""

from __future__ import annotations

from math import exp, sqrt

__all__ = ["CongestionPrice"]

#: Utilisation above which the price follows the queue alone: the queue of a busy server would seem to last forever.
_MOST_BUSY = 0.9
#: Utilisation below which hardly anything waits: a quotient of two small means would say little.
_LEAST_BUSY = 0.05


class CongestionPrice:
    """Milliseconds of other users' waiting that one more millisecond of tail time causes.

        price = waiting / workers · (1 / (1 - busy) + (√(2 · (workers + 1)) - 1) / busy)

    In a queue before W workers of which the share b is busy, b^√(2(W+1)) / (1 - b) requests wait, times a factor for
    how much their work varies (Sakasegawa, Annals of the Institute of Statistical Mathematics 1977; exact for W = 1).
    The price is the derivative of that by the work, less what who brings the work waits for himself, which he is told
    as `queue_ms`; what is observed to wait stands for the factor. `waiting` and `busy` are means over the past with
    exponentially falling weight; `busy` counts as 0.05 to 0.9.

    Args:
        workers: batches that are computed at a time.
        memory: seconds after which the past has lost all but 1/e of its weight. Clients hear of the price once a second
            or more rarely. A price that moves faster than they answer to it makes them come and go as a herd.
    """

    def __init__(self, workers: int, memory: float = 5.0) -> None:
        self._workers = workers
        self._steepness = sqrt(2.0 * (workers + 1)) - 1.0
        self._memory = memory
        self._then = 0.0
        self._now = (0.0, 0.0)
        self._means = (0.0, 0.0)

    def observe(self, waiting: int, running: int, now: float) -> None:
        """From now on so many samples wait and so many workers compute."""
        self._means = self._at(now)
        self._then = now
        self._now = (float(waiting), running / self._workers)

    def price(self, now: float) -> float:
        """The price at clock time `now`."""
        waiting, busy = self._at(now)
        busy = min(max(busy, _LEAST_BUSY), _MOST_BUSY)
        return waiting / self._workers * (1 / (1 - busy) + self._steepness / busy)

    def _at(self, now: float) -> tuple[float, float]:
        old = exp(-max(0.0, now - self._then) / self._memory)
        return (
            self._now[0] + old * (self._means[0] - self._now[0]),
            self._now[1] + old * (self._means[1] - self._now[1]),
        )
