"""What a learned policy sees: `Conditions` as a short vector of numbers between about -1 and 1."""

from __future__ import annotations

from math import log10
from typing import Final

import numpy as np

from cutpoint.codecs import Array
from cutpoint.sdk.energy import Radio
from cutpoint.sdk.predictor import Conditions

__all__ = ["FEATURES", "observe"]

#: Names of the features, in their order. docs/policies.md has the formulas.
FEATURES: Final = (
    "uplink",
    "spread",
    "rtt",
    "rtt_spread",
    "stall",
    "downlink",
    "device_scale",
    "server_scale",
    "device_queue",
    "unanswered",
    "server_queue",
    "price",
    "strained",
    "radio_base",
    "radio_slope",
)
#: Seconds, and scales, below which it makes no difference how small they are.
_LEAST_S, _LEAST_SCALE = 1e-4, 1e-3


def observe(conditions: Conditions, radio: Radio) -> Array:
    """The features of `conditions`, of which the channel is known. float32, shape (1, len(FEATURES)).

    Rates, times and scales are logarithms, so that a factor of ten is the same step everywhere.

    Args:
        conditions: with a channel.
        radio: where the conditions name none.
    """
    channel, server = conditions.channel, conditions.server
    assert channel is not None, "without a link there is nothing to choose from"
    used = conditions.radio or radio
    features = (
        log10(channel.uplink) / 3 - 2,
        channel.spread / 3,
        log10(max(_LEAST_S, channel.rtt)) / 2 + 1,
        log10(max(_LEAST_S, channel.rtt_spread)) / 2 + 1,
        channel.stall,
        log10(channel.downlink) / 3 - 2,
        log10(max(_LEAST_SCALE, conditions.device_scale)) / 2,
        log10(max(_LEAST_SCALE, conditions.server_scale)) / 2,
        log10(1 + conditions.device_queue_ms) / 4,
        log10(1 + conditions.unanswered) / 7,
        log10(1 + server.queue_ms) / 4,
        log10(1 + server.price) / 3,
        1.0 if conditions.device.strained else 0.0,
        used.base_mw / 5000,
        used.slope_mw / 1000,
    )
    return np.array((features,), np.float32)
