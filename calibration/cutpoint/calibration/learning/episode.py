"""The simulator, stopped at every decision of one of its users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cutpoint.calibration.simulate.client import SimulatedClient
from cutpoint.calibration.simulate.clock import VirtualClock
from cutpoint.calibration.simulate.scenario import Outcome, Scenario
from cutpoint.calibration.simulate.server import ServerScenario, SimulatedServer
from cutpoint.calibration.simulate.world import User
from cutpoint.sdk.bundle import Point
from cutpoint.sdk.policy import Plan, Policy
from cutpoint.sdk.predictor import Conditions

__all__ = ["Decision", "Episode"]


class Decision(NamedTuple):
    """A request that waits for its plan.

    Attributes:
        number: of the request.
        due: seconds.
        z: size of its payloads, as in `payload_bytes`.
        conditions: what the decision depends on.
    """

    number: int
    due: float
    z: float
    conditions: Conditions


class _Learner(SimulatedClient):
    """A client whose requests wait until somebody decides about them."""

    waiting: tuple[int, float, float] | None = None

    def begin(self, number: int, due: float, z: float) -> None:
        self._monitor.asked(self._clock.now)
        self.waiting = number, due, z


class Episode:
    """All requests of one user who waits for a plan each time, among others who decide themselves.

    Args:
        scenario: of the learner.
        policy: what the learner would ask; only kept.
        fallback: local point with which the learner's device steps in.
        others: who share the server.
        server: what it is like.
    """

    def __init__(
        self, scenario: Scenario, policy: Policy, fallback: Point, others: Sequence[User], server: ServerScenario
    ) -> None:
        self.scenario = scenario
        begin = min((scenario.begin, *(other.scenario.begin for other in others)))
        self._clock = VirtualClock(begin)
        shared = SimulatedServer(server, self._clock)
        self._learner = _Learner(scenario, policy, fallback, shared, self._clock)
        self._others = [
            SimulatedClient(other.scenario, other.policy, other.fallback, shared, self._clock) for other in others
        ]
        self._told = 0

    def next(self) -> Decision | None:
        """Lets time pass until the learner has to decide; None once all its requests are answered."""
        learner = self._learner
        self._clock.run(lambda: learner.waiting is None and learner.left > 0)
        if learner.waiting is None:
            return None
        return Decision(*learner.waiting, learner.conditions)

    def decide(self, plan: Plan) -> None:
        """Answers the learner's waiting request by `plan`."""
        waiting = self._learner.waiting
        assert waiting is not None, "nothing is to be decided"
        self._learner.waiting = None
        self._learner.start(*waiting, plan)

    def answered(self) -> list[Outcome]:
        """The learner's answers since the last call."""
        new = self._learner.outcomes[self._told :]
        self._told = len(self._learner.outcomes)
        return new
