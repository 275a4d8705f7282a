"""Rules from the literature, and one that knows the future, to compare the adaptive policy with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cutpoint.calibration.simulate.scenario import Outcome, Scenario, frame_sizes, payload_bytes
from cutpoint.sdk.bundle import Bundle, Point
from cutpoint.sdk.energy import EnergyModel
from cutpoint.sdk.objective import Objective
from cutpoint.sdk.policy import AdaptivePolicy, Plan
from cutpoint.sdk.predictor import Conditions, Predictor
from cutpoint.sdk.protocol import ServerState

__all__ = ["ArgminPolicy", "BottleneckPolicy", "DeadlinePolicy", "PriceBlindPolicy", "oracle"]

#: The case that takes the belief for certain: its median.
_MEDIAN = 3


class ArgminPolicy:
    """Least latency at the present estimate of the rate, taken for certain (Kang et al., Neurosurgeon, ASPLOS 2017).

    Args:
        points: to choose from.
    """

    def __init__(self, points: Sequence[Point]) -> None:
        self._predictor = Predictor(sorted(points, key=lambda point: not point.local), EnergyModel())
        self.points = self._predictor.points

    def choose(self, conditions: Conditions) -> Plan:
        prediction = self._predictor.predict(conditions)
        latency = prediction.mean_latency_ms[_MEDIAN]
        best = int(latency.argmin())
        return Plan(self.points[best], float(latency[best]), float(prediction.mean_device_ms[best]))


class BottleneckPolicy(ArgminPolicy):
    """Chooses among natural bottlenecks by rate and load (Bakhtiarnia et al., Dynamic Split Computing, 2205.11269).

    A natural bottleneck is a boundary whose tensors are smaller than those of every boundary before it; they cross as
    they are. Local computation and the raw picture are candidates as well.

    Args:
        bundle: what is run.
        points: to choose from, above the accuracy floor.
    """

    def __init__(self, bundle: Bundle, points: Sequence[Point]) -> None:
        codecs = {codec.id: codec.codec for codec in bundle.manifest.codecs}
        smallest, bottlenecks = math.inf, set()
        for boundary in bundle.manifest.boundaries:
            if boundary.nbytes < smallest:
                smallest = boundary.nbytes
                bottlenecks.add(boundary.index)
        super().__init__(
            [
                point
                for point in points
                if point.codec is None or (codecs[point.codec] == "raw" and point.start in bottlenecks)
            ]
        )


class DeadlinePolicy:
    """Of one codec's levels, the most accurate that meets the deadline at the estimated rate; else the fastest.

    (The rule of slimmable encoders: Assine et al., 2306.12691.)

    Args:
        points: the levels of one codec at one cut.
        deadline: seconds.
    """

    def __init__(self, points: Sequence[Point], deadline: float) -> None:
        self._predictor = Predictor(points, EnergyModel())
        self.points = self._predictor.points
        self._metric = np.array([point.measured.metric for point in self.points])
        self._deadline_ms = deadline * 1e3

    def choose(self, conditions: Conditions) -> Plan:
        prediction = self._predictor.predict(conditions)
        latency = prediction.mean_latency_ms[_MEDIAN]
        in_time = latency <= self._deadline_ms
        best = int(np.where(in_time, self._metric, -1.0).argmax()) if in_time.any() else int(latency.argmin())
        return Plan(self.points[best], float(latency[best]), float(prediction.mean_device_ms[best]))


class PriceBlindPolicy:
    """Does what the adaptive policy would if the server's time had no price: everybody looks to himself.

    Args:
        policy: that is told so.
    """

    def __init__(self, policy: AdaptivePolicy) -> None:
        self._policy = policy
        self.points = policy.points

    def choose(self, conditions: Conditions) -> Plan:
        server = ServerState(conditions.server.queue_ms, 0.0, conditions.server.draining)
        return self._policy.choose(replace(conditions, server=server))


def oracle(scenario: Scenario, points: Sequence[Point], objective: Objective) -> list[Outcome]:
    """What somebody would do who knows the traces: the least cost for each request, as if it were alone on the link."""
    outcomes = []
    trace, down, energy = scenario.uplink, scenario.down, scenario.energy
    requests = zip(scenario.due().tolist(), scenario.sizes().tolist(), scenario.ease().tolist(), strict=True)
    for due, z, ease in requests:
        best: tuple[float, Outcome] | None = None
        for point in points:
            m = point.measured
            easy = ease > 1 - m.exit_rate
            device_ms = (m.exit_ms if easy else m.device_ms + m.encode_ms) * scenario.device_scale
            outcome = Outcome(due, device_ms, point, point, device_ms=device_ms, exit=easy)
            if not point.local and not easy:
                sent = due + device_ms / 1e3
                nbytes = sum(frame_sizes(payload_bytes(point, z)))
                there = trace.finish(sent, nbytes)
                done = there + scenario.rtt / 2 + (m.decode_ms + m.tail_ms) * scenario.server_scale / 1e3
                back = down.finish(done, scenario.answer_bytes) + scenario.rtt / 2
                rate = max(nbytes * 8 / max(there - sent, 1e-6), trace.mean / 20)
                radio = energy.radio.send_mj(nbytes, rate) + energy.radio.receive_mj(scenario.answer_bytes, down.mean)
                outcome = Outcome(due, (back - due) * 1e3, point, point, False, device_ms, radio, nbytes)
            cost = (
                objective.latency_weight * outcome.latency_ms
                + objective.energy_weight * outcome.energy_mj(energy)
                - objective.loss_weight * 100 * m.metric
            )
            if best is None or cost < best[0]:
                best = cost, outcome
        assert best is not None
        outcomes.append(best[1])
    return outcomes
