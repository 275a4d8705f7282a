"""What a client meets, and what comes of its requests."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from cutpoint.sdk.bundle import Point
from cutpoint.sdk.energy import EnergyModel
from cutpoint.sdk.predictor import OVERHEAD_BYTES
from cutpoint.sdk.protocol.connection import MAX_FRAMES, MIN_CHUNK
from cutpoint.sdk.testing import Trace

__all__ = ["WARM_UP", "Outcome", "Scenario", "frame_sizes", "payload_bytes"]

#: Seconds between a client's beginning and its first request, in which it learns what the link is like.
WARM_UP = 2.0
#: 95th percentile of the standard normal distribution.
_Z95 = 1.6449


@dataclass(frozen=True)
class Scenario:
    """What requests meet.

    Attributes:
        uplink: rate from the client to the server.
        rtt: seconds.
        downlink: rate back; None for five times the uplink's.
        device_scale: how many times slower than in calibration the device computes.
        server_scale: the same for the server.
        period: seconds between requests.
        poisson: whether requests come at random, independent times, and that is the mean between them.
        requests: how many.
        begin: seconds into the traces at which the client does; its first request is due `WARM_UP` later.
        probe: seconds between the client's probes of an idle link.
        thrifty: whether it becomes rarer with them, see `LinkMonitor`.
        answer_bytes: size of a result.
        energy: of the device.
        seed: of the sizes of payloads, and of random times.
    """

    uplink: Trace
    rtt: float
    downlink: Trace | None = None
    device_scale: float = 1.0
    server_scale: float = 1.0
    period: float = 0.5
    poisson: bool = False
    requests: int = 400
    begin: float = 0.0
    probe: float = 1.0
    thrifty: bool = False
    answer_bytes: int = 4096
    energy: EnergyModel = field(default_factory=EnergyModel)
    seed: int = 0

    @cached_property
    def down(self) -> Trace:
        """The downlink."""
        return self.downlink or Trace(tuple(5 * rate for rate in self.uplink.rates), self.uplink.step)

    @property
    def end(self) -> float:
        """Seconds until which requests are due."""
        return self.begin + WARM_UP + self.period * self.requests

    def sizes(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """How large the payloads of each request are, in standard deviations of the logarithm. Shape (requests,)."""
        return np.random.default_rng(self.seed).normal(size=self.requests)

    def ease(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """How easy each request is, 0 … 1: an exit that answers the share r answers those above 1 - r. (requests,)."""
        return np.random.default_rng((self.seed, 2)).uniform(size=self.requests)

    def due(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """When each request is due, in seconds. Shape (requests,)."""
        first = self.begin + WARM_UP
        if not self.poisson:
            return first + self.period * np.arange(self.requests)
        # A Poisson process of which the number of events is known.
        return np.sort(np.random.default_rng((self.seed, 1)).uniform(first, self.end, self.requests))


@dataclass(slots=True)
class Outcome:
    """What came of a request.

    Attributes:
        at: seconds at which it was due.
        latency_ms: until its answer.
        point: that gave it.
        planned: that was to give it.
        hedged: whether the device worked on an answer beside the server.
        device_ms: for which the device worked for it, in vain or not.
        radio_mj: energy of sending and receiving.
        bytes_sent: on the wire.
        exit: whether an exit of the device answered.
    """

    at: float
    latency_ms: float
    point: Point
    planned: Point
    hedged: bool = False
    device_ms: float = 0.0
    radio_mj: float = 0.0
    bytes_sent: int = 0
    exit: bool = False

    def energy_mj(self, energy: EnergyModel) -> float:
        """Energy of the device for it."""
        return energy.compute_mj(self.device_ms) + self.radio_mj


def payload_bytes(point: Point, z: float) -> int:
    """Size of a payload `z` standard deviations from the middle, from mean and 95th percentile of a log-normal."""
    m = point.measured
    if m.bytes_p95 <= m.bytes_mean * 1.001:
        return round(m.bytes_mean)
    # p95 / mean = exp(z95 · s - s² / 2)
    ratio = math.log(m.bytes_p95 / m.bytes_mean)
    spread = _Z95 - math.sqrt(max(0.0, _Z95**2 - 2 * ratio))
    return max(1, round(m.bytes_mean * math.exp(spread * z - spread**2 / 2)))


def frame_sizes(nbytes: int) -> list[int]:
    """How the protocol splits a payload, with the bytes around it."""
    piece = max(MIN_CHUNK, -(-nbytes // MAX_FRAMES))
    sizes = [min(piece, nbytes - offset) for offset in range(0, nbytes, piece)]
    return [size + OVERHEAD_BYTES // MAX_FRAMES for size in sizes]
