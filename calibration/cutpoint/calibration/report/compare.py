"""Two bundles side by side: which has the better trade-off, and by how much."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from cutpoint.calibration.report.view import ShownPoint, View

__all__ = ["Comparison", "Equal", "compare_views", "front", "hypervolume"]

#: Accuracy given up against the better of the two uncut models, for which bytes are compared.
DROPS = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1)


class Equal(msgspec.Struct, frozen=True):
    """The fewest bytes that reach a metric in each of two bundles, and the points; None where none does."""

    drop: float
    metric: float
    a_bytes: float | None
    b_bytes: float | None
    a_point: str | None
    b_point: str | None

    @property
    def ratio(self) -> float | None:
        """Bytes of the second for each byte of the first."""
        return self.b_bytes / self.a_bytes if self.a_bytes and self.b_bytes else None


class Comparison(msgspec.Struct, frozen=True):
    """What differs between two bundles.

    Attributes:
        a, b: the bundles.
        equal: bytes at equal accuracy.
        a_volume, b_volume: share of the plane of metric and logarithm of bytes below each front, see `hypervolume`.
        only_a, only_b: ids of the points on one front that the other bundle does not have.
    """

    a: View
    b: View
    equal: tuple[Equal, ...]
    a_volume: float
    b_volume: float
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]


def front(points: Sequence[ShownPoint]) -> tuple[ShownPoint, ...]:
    """The points that send something and that no other beats in metric and bytes, the smallest first."""
    best = -math.inf
    kept = []
    for point in sorted((p for p in points if p.wire > 0), key=lambda p: (p.bytes, -p.metric)):
        if point.metric > best:
            best = point.metric
            kept.append(point)
    return tuple(kept)


def hypervolume(points: Sequence[ShownPoint], low: float, high: float, floor: float, ceiling: float) -> float:
    """Share of a rectangle that lies at more bytes or less metric than some point: 1 would be the perfect front.

    Args:
        points: a front, the smallest first.
        low, high: bytes; the axis is logarithmic.
        floor, ceiling: of the metric.
    """
    if high <= low or ceiling <= floor:
        return 0.0
    edges = [*(min(max(point.bytes, low), high) for point in points), high]
    heights = [min(max(point.metric, floor), ceiling) - floor for point in points]
    volume = sum(h * math.log(end / begin) for h, (begin, end) in zip(heights, pairwise(edges), strict=True))
    return volume / (math.log(high / low) * (ceiling - floor))


def compare_views(a: View, b: View) -> Comparison:
    """What differs between two bundles. Their metrics have to be measured on the same data to mean anything."""
    fronts = front(a.points), front(b.points)
    every = [point for each in fronts for point in each]
    uncut = max(a.uncut, b.uncut)
    low = min((point.bytes for point in every), default=1.0) or 1.0
    high = 2 * max((point.bytes for point in every), default=1.0)
    floor = max(0.0, uncut - DROPS[-1])
    ceiling = max([uncut, *(point.metric for point in every)])
    ids = {point.id for point in a.points}, {point.id for point in b.points}
    return Comparison(
        a=a,
        b=b,
        equal=tuple(_equal(fronts[0], fronts[1], uncut, drop) for drop in DROPS),
        a_volume=hypervolume(fronts[0], low, high, floor, ceiling),
        b_volume=hypervolume(fronts[1], low, high, floor, ceiling),
        only_a=tuple(point.id for point in fronts[0] if point.id not in ids[1]),
        only_b=tuple(point.id for point in fronts[1] if point.id not in ids[0]),
    )


def _equal(a: Sequence[ShownPoint], b: Sequence[ShownPoint], uncut: float, drop: float) -> Equal:
    metric = uncut - drop
    first, second = (next((p for p in points if p.metric >= metric - 1e-9), None) for points in (a, b))
    return Equal(
        drop,
        metric,
        first.bytes if first else None,
        second.bytes if second else None,
        first.id if first else None,
        second.id if second else None,
    )
