"""Estimates that are off by a known amount: what policies meet whose beliefs are wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cutpoint.sdk.policy import Plan, Policy
from cutpoint.sdk.predictor import Conditions

__all__ = ["MistakenPolicy", "mistaken"]


def mistaken(conditions: Conditions, error: float, rng: np.random.Generator) -> Conditions:
    """`conditions` with estimates of channel and computation that are off by log-normal factors.

    Args:
        conditions: as estimated.
        error: standard deviation of the natural logarithm of every factor: 0.3 for about 30 %.
        rng: of the factors.
    """
    if not error or conditions.channel is None:
        return conditions
    up, trip, device, server = np.exp(error * rng.standard_normal(4)).tolist()
    channel = replace(conditions.channel, uplink=conditions.channel.uplink * up, rtt=conditions.channel.rtt * trip)
    scales = {"device_scale": conditions.device_scale * device, "server_scale": conditions.server_scale * server}
    return replace(conditions, channel=channel, **scales)


class MistakenPolicy:
    """Asks another policy, with estimates that are off.

    Args:
        policy: the other one.
        error: as for `mistaken`.
        rng: of the factors.
    """

    def __init__(self, policy: Policy, error: float, rng: np.random.Generator) -> None:
        self._policy = policy
        self._error = error
        self._rng = rng

    def choose(self, conditions: Conditions) -> Plan:
        return self._policy.choose(mistaken(conditions, self._error, self._rng))
