"""What it costs that users share a server: convex functions of one number, their common load."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cutpoint.codecs import Array

__all__ = ["Congestion", "DividedServer", "SharedQueue"]

_MS = 1e3


class Congestion(Protocol):
    """A convex, increasing cost of a load, 0 at 0."""

    @property
    def capacity(self) -> float:
        """Loads from here on cost infinitely much; may be infinite."""
        ...

    def cost(self, load: Array) -> Array:
        """Cost a second of each load."""
        ...

    def slope(self, load: float) -> float:
        """Derivative of the cost, below the capacity."""
        ...


@dataclass(frozen=True, slots=True)
class SharedQueue:
    """One queue before all workers; a millisecond of waiting costs 1.

    The load is the offered work, a = Σ requests a second · worker's seconds. The cost is the mean number of waiting
    requests of an M/G/W queue, in ms/s: (1 + v) / 2 · C(W, a) · a / (W - a) with Erlang's C, which is exact for one
    worker (Pollaczek, Khinchine) and Lee and Longton's approximation for more. It is convex in a (Grassmann 1983).

    Attributes:
        workers: W.
        variation: v, squared coefficient of variation of the work; 0 if all requests are alike, 1 if exponential.
    """

    workers: int
    variation: float = 0.0

    @property
    def capacity(self) -> float:
        return float(self.workers)

    def cost(self, load: Array) -> Array:
        a = np.maximum(load, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            waiting = self._wait(a, self._blocking(a))[0] * a / (self.workers - a)
        return np.where(a < self.workers, _MS * (1 + self.variation) / 2 * waiting, math.inf)

    def slope(self, load: float) -> float:
        workers, a = self.workers, max(load, 1e-12)
        blocking = float(self._blocking(np.array(a)))
        waits, room = self._wait(a, blocking)
        blocking_slope = blocking * (workers / a - 1 + blocking)
        room_slope = blocking - 1 + a * blocking_slope
        waits_slope = workers * (blocking_slope * room - blocking * room_slope) / room**2
        slope = waits_slope * a / (workers - a) + waits * workers / (workers - a) ** 2
        return _MS * (1 + self.variation) / 2 * float(slope)

    def _blocking(self, a: Array) -> Array:
        """Erlang's B."""
        blocking = np.ones_like(a)
        for number in range(1, self.workers + 1):
            blocking = a * blocking / (number + a * blocking)
        return blocking

    def _wait(self, a: Array | float, blocking: Array | float) -> tuple[Array | float, Array | float]:
        """Erlang's C, the share of requests that wait, and what it was divided by."""
        room = self.workers - a * (1 - blocking)
        return self.workers * blocking / room, room


@dataclass(frozen=True, slots=True)
class DividedServer:
    """Every user has a share of the server for himself; a millisecond of computation costs 1.

    With share f a request of s worker's seconds takes s / f. For given choices the best shares are known: minimising
    Σ r s / f with Σ f = W gives f = W √(r s) / A with A = Σ √(r s), and the cost A² / W, in ms/s. So the load is A, and
    a user adds √(requests a second · worker's seconds) to it. This is the division of tail capacity in joint
    partitioning and resource allocation (Tang et al., IEEE Internet of Things Journal 2021; RAP and JM-MPRA, IEEE TMC
    2024), with the summed cost as the aim.

    Attributes:
        workers: W.
    """

    workers: int

    @property
    def capacity(self) -> float:
        return math.inf

    def cost(self, load: Array) -> Array:
        return _MS * np.maximum(load, 0.0) ** 2 / self.workers

    def slope(self, load: float) -> float:
        return 2 * _MS * max(load, 0.0) / self.workers

    def shares(self, loads: Array) -> Array:
        """Workers for each user, given what each adds to the load. Shape (users,)."""
        total = loads.sum()
        return self.workers * loads / total if total else np.zeros_like(loads)
