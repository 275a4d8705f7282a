"""The rule that turns points, channel and states into a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cutpoint.sdk.bundle import Bundle, Point
from cutpoint.sdk.channel import Channel
from cutpoint.sdk.objective import Objective
from cutpoint.sdk.protocol import IDLE, ServerState

__all__ = ["Conditions", "LatencyPolicy", "Plan", "Policy", "StaticPolicy", "admissible"]

#: Bytes that a request and its frames add to the payload on the wire.
OVERHEAD_BYTES = 120


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a decision depends on.

    Attributes:
        channel: belief about the link; None while there is no connection.
        server: the server's last word about itself.
        device_scale: how many times slower than in calibration this device computes.
        server_scale: the same for the server.
    """

    channel: Channel | None
    server: ServerState = IDLE
    device_scale: float = 1.0
    server_scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """The decision for one request.

    Attributes:
        point: the chosen point.
        predicted_ms: the latency that made it win.
        device_ms: the part of it that is computed on the device.
    """

    point: Point
    predicted_ms: float
    device_ms: float


class Policy(Protocol):
    """Chooses a point. Anything with this method can be given to `Client(policy=…)`.

    One that also has an attribute `points`, those it chooses from, spares the client loading others beforehand.
    """

    def choose(self, conditions: Conditions) -> Plan:
        """The plan for a request that starts now. Must give a local point while `conditions.channel` is None."""
        ...


def admissible(points: Sequence[Point], floor: float) -> tuple[Point, ...]:
    """The points whose task metric is at least `floor`; of the local ones always at least the most accurate.

    A device that cannot reach the floor alone still answers alone when the link is gone: late is worse than less sure.
    """
    chosen = [point for point in points if point.measured.metric >= floor]
    if not any(point.local for point in chosen):
        local = [point for point in points if point.local]
        chosen += [max(local, key=lambda point: (point.measured.metric, -point.measured.device_ms))]
    return tuple(chosen)


class LatencyPolicy:
    """Least predicted latency among the points above the accuracy floor.

    latency = (head + encode) · device_scale + bytes · 8 / uplink + rtt + queue + (decode + tail) · server_scale,
    with the 95th percentile of the bytes and the cautious uplink, because it is the late answers that hurt.

    Args:
        points: to choose from, at least one of them local.
    """

    def __init__(self, points: Sequence[Point]) -> None:
        self.points = tuple(points)
        measured = [point.measured for point in self.points]
        self._local = np.array([point.local for point in self.points])
        self._device_ms = np.array([m.device_ms + m.encode_ms for m in measured])
        self._server_ms = np.array([m.decode_ms + m.tail_ms for m in measured])
        self._bits = np.array([(m.bytes_p95 + OVERHEAD_BYTES) * 8 for m in measured])

    @classmethod
    def for_bundle(cls, bundle: Bundle, objective: Objective) -> LatencyPolicy:
        """The policy over the points of `bundle` that `objective` admits."""
        return cls(admissible(bundle.points, objective.floor(bundle.manifest.task.uncut)))

    def predict_ms(self, conditions: Conditions) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Predicted latency of every point in milliseconds; infinite for what cannot be had now. Shape (points,)."""
        local = self._device_ms * conditions.device_scale
        channel = conditions.channel
        if channel is None or conditions.server.draining:
            return np.where(self._local, local, np.inf)
        remote = (
            self._bits / channel.cautious_uplink * 1e3
            + channel.rtt * 1e3
            + conditions.server.queue_ms
            + self._server_ms * conditions.server_scale
        )
        return np.where(self._local, local, local + remote)

    def choose(self, conditions: Conditions) -> Plan:
        latency = self.predict_ms(conditions)
        best = int(np.argmin(latency))
        device_ms = float(self._device_ms[best]) * conditions.device_scale
        return Plan(self.points[best], float(latency[best]), device_ms)


class StaticPolicy:
    """Always the same point, or the fallback while there is no link and the point needs one.

    Args:
        point: the point.
        fallback: a local point.
    """

    def __init__(self, point: Point, fallback: Point) -> None:
        self.points = (point, fallback)
        self._chosen = LatencyPolicy([point])
        self._fallback = LatencyPolicy([fallback])

    def choose(self, conditions: Conditions) -> Plan:
        linked = conditions.channel is not None
        policy = self._chosen if linked or self._chosen.points[0].local else self._fallback
        return policy.choose(conditions)
