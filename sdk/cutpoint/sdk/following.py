"""A point that somebody else chose: what it costs, and when the device steps in there.

It is what `AdaptivePolicy` computes of all points at once, of one of them: a few dozen additions, for which arrays take
longer than plain numbers.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from cutpoint.sdk.predictor import WORST_CASE, PointPrediction

__all__ = ["MARGIN", "MARGIN_MS", "Prices", "Way", "cheapest_way"]

#: The device's own work may take this much longer than predicted when a deadline depends on it: a share, and ms.
MARGIN, MARGIN_MS = 1.1, 3.0


class Prices(NamedTuple):
    """What counts beside what a point costs whenever the device steps in.

    Attributes:
        latency: of a millisecond of latency.
        wasted: of a millisecond that the device works in vain.
        late: of an answer after the deadline.
        deadline_ms: infinite for none.
        outlast: whether the device may also wait until an outage is over.
    """

    latency: float
    wasted: float
    late: float
    deadline_ms: float
    outlast: bool


class Way(NamedTuple):
    """A point, with the best rule for when the device starts on an answer of its own.

    Attributes:
        start_ms: when it does.
        latency_ms: until there is an answer, as an expectation.
        started_ms: until the device starts if there is no answer before, as an expectation.
        cost: of latency, work in vain and the deadline.
        race: whether the device starts as soon as its head is done.
    """

    start_ms: float
    latency_ms: float
    started_ms: float
    cost: float
    race: bool


def cheapest_way(point: PointPrediction, prices: Prices, race: bool) -> Way:
    """The best of the ways to take a point, as in `AdaptivePolicy`.

    Args:
        point: what it would take.
        prices: of what the ways differ in.
        race: whether there may be one.
    """
    done, late = point.device_ms, point.latency_ms[WORST_CASE]
    latest = prices.deadline_ms - MARGIN * point.alone_ms - MARGIN_MS
    if done <= latest < late:
        late = latest
    starts = [math.inf] if point.alone_ms == math.inf else [done, late] if race else [late]
    if prices.outlast and point.alone_ms < math.inf:
        starts.append(point.latency_ms[-1])
    ways = [_way(point, prices, max(start, point.queue_ms), race and not number) for number, start in enumerate(starts)]
    return min(ways, key=lambda way: way.cost)


def _way(point: PointPrediction, prices: Prices, start: float, race: bool) -> Way:
    end, deadline = start + point.alone_ms, prices.deadline_ms
    latency = started = missed = 0.0
    for chance, q in zip(point.probabilities, point.latency_ms, strict=True):
        answered = q if q < end else end
        latency += chance * answered
        started += chance * (q if q < start else start)
        if answered > deadline:
            missed += chance
    if point.exit_rate:
        latency += point.exit_rate * (point.exit_ms - latency)
        started += point.exit_rate * (point.exit_ms - started)
        missed += point.exit_rate * ((point.exit_ms > deadline) - missed)
    cost = prices.latency * latency + prices.wasted * (latency - started) + prices.late * missed
    return Way(start, latency, started, cost, race)
