"""The demonstration's channels: small traces made here, shaped like links people know."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cutpoint.sdk.energy import RADIOS, Radio
from cutpoint.sdk.testing import Trace

__all__ = ["DemoChannel", "make_channels"]

_STEP = 0.1


@dataclass(frozen=True, slots=True)
class DemoChannel:
    """A link to demonstrate on.

    Attributes:
        name: for people.
        trace: uplink rate.
        delay: seconds one way.
        radio: for the energy estimate.
    """

    name: str
    trace: Trace
    delay: float
    radio: Radio


def _wandering(
    rng: np.random.Generator, seconds: float, median_mbps: float, spread: float, memory: float
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Rates in Mbit/s whose logarithm is a first-order autoregression around the median.

    Args:
        spread: standard deviation of the rate's natural logarithm.
        memory: seconds after which the correlation has fallen to 1/e.
    """
    count = max(1, round(seconds / _STEP))
    keep = np.exp(-_STEP / memory)
    state = rng.normal(0.0, spread)
    logs = np.empty(count)
    for i in range(count):
        logs[i] = state
        state = keep * state + rng.normal(0.0, spread * np.sqrt(1 - keep**2))
    return np.asarray(median_mbps * np.exp(logs))


def _trace(mbps: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Trace:
    return Trace(tuple(float(rate) * 1e6 for rate in mbps), _STEP)


def make_channels(seconds: float, seed: int) -> tuple[DemoChannel, ...]:
    """The four channels, each `seconds` long.

    * Wi-Fi: fast, short delay.
    * LTE, driving: a few Mbit/s that swing within seconds.
    * 3G: slow and far away.
    * Tunnel: LTE that is gone for a quarter of the time, at once and altogether.
    """
    rng = np.random.default_rng(seed)
    wifi = _wandering(rng, seconds, 30.0, 0.3, 2.0)
    lte = _wandering(rng, seconds, 3.0, 0.9, 1.5)
    third_generation = _wandering(rng, seconds, 0.5, 0.4, 3.0)
    tunnel = _wandering(rng, seconds, 8.0, 0.4, 2.0)
    count = len(tunnel)
    tunnel[round(0.4 * count) : round(0.65 * count)] = 0.0
    return (
        DemoChannel("Wi-Fi", _trace(wifi), 0.003, RADIOS["wifi"]),
        DemoChannel("LTE, driving", _trace(lte), 0.025, RADIOS["lte"]),
        DemoChannel("3G", _trace(third_generation), 0.060, RADIOS["3g"]),
        DemoChannel("Tunnel", _trace(tunnel), 0.025, RADIOS["lte"]),
    )
