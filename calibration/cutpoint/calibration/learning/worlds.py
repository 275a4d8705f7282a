"""The worlds that policies are trained in: users, links and servers, drawn from a seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cutpoint.calibration.learning.episode import Episode
from cutpoint.calibration.simulate.population import Population
from cutpoint.calibration.simulate.scenario import Scenario
from cutpoint.calibration.simulate.server import ServerScenario
from cutpoint.calibration.simulate.world import User
from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.errors import InputError
from cutpoint.sdk.objective import Objective
from cutpoint.sdk.policy import AdaptivePolicy, fastest_alone
from cutpoint.sdk.testing import Trace

__all__ = ["Worlds", "adaptive_users"]


@dataclass(frozen=True)
class Worlds:
    """Ranges that worlds are drawn from; logarithms are uniform.

    Attributes:
        traces: recorded links.
        users: who share the server, from so many to so many.
        device_scale: how many times slower than in calibration devices are.
        server_scale: the same for the server.
        period: mean seconds between a user's requests.
        seconds: that a world lasts.

    Raises:
        InputError: for ranges that are none.
    """

    traces: tuple[Trace, ...] = ()
    users: tuple[int, int] = (1, 1)
    device_scale: tuple[float, float] = (5.0, 60.0)
    server_scale: tuple[float, float] = (1.0, 30.0)
    period: tuple[float, float] = (0.5, 2.0)
    seconds: float = 30.0

    def __post_init__(self) -> None:
        if not 1 <= self.users[0] <= self.users[1]:
            raise InputError(f"users {self.users} is not a range of numbers of at least 1")
        if not 0 < self.server_scale[0] <= self.server_scale[1] < math.inf:
            raise InputError(f"server_scale {self.server_scale} is not a range of numbers above 0")
        if not 0 < self.seconds < math.inf:
            raise InputError(f"seconds {self.seconds} is not above 0")
        self.population  # noqa: B018 – its ranges are checked

    @property
    def population(self) -> Population:
        """The users."""
        return Population(device_scale=self.device_scale, period=self.period, traces=self.traces)

    def draw(self, bundle: Bundle, rng: np.random.Generator) -> tuple[list[Scenario], ServerScenario]:
        """Users, and the server that they share."""
        count = int(rng.integers(self.users[0], self.users[1] + 1))
        low, high = self.server_scale
        scale = float(low * (high / low) ** rng.random())
        answer = bundle.manifest.boundaries[-1].nbytes
        seed = int(rng.integers(1 << 31))
        scenarios = self.population.draw(count, self.seconds, scale, answer, seed)
        return scenarios, ServerScenario(scale=scale)

    def episode(self, bundle: Bundle, objective: Objective, rng: np.random.Generator) -> tuple[Episode, AdaptivePolicy]:
        """One user who learns, among others who follow the analytic policy; and the analytic policy of the learner."""
        scenarios, server = self.draw(bundle, rng)
        users = adaptive_users(bundle, objective, scenarios)
        learner = users[0]
        analytic = learner.policy
        assert isinstance(analytic, AdaptivePolicy)
        return Episode(learner.scenario, analytic, learner.fallback, users[1:], server), analytic


def adaptive_users(bundle: Bundle, objective: Objective, scenarios: Sequence[Scenario]) -> list[User]:
    """A user of the analytic policy for each scenario."""
    users = []
    for scenario in scenarios:
        analytic = AdaptivePolicy.for_bundle(bundle, objective, scenario.energy)
        local = fastest_alone(analytic.points)
        users.append(User(scenario, analytic, local))
    return users
