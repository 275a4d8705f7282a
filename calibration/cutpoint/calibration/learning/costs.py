"""What a decision costs: as it came out, and as every point would have come out."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from cutpoint.calibration.simulate.scenario import Outcome, Scenario, frame_sizes, payload_bytes
from cutpoint.codecs import Array
from cutpoint.sdk.energy import EnergyModel
from cutpoint.sdk.objective import Objective
from cutpoint.sdk.policy import AdaptivePolicy, fastest_alone
from cutpoint.sdk.predictor import Conditions

__all__ = ["Alternatives", "alone_cost", "alternatives", "injected", "outcome_cost"]


def outcome_cost(outcome: Outcome, objective: Objective, energy: EnergyModel, uncut: float) -> float:
    """The objective's cost of an answer, without the server's price: that is paid to nobody."""
    loss = uncut - outcome.point.measured.metric
    return (
        objective.latency_weight * outcome.latency_ms
        + objective.energy_weight * outcome.energy_mj(energy)
        + objective.loss_weight * 100 * loss
        + objective.late_cost * (outcome.latency_ms > _deadline_ms(objective))
    )


def _deadline_ms(objective: Objective) -> float:
    return math.inf if objective.deadline is None else objective.deadline * 1e3


def alone_cost(analytic: AdaptivePolicy, device_scale: float) -> float:
    """The cost of an answer that an idle device gives alone: the unit in which rewards are counted.

    With a deadline it is that of one that comes too late, on every device, so that the price of being late is the same
    share of the unit everywhere.
    """
    device_ms = fastest_alone(analytic.points).measured.device_ms * device_scale
    objective = analytic.objective
    late = 0.0 if objective.deadline is None else objective.late_cost
    return late + objective.latency_weight * device_ms + objective.energy_weight * analytic.energy.compute_mj(device_ms)


class Alternatives(NamedTuple):
    """What each point would take for one request, in its parts. Arrays of shape (points,), or (n, points) for many.

    At points with an exit, the parts are those of a request that it does not answer; costs are means over both.

    Attributes:
        device_ms: head and encoder.
        upload_ms: until the last byte has left the device.
        server_ms: decoder and tail; 0 at local points.
        other_ms: everything else: queues, round trip, download.
        start_ms: when the device starts on an answer of its own; infinite for never.
        alone_ms: that it takes for that.
        fixed: cost beside latency and computation: radio, accuracy lost, the server's price.
        exit_rate: share of the requests that the exit answers.
        exit_ms: head and exit.
        waiting_ms: before the device begins.
    """

    device_ms: Array
    upload_ms: Array
    server_ms: Array
    other_ms: Array
    start_ms: Array
    alone_ms: Array
    fixed: Array
    exit_rate: Array
    exit_ms: Array
    waiting_ms: Array


def alternatives(
    analytic: AdaptivePolicy,
    conditions: Conditions,
    scenario: Scenario,
    due: float,
    z: float,
    uncut: float,
    only: int | None = None,
) -> Alternatives:
    """What a request would take at each point of `analytic`, with the link as it will be.

    Args:
        analytic: decides when the device steps in.
        conditions: what is believed; queues are taken from here.
        scenario: with the traces.
        due: seconds, when the request is begun.
        z: size of its payloads, as in `payload_bytes`.
        uncut: task metric of the uncut model.
        only: place of the one point that is asked about; None for all.
    """
    objective, energy, trace = analytic.objective, analytic.energy, scenario.uplink
    radio = scenario.energy.radio
    waiting, server = conditions.device_queue_ms, conditions.server
    back_ms = scenario.rtt * 1e3 + scenario.answer_bytes * 8e3 / max(scenario.down.rate(due), scenario.down.mean / 20)
    rows = []
    alone = fastest_alone(analytic.points).measured.device_ms * scenario.device_scale
    for number, point in enumerate(analytic.points):
        if only is not None and number != only:
            continue
        m = point.measured
        device_ms = (m.device_ms + m.encode_ms) * scenario.device_scale
        fixed = objective.loss_weight * 100 * (uncut - m.metric)
        exits = m.exit_rate, m.exit_ms * scenario.device_scale, waiting
        if point.local:
            rows.append((device_ms, 0.0, 0.0, waiting, np.inf, alone, fixed, *exits))
            continue
        sent = due + (waiting + device_ms) / 1e3
        nbytes = sum(frame_sizes(payload_bytes(point, z)))
        upload_ms = (trace.finish(sent, nbytes + conditions.unanswered) - sent) * 1e3
        rate = max(nbytes * 8e3 / max(upload_ms, 1e-3), trace.mean / 20)
        radio_mj = radio.send_mj(nbytes, rate) + radio.receive_mj(scenario.answer_bytes, scenario.down.mean)
        server_ms = (m.decode_ms + m.tail_ms) * scenario.server_scale
        fixed += (1 - m.exit_rate) * (objective.energy_weight * radio_mj + server.price * server_ms)
        start = analytic.follow(number, conditions).hedge_ms
        other = waiting + back_ms + server.queue_ms
        start_ms = np.inf if start is None else start
        rows.append((device_ms, upload_ms, server_ms, other, start_ms, alone, fixed, *exits))
    assert energy.compute_mw == scenario.energy.compute_mw
    return Alternatives(*np.array(rows).T)


def injected(
    taken: Alternatives, objective: Objective, energy: EnergyModel, error: float, rng: np.random.Generator, count: int
) -> Array:
    """Costs of every point in `count` worlds around what really was, each with another link and other speeds.

    That is the uncertainty injection of Cui and Yu (Uncertainty Injection: A Deep Learning Method for Robust
    Optimization, 2302.12304): what a network sees is an estimate; what its decision costs is judged over samples of
    what may be true given that estimate, here the truth times log-normal factors.

    Args:
        taken: by the points in truth, (…, points).
        objective: with the weights.
        energy: of the device.
        error: standard deviation of the natural logarithm of the factors of rate, device and server.
        rng: of the factors.
        count: of the worlds.

    Returns:
        (count, …, points).
    """
    shape = (3, count, *taken.device_ms.shape[:-1], 1)
    rate, device, server = np.exp(error * rng.standard_normal(shape))
    device_ms = taken.device_ms * device
    edge = device_ms + taken.upload_ms * rate + taken.server_ms * server + taken.other_ms
    alone_ms = taken.alone_ms * device
    latency = np.minimum(edge, taken.start_ms + alone_ms)
    with np.errstate(invalid="ignore"):
        wasted = np.where(np.isfinite(taken.start_ms), np.clip(latency - taken.start_ms, 0.0, None), 0.0)
    exit_ms, stay = taken.exit_ms * device, 1 - taken.exit_rate
    exits_ms, deadline_ms = taken.waiting_ms + exit_ms, _deadline_ms(objective)
    late = stay * (latency > deadline_ms) + taken.exit_rate * (exits_ms > deadline_ms)
    latency = stay * latency + taken.exit_rate * exits_ms
    worked = stay * (device_ms + wasted) + taken.exit_rate * exit_ms
    computed = objective.energy_weight * energy.compute_mj(1.0) * worked
    return np.asarray(objective.latency_weight * latency + computed + objective.late_cost * late + taken.fixed)
