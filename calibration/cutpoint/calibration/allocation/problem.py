"""The joint problem of all users as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cutpoint.calibration.allocation.congestion import Congestion, DividedServer, SharedQueue
from cutpoint.calibration.simulate.scenario import Scenario
from cutpoint.calibration.simulate.server import ServerScenario
from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Point
from cutpoint.sdk.channel import Channel
from cutpoint.sdk.errors import InputError
from cutpoint.sdk.objective import Objective
from cutpoint.sdk.predictor import Conditions, Predictor

__all__ = ["Problem", "divided_problem", "queue_problem"]

#: The case of a prediction that is the belief's median.
_MEDIAN = 3


@dataclass(frozen=True, eq=False)
class Problem:
    """Each user u chooses an option x(u), so that the summed cost is least:

        Σ cost[u, x(u)] + congestion.cost(Σ load[u, x(u)])

    Attributes:
        cost: of a user's requests at an option, a second, whatever the others do. Shape (users, options).
        load: what they add to the common load, at least 0. Shape (users, options).
        congestion: what the load costs.

    Raises:
        InputError: if the shapes differ, numbers are not finite, or a user has no option without load: then the
            problem may have no solution.
    """

    cost: Array
    load: Array
    congestion: Congestion

    def __post_init__(self) -> None:
        if self.cost.ndim != 2 or self.cost.shape != self.load.shape or not self.cost.size:
            raise InputError(f"costs {self.cost.shape} and loads {self.load.shape} are not the same (users, options)")
        if not (np.isfinite(self.cost).all() and np.isfinite(self.load).all()) or self.load.min() < 0:
            raise InputError("costs and loads have to be finite, and loads at least 0")
        if self.load.min(axis=1).max() > 0:
            raise InputError("every user needs an option without load: the device alone")

    def total(self, choices: Array) -> float:
        """The summed cost a second of `choices`, (users,); infinite beyond the capacity."""
        users = np.arange(len(self.cost))
        load = self.load[users, choices].sum()
        return float(self.cost[users, choices].sum() + self.congestion.cost(np.array(load)))


def queue_problem(
    scenarios: Sequence[Scenario], objectives: Sequence[Objective], points: Sequence[Point], server: ServerScenario
) -> Problem:
    """The problem of users who share the queue of `server`; options are `points`, local ones first.

    Costs are those of a request that meets no other, on a link that always has its mean rate. A millisecond of waiting
    counts 1, as in the server's price.
    """
    cost, rate, seconds = _alone(scenarios, objectives, points, server)
    load = rate * seconds
    # The load's mix is not known beforehand: work varies as among the points that take any.
    remote = seconds[:, seconds[0] > 0]
    variation = float(remote.var() / remote.mean() ** 2) if remote.size else 0.0
    return Problem(cost * rate, load, SharedQueue(server.workers, variation))


def divided_problem(
    scenarios: Sequence[Scenario], objectives: Sequence[Objective], points: Sequence[Point], server: ServerScenario
) -> Problem:
    """The same for users who each have a share of the workers; see `DividedServer`."""
    cost, rate, seconds = _alone(scenarios, objectives, points, server)
    weight = np.array([[objective.latency_weight] for objective in objectives])
    computed = weight * seconds * 1e3
    return Problem((cost - computed) * rate, np.sqrt(rate * weight * seconds), DividedServer(server.workers))


def _alone(
    scenarios: Sequence[Scenario], objectives: Sequence[Objective], points: Sequence[Point], server: ServerScenario
) -> tuple[Array, Array, Array]:
    """Cost of a request (users, points), requests a second (users, 1), worker's seconds (users, points)."""
    costs, rates = [], []
    for scenario, objective in zip(scenarios, objectives, strict=True):
        predictor = Predictor(points, scenario.energy, scenario.answer_bytes)
        channel = Channel(scenario.uplink.mean, scenario.rtt, downlink=scenario.down.mean)
        told = Conditions(channel, device_scale=scenario.device_scale, server_scale=server.scale)
        prediction = predictor.predict(told)
        latency_ms, energy_mj = prediction.mean_latency_ms[_MEDIAN], prediction.energy_mj
        costs.append(objective.latency_weight * latency_ms + objective.energy_weight * energy_mj)
        rates.append([1 / scenario.period])
    means = [point.measured.expected for point in points]
    work = [(mean.decode_ms + mean.tail_ms) * server.scale / 1e3 for mean in means]
    seconds = np.array([0.0 if point.local else s for point, s in zip(points, work, strict=True)])
    return np.array(costs), np.array(rates), np.tile(seconds, (len(costs), 1))
