"""The front: points that no other beats, and how much of all that can be had a set of them gives.

Points are rows of a metric (more is better) and of costs (less is better). The measure of a set is its hypervolume: the
share of a box between the best and the worst of all points that at least one of the set dominates. It is taken with a
fixed set of places drawn in that box, the same for every set that is compared; `SAMPLES` of them tell shares apart to
about half a per cent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cutpoint.codecs import Array

__all__ = ["SAMPLES", "Box", "dominators", "hypervolume"]

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
        least = np.maximum(np.where(np.isfinite(least), 0.1 * least, 1.0), np.finfo(np.float64).tiny)
        offset = least * (costs.min(axis=0) <= 0)
        logs = np.log(costs + offset)
        return cls(floor, max(float(metrics.max()), floor + 1e-9), offset, logs.min(axis=0), logs.max(axis=0) + 0.1)

    def place(self, metrics: Array, costs: Array) -> Array:
        """Points as float (points, 1 + costs): 0 is the best, 1 the worst."""
        shares = (np.log(costs + self.offset) - self.low) / np.maximum(self.high - self.low, 1e-9)
        lost = (self.top - metrics) / (self.top - self.floor)
        placed: Array = np.concatenate([lost[:, None], shares], axis=1)
        return placed


def hypervolume(metrics: Array, costs: Array, box: Box, seed: int = 0) -> float:
    """The share of `box` that at least one of the points dominates."""
    if not len(metrics):
        return 0.0
    placed = box.place(metrics, costs)
    places = np.random.default_rng(seed).random((SAMPLES, placed.shape[1]))
    covered = np.zeros(SAMPLES, dtype=bool)
    for point in placed:
        covered |= (point <= places).all(axis=1)
    return float(covered.mean())
