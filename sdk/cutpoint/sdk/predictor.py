"""What a request would take at every point, case by case."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Point
from cutpoint.sdk.channel import MAX_RATE, PROBABILITIES, Channel
from cutpoint.sdk.energy import EnergyModel, Radio
from cutpoint.sdk.protocol import IDLE, ServerState
from cutpoint.sdk.state import DeviceState

__all__ = ["OVERHEAD_BYTES", "Conditions", "Prediction", "Predictor"]

#: Bytes that a request and its frames add to the payload on the wire.
OVERHEAD_BYTES = 120
#: Where there is none, only points that need none are predicted.
_NO_LINK = Channel(MAX_RATE, 0.0)


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a decision depends on.

    Attributes:
        channel: belief about the link; None while there is no connection.
        server: the server's last word about itself.
        device_scale: how many times slower than in calibration this device computes.
        server_scale: the same for the server.
        device_queue_ms: work that the device has before it gets to this request.
        unanswered: bytes that are on the way already, and that this request's bytes have to wait for.
        device: what the system says of the device.
        radio: of the network in use, where the app told; None for the energy model's own.
        device_price: milliseconds that others wait longer for one of this device's; 0 for a device of its own.
        budget_ms: milliseconds that are left for the answer, beside the objective's deadline.
    """

    channel: Channel | None
    server: ServerState = IDLE
    device_scale: float = 1.0
    server_scale: float = 1.0
    device_queue_ms: float = 0.0
    unanswered: int = 0
    device: DeviceState = field(default_factory=DeviceState)
    radio: Radio | None = None
    device_price: float = 0.0
    budget_ms: float = math.inf


class Prediction(NamedTuple):
    """What a request would take now, at the points that can be had: all of them, or the local ones without a link.

    Attributes:
        probabilities: of the cases, (cases,): the channel's samples, the best first and an outage last.
        latency_ms: of every point in every case, (cases, points).
        device_ms: until the device is done, (points,): queue, head and encoder.
        energy_mj: of computation and radio, (points,).
        server_ms: decoder and tail, (points,).
    """

    probabilities: Array
    latency_ms: Array
    device_ms: Array
    energy_mj: Array
    server_ms: Array


class Predictor:
    """Predicts latency and energy of all points at once.

    latency = queue + (head + encoder) · device_scale + (unanswered + payload) · 8 / uplink + rtt
    + answer · 8 / downlink + server's queue + (decoder + tail) · server_scale. All of it is linear in what was measured
    of a point, so that a prediction is one product of two matrices: conditions (quantities, measurements) and
    measurements (measurements, points).

    Args:
        points: local ones first.
        energy: of the device.
        answer_bytes: size of a result.
    """

    def __init__(self, points: Sequence[Point], energy: EnergyModel, answer_bytes: int = 4096) -> None:
        self.points = tuple(points)
        self.energy = energy
        self.answer_bytes = answer_bytes
        self.local = sum(point.local for point in self.points)
        assert all(point.local for point in self.points[: self.local]), "local points come first"
        self._measured = np.ascontiguousarray(np.array([self._measurements(point) for point in self.points]).T)

    def _measurements(self, point: Point) -> tuple[float, ...]:
        m = point.measured
        device_ms = m.device_ms + m.encode_ms
        compute_mj = self.energy.compute_mj(device_ms) if m.energy_mj is None else m.energy_mj
        # What the device does not touch, as a server that passes a payload on, does not wait for its turn either.
        queued = float(device_ms > 0.0)
        if point.local:
            return device_ms, 0.0, 0.0, compute_mj, 0.0, queued
        return device_ms, m.bytes_mean + OVERHEAD_BYTES, m.decode_ms + m.tail_ms, compute_mj, 1.0, queued

    def predict(self, conditions: Conditions) -> Prediction:
        """The prediction; without a link, or for a server that drains, of the local points only."""
        channel, server = conditions.channel, conditions.server
        measured = self._measured
        if channel is None or server.draining:
            channel, measured = _NO_LINK, measured[:, : self.local]
        rates, trips, chances = channel.samples()
        device, queue = conditions.device_scale, conditions.device_queue_ms
        after_ms = server.queue_ms + self.answer_bytes * 8e3 / channel.downlink
        rows: list[float] = []
        mean_byte_ms = 0.0
        for rate, trip, chance in zip(rates, trips, chances, strict=True):
            byte_ms = 8e3 / rate
            mean_byte_ms += chance * byte_ms
            wait_ms = trip * 1e3 + conditions.unanswered * byte_ms + after_ms
            rows += (device, byte_ms, conditions.server_scale, 0.0, wait_ms, queue)
        # The radio's base power lasts as long as the upload: what counts is the mean of 1 / rate.
        radio = conditions.radio or self.energy.radio
        byte_mj = radio.send_mj(1, 8e3 / mean_byte_ms)
        answer_mj = radio.receive_mj(self.answer_bytes, channel.downlink)
        rows += (device, 0.0, 0.0, 0.0, 0.0, queue)
        rows += (0.0, byte_mj, 0.0, device, answer_mj, 0.0)
        rows += (0.0, 0.0, conditions.server_scale, 0.0, 0.0, 0.0)
        result = np.array(rows).reshape(-1, len(measured)) @ measured
        return Prediction(np.array(chances), result[:PROBABILITIES], *result[PROBABILITIES:])
