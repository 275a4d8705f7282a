"""What a request would take at every point, case by case."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Measurement, Point
from cutpoint.sdk.channel import MAX_RATE, PROBABILITIES, Channel
from cutpoint.sdk.energy import EnergyModel, Radio
from cutpoint.sdk.protocol import IDLE, ServerState
from cutpoint.sdk.state import DeviceState

__all__ = ["OVERHEAD_BYTES", "WORST_CASE", "Conditions", "Exits", "PointPrediction", "Prediction", "Predictor"]

#: Bytes that a request and its frames add to the payload on the wire.
OVERHEAD_BYTES = 120
#: The worst case of the belief that is no outage.
WORST_CASE = PROBABILITIES - 2
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
        slices: whether the connection lets payloads come in parts; without, sliced points cannot be had.
    """

    channel: Channel | None
    server: ServerState = IDLE
    device_scale: float = 1.0
    server_scale: float = 1.0
    device_queue_ms: float = 0.0
    unanswered: float = 0.0
    device: DeviceState = field(default_factory=DeviceState)
    radio: Radio | None = None
    device_price: float = 0.0
    budget_ms: float = math.inf
    slices: bool = True


class Exits(NamedTuple):
    """What exits on the device do to a prediction.

    Attributes:
        rate: share of the requests that the exit answers, (points,); 0 at points without.
        ms: until its answer, (points,).
    """

    rate: Array
    ms: Array

    def mean(self, otherwise: Array, answered: Array | float) -> Array:
        """Over all requests: `answered` for those that the exit answers, and `otherwise`, (…, points)."""
        return otherwise + self.rate * (answered - otherwise)


class Prediction(NamedTuple):
    """What a request would take now, at the points that can be had: the local ones without a link, the first so many.

    Attributes:
        probabilities: of the cases, (cases,): the channel's samples, the best first and an outage last.
        latency_ms: of every point in every case, (cases, points), unless an exit answers.
        device_ms: until the device is done, (points,): queue, head and encoder, unless an exit answers.
        energy_mj: of computation and radio, (points,), in the mean over all requests.
        server_ms: decoder and tail, (points,), in the mean over all requests.
        exits: of the points; None where none has one.
    """

    probabilities: Array
    latency_ms: Array
    device_ms: Array
    energy_mj: Array
    server_ms: Array
    exits: Exits | None = None

    @property
    def mean_latency_ms(self) -> Array:
        """Of every point in every case, (cases, points), exits included."""
        return self.latency_ms if self.exits is None else self.exits.mean(self.latency_ms, self.exits.ms)

    @property
    def mean_device_ms(self) -> Array:
        """Until the device is done, (points,), exits included."""
        return self.device_ms if self.exits is None else self.exits.mean(self.device_ms, self.exits.ms)


class PointPrediction(NamedTuple):
    """What a request would take now at one point.

    Attributes:
        probabilities: of the cases, as in `Prediction`.
        latency_ms: in every case, unless an exit answers.
        device_ms: until the device is done, unless an exit answers.
        mean_device_ms: the same in the mean over all requests.
        energy_mj: of computation and radio, in the mean over all requests.
        server_ms: decoder and tail, in the mean over all requests.
        queue_ms: before the device begins with anything.
        alone_ms: that the device's own answer takes from then on; infinite where there is no local point.
        exit_rate: share of the requests that the exit answers.
        exit_ms: until its answer.
    """

    probabilities: Sequence[float]
    latency_ms: Sequence[float]
    device_ms: float
    mean_device_ms: float
    energy_mj: float
    server_ms: float
    queue_ms: float
    alone_ms: float
    exit_rate: float
    exit_ms: float


class Predictor:
    """Predicts latency and energy of all points at once.

    latency = queue + (head + encoder) · device_scale + (unanswered + payload) · 8 / uplink + rtt
    + answer · 8 / downlink + server's queue + (decoder + tail) · server_scale. All of it is linear in what was measured
    of a point, so that a prediction is one product of two matrices: conditions (quantities, measurements) and
    measurements (measurements, points). At a point with an exit that answers the share r after x ms, a request takes
    r · x + (1 - r) · latency in the mean. Whoever hedges needs both parts; energy and server's time are means.

    At a sliced point device, link and server work at the same time, each on its steps in order. Such a request is done
    after the longest way through them: the device's steps up to some i, the link's from i to some j, the server's from
    j on. Every (i, j) is a column of its own, as linear as other points, and the point takes the greatest of its own.

    Args:
        points: local ones first, sliced ones last.
        energy: of the device.
        answer_bytes: size of a result.
    """

    def __init__(self, points: Sequence[Point], energy: EnergyModel, answer_bytes: int = 4096) -> None:
        self.points = tuple(points)
        self.energy = energy
        self.answer_bytes = answer_bytes
        self.local = sum(point.local for point in self.points)
        assert all(point.local for point in self.points[: self.local]), "local points come first"
        self._plain = sum(point.slicing is None for point in self.points)
        assert all(point.slicing is None for point in self.points[: self._plain]), "sliced points come last"
        self._ways, self._firsts = _ways_through(self.points[self._plain :])
        self._measured = self._table([point.measured for point in self.points])
        self._means = self._measured
        self._exits: Array | None = None
        if any(point.exit is not None for point in self.points):
            self._means = self._table([point.measured.expected for point in self.points])
            self._exits = np.array([(point.measured.exit_rate, point.measured.exit_ms) for point in self.points]).T
        # The same as plain numbers, for `predict_point`.
        self._columns: list[list[float]] = self._measured.T.tolist()
        self._mean_columns: list[list[float]] = self._means.T.tolist()

    def _table(self, measured: Sequence[Measurement]) -> Array:
        rows = [self._measurements(point, m) for point, m in zip(self.points, measured, strict=True)]
        return np.ascontiguousarray(np.array(rows).T)

    def _measurements(self, point: Point, m: Measurement) -> tuple[float, ...]:
        device_ms = m.device_ms + m.encode_ms
        compute_mj = self.energy.compute_mj(device_ms) if m.energy_mj is None else m.energy_mj
        # What the device does not touch, as a server that passes a payload on, does not wait for its turn either.
        queued = float(device_ms > 0.0)
        if point.local:
            return device_ms, 0.0, 0.0, compute_mj, 0.0, queued
        asked = 1.0 - point.measured.exit_rate if m is not point.measured else 1.0
        nbytes = m.bytes_mean + asked * OVERHEAD_BYTES
        return device_ms, nbytes, m.decode_ms + m.tail_ms, compute_mj, asked, queued

    def predict(self, conditions: Conditions) -> Prediction:
        """The prediction; without a link, or for a server that drains, of the local points only."""
        channel, server = conditions.channel, conditions.server
        measured = self._measured if conditions.slices else self._measured[:, : self._plain]
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
        quantities = np.array(rows).reshape(-1, len(measured))
        result = quantities @ measured
        if result.shape[1] > self._plain:
            through = quantities[:PROBABILITIES] @ self._ways
            result[:PROBABILITIES, self._plain :] = np.maximum.reduceat(through, self._firsts, axis=1)
        if self._exits is None:
            return Prediction(np.array(chances), result[:PROBABILITIES], *result[PROBABILITIES:])
        count = measured.shape[1]
        energy_mj, server_ms = quantities[-2:] @ self._means[:, :count]
        rate, exit_ms = self._exits[:, :count]
        exits = Exits(rate, queue + device * exit_ms)
        latency_ms, device_ms = result[:PROBABILITIES], result[PROBABILITIES]
        return Prediction(np.array(chances), latency_ms, device_ms, energy_mj, server_ms, exits)

    def predict_point(self, place: int, conditions: Conditions) -> PointPrediction | None:
        """The prediction for one point without slices; None if it cannot be had now."""
        point, channel, server = self.points[place], conditions.channel, conditions.server
        assert point.slicing is None, "sliced points are predicted with the others"
        if not point.local and (channel is None or server.draining):
            return None
        device, queue = conditions.device_scale, conditions.device_queue_ms
        own_ms, nbytes, tail_ms, _, _, queued = self._columns[place]
        _, mean_bytes, mean_tail_ms, compute_mj, mean_asked, _ = self._mean_columns[place]
        done = device * own_ms + queue * queued
        energy_mj = device * compute_mj
        rates, trips, chances = (channel or _NO_LINK).samples()
        latency = [done] * len(chances)
        if channel is not None and not point.local:
            rest = done + conditions.server_scale * tail_ms
            rest += server.queue_ms + self.answer_bytes * 8e3 / channel.downlink
            waiting, mean_byte_ms, latency = nbytes + conditions.unanswered, 0.0, []
            for rate, trip, chance in zip(rates, trips, chances, strict=True):
                byte_ms = 8e3 / rate
                mean_byte_ms += chance * byte_ms
                latency.append(rest + waiting * byte_ms + trip * 1e3)
            radio = conditions.radio or self.energy.radio
            energy_mj += mean_bytes * radio.send_mj(1, 8e3 / mean_byte_ms)
            energy_mj += mean_asked * radio.receive_mj(self.answer_bytes, channel.downlink)
        rate, exit_ms = point.measured.exit_rate, queue + device * point.measured.exit_ms
        alone = [device * column[0] + queue * column[5] for column in self._columns[: self.local]]
        return PointPrediction(
            chances,
            latency,
            done,
            done + rate * (exit_ms - done),
            energy_mj,
            conditions.server_scale * mean_tail_ms,
            queue,
            min(alone, default=math.inf) - queue,
            rate,
            exit_ms,
        )


def _ways_through(points: Sequence[Point]) -> tuple[Array, list[int]]:
    """The columns of sliced points, (measurements, ways), and where each point's begin."""
    columns: list[tuple[float, ...]] = []
    firsts: list[int] = []
    for point in points:
        assert point.slicing is not None
        steps, firsts = point.slicing.steps, [*firsts, len(columns)]
        for i in range(len(steps)):
            device_ms = sum(step.device_ms for step in steps[: i + 1])
            for j in range(i, len(steps)):
                nbytes = sum(step.nbytes + OVERHEAD_BYTES for step in steps[i : j + 1])
                server_ms = sum(step.server_ms for step in steps[j:]) + point.measured.tail_ms
                columns.append((device_ms, nbytes, server_ms, 0.0, 1.0, 1.0))
    return np.ascontiguousarray(np.array(columns).T), firsts
