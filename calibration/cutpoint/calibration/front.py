"""The front: which operating points are worth having, and how much each adds.

Points are rows of a metric (more is better) and of costs (less is better). How much a set of them is worth is its
hypervolume: the share of a box between the best and the worst of all points that at least one of the set dominates. It
is measured with a fixed set of places drawn in that box, the same for every set that is compared; `SAMPLES` of them
tell shares apart to about half a per cent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cutpoint.codecs import Array

__all__ = ["SAMPLES", "Box", "dominators", "greedy_order", "hypervolume"]

#: Places that the volume is measured with.
SAMPLES = 8192


def dominators(metrics: Array, costs: Array, margin: float = 0.0) -> list[int | None]:
    """For each point another one that costs no more anywhere and is better by `margin`; None where there is none.

    Equal points do not dominate each other but for the first of them.

    Args:
        metrics: float (points,).
        costs: float (points, costs).
        margin: what the metric must be better by.
    """
    found: list[int | None] = []
    numbers = np.arange(len(metrics))
    for number in numbers:
        cheaper = (costs <= costs[number]).all(axis=1)
        better = metrics >= metrics[number] + margin
        same = (costs == costs[number]).all(axis=1) & (metrics == metrics[number])
        found_here = numbers[cheaper & better & ~(same & (numbers >= number))]
        found.append(int(found_here[np.argmax(metrics[found_here])]) if found_here.size else None)
    return found


@dataclass(frozen=True)
class Box:
    """The space between the best and the worst of some points, in which volumes are shares.

    Costs are taken as logarithms: from 500 to 1,000 bytes is as far as from 5,000 to 10,000.

    Attributes:
        floor: metric below which a point is worth nothing.
        top: the best metric.
        offset: float (costs,), added to costs so that those that are 0 have a logarithm.
        low: float (costs,), the least logarithm of each cost.
        high: float (costs,), the highest, and a little more.
    """

    floor: float
    top: float
    offset: Array
    low: Array
    high: Array

    @classmethod
    def around(cls, metrics: Array, costs: Array, floor: float) -> Box:
        """The box of all these points.

        Args:
            metrics: float (points,).
            costs: float (points, costs), none below 0.
            floor: metric below which a point is worth nothing.
        """
        least = np.where(costs > 0, costs, np.inf).min(axis=0)
        offset = np.where(np.isfinite(least), 0.1 * least, 1.0) * (costs.min(axis=0) <= 0)
        logs = np.log(costs + offset)
        return cls(floor, max(float(metrics.max()), floor + 1e-9), offset, logs.min(axis=0), logs.max(axis=0) + 0.1)

    def place(self, metrics: Array, costs: Array) -> Array:
        """Points as float (points, 1 + costs): 0 is the best, 1 the worst."""
        shares = (np.log(costs + self.offset) - self.low) / np.maximum(self.high - self.low, 1e-9)
        lost = (self.top - metrics) / (self.top - self.floor)
        placed: Array = np.concatenate([lost[:, None], shares], axis=1)
        return placed


def _covered(placed: Array, seed: int, weights: Sequence[float] | None) -> Array:
    """Which places (points, samples) each point dominates.

    A weight above 1 puts more places near the best end of its axis, one of 0 leaves the axis out (Zitzler et al., The
    hypervolume indicator revisited, 2007).
    """
    places = np.random.default_rng(seed).random((SAMPLES, placed.shape[1]))
    if weights is not None:
        places = places ** np.asarray(weights)
    covered = np.ones((len(placed), SAMPLES), dtype=bool)
    for axis in range(placed.shape[1]):
        covered &= placed[:, axis, None] <= places[None, :, axis]
    return covered


def hypervolume(metrics: Array, costs: Array, box: Box, seed: int = 0) -> float:
    """The share of `box` that at least one of the points dominates."""
    if not len(metrics):
        return 0.0
    return float(_covered(box.place(metrics, costs), seed, None).any(axis=0).mean())


def greedy_order(
    metrics: Array, costs: Array, box: Box, seed: int = 0, weights: Sequence[float] | None = None
) -> list[tuple[int, float]]:
    """All points, the one that adds most first, each with the share of the box that it adds to those before it.

    Those that add nothing follow in the order of what they would add without those before them, and so on.

    Args:
        metrics: float (points,).
        costs: float (points, costs).
        box: that shares refer to.
        seed: of the places.
        weights: of the metric and of each cost, 1 unless given.
    """
    covered = _covered(box.place(metrics, costs), seed, weights)
    left = list(range(len(metrics)))
    free = np.ones(SAMPLES, dtype=bool)
    order = []
    first = True
    while left:
        gains = covered[left] @ free.astype(np.float32)
        best = int(np.argmax(gains))
        if not gains[best] and not free.all():
            first = False
            free[:] = True
            continue
        order.append((left.pop(best), float(gains[best]) / SAMPLES if first else 0.0))
        free &= ~covered[order[-1][0]]
    return order
