"""How useful points are to a policy that can choose among them.

A point on the front may still be one that hardly any request wants. So conditions are drawn, as far apart as the field
has them: the uplink's rate, how much slower the device is than the calibrating machine, how much slower the server, how
much accuracy may be lost. In each of them a set of points gives the least latency of those that are accurate enough,
and what a further point is worth is by how much it lowers that, in the mean of the logarithms over all conditions.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import numpy as np

from cutpoint.calibration.search.scope import ANY_DEVICE
from cutpoint.codecs import Array

__all__ = ["order_by_use"]

_CONDITIONS = 4096
#: Ends of what is drawn, evenly in the logarithm: Mbit/s, times, share of the best metric.
_RATE = (0.1, 300.0)
_SERVER = (0.3, 10.0)
_LOSS = (0.001, 0.3)


def order_by_use(
    metrics: Array,
    costs: Array,
    given: tuple[Array, Array],
    top: float,
    seed: int = 0,
    weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    slower: tuple[float, float] = ANY_DEVICE,
) -> list[tuple[int, float]]:
    """All points, the most useful first, each with the share of the latency that it saves beside those before it.

    Points that save nothing follow in the order of what they would save without those before them, and so on.

    Args:
        metrics: float (points,).
        costs: float (points, 3 or more): bytes, device ms, tail ms.
        given: metrics and costs of points that are there anyway.
        top: metric that losses are counted from.
        seed: of the conditions.
        weights: of accuracy (2: half the loss is allowed), bytes, device and tail time.
        slower: ends of how many times slower the device is than `costs` say.
    """
    rng = np.random.default_rng(seed)
    rate, device, server, loss = (
        np.exp(rng.uniform(log(low), log(high), _CONDITIONS)) for low, high in (_RATE, slower, _SERVER, _LOSS)
    )
    accuracy, byte, slow, tail = weights
    floor = top * (1 - loss / accuracy if accuracy else 0 * loss)

    def latencies(metrics: Array, costs: Array) -> Array:
        """Logarithm of milliseconds, float (points, conditions); without end where accuracy does not do."""
        parts = costs[:, :3] * np.array([byte * 8e-3, slow, tail])
        total = parts[:, :1] / rate + parts[:, 1:2] * device + parts[:, 2:3] * server
        found: Array = np.where(metrics[:, None] >= floor - 1e-9, np.log(total + 1e-3), np.inf)
        return found

    # Where nothing that is given does, a second has to be beaten.
    start = np.minimum(latencies(*given).min(axis=0, initial=np.inf), np.log(1e3))
    each = latencies(metrics, costs)
    left = list(range(len(metrics)))
    best, first, order = start, True, list[tuple[int, float]]()
    while left:
        gains = np.maximum(best - each[left], 0).mean(axis=1)
        most = int(np.argmax(gains))
        if gains[most] <= 0 and best is not start:
            best, first = start, False
            continue
        order.append((left.pop(most), 1 - float(np.exp(-gains[most])) if first else 0.0))
        best = np.minimum(best, each[order[-1][0]])
    return order
