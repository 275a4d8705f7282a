"""Which point answers fastest at which uplink rate, and where one takes over from another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cutpoint.sdk.bundle import Point
from cutpoint.sdk.channel import Channel
from cutpoint.sdk.energy import EnergyModel
from cutpoint.sdk.predictor import Conditions, Predictor

__all__ = ["DOWNLINK", "HIGHEST", "LOWEST", "OVERHEAD_MS", "Stretch", "best_stretches"]

#: Rates that are looked at, bit/s.
LOWEST, HIGHEST = 1e4, 1e9
#: How many times faster the downlink is, as in the simulator.
DOWNLINK = 5.0
#: Milliseconds that a request over a link takes beside its work and the round trip: event loops, threads and sockets of
#: client and server, as `make bench NAME=prediction` measures them on a computer. A slow device takes more.
OVERHEAD_MS = 2.1
#: The case that takes the belief for certain: its median.
_MEDIAN = 3


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rates at which one point is the fastest.

    Attributes:
        low: bit/s at which another takes over as the link gets slower; `LOWEST` for the last.
        high: bit/s up to which it is the fastest.
        point: the fastest.
        latency_ms: at `high`.
    """

    low: float
    high: float
    point: Point
    latency_ms: float


def best_stretches(
    points: Sequence[Point], answer_bytes: int, rtt: float, device_scale: float = 1.0
) -> tuple[Stretch, ...]:
    """The stretches from `HIGHEST` down to `LOWEST`; between two of them lies a switching point.

    The policy's own predictor says what a request takes. On a steady link that is linear in the time of a byte, so that
    two predictions tell a point's line, and the fastest points are the lower envelope of the lines. They have
    `OVERHEAD_MS` in them.

    Args:
        points: to choose from, at least one.
        answer_bytes: size of a result.
        rtt: seconds.
        device_scale: how many times slower than the points were measured.
    """
    ordered = sorted(points, key=lambda point: not point.local)
    predictor = Predictor(ordered, EnergyModel(), answer_bytes)
    ends = []
    for rate in (HIGHEST, LOWEST):
        channel = Channel(rate, rtt + OVERHEAD_MS / 1e3, downlink=DOWNLINK * rate)
        ends.append(predictor.predict(Conditions(channel, device_scale=device_scale)).latency_ms[_MEDIAN])
    first, last = 1 / HIGHEST, 1 / LOWEST
    slope = (ends[1] - ends[0]) / (last - first)
    start = ends[0] - slope * first
    stretches = []
    at = first
    # Of points that are equally fast, the one that suffers least from a slower link.
    now = int(np.lexsort((slope, start + slope * at))[0])
    while True:
        # The first crossing with a flatter line. Behind it that line is the lowest.
        flatter = np.flatnonzero(slope < slope[now] - 1e-9)
        crossings = (start[flatter] - start[now]) / (slope[now] - slope[flatter])
        behind = crossings >= at
        nearest = float(crossings[behind].min()) if behind.any() else math.inf
        latency = float(start[now] + slope[now] * at)
        stretches.append(Stretch(1 / min(nearest, last), 1 / at, ordered[now], latency))
        if nearest >= last:
            return tuple(stretches)
        met = flatter[behind & (crossings <= nearest * (1 + 1e-12))]
        at, now = nearest, int(met[np.argmin(slope[met])])
