"""Many users of one server under the rules that are compared: the price, and what it is measured against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np

from cutpoint.calibration.allocation.problem import Problem, queue_problem
from cutpoint.calibration.allocation.solver import Allocation, solve
from cutpoint.calibration.simulate.policies import PriceBlindPolicy
from cutpoint.calibration.simulate.scenario import WARM_UP, Outcome, Scenario
from cutpoint.calibration.simulate.server import ServerScenario
from cutpoint.calibration.simulate.world import User, World, simulate_users
from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.errors import InputError
from cutpoint.sdk.objective import Objective
from cutpoint.sdk.policy import AdaptivePolicy, Policy, StaticPolicy, admissible, efficient, fastest_alone

__all__ = ["RULES", "Crowd", "CrowdSummary"]

#: Rules that `Crowd.run` knows.
RULES: Final = ("price", "price-blind", "central", "static", "edge", "device")
#: Seconds that users and price are given to settle, before anything counts.
_SETTLE = 15.0


@dataclass(frozen=True, slots=True)
class CrowdSummary:
    """Figures of a run, once it has settled.

    Attributes:
        cost: summed over users, a second: milliseconds and millijoules by their weights.
        p50_ms: median latency.
        p95_ms: 95th percentile of the latency.
        users_p95_ms: of the users' own 95th percentiles the median, the 95th percentile and the highest.
        energy_mj: mean energy of a device for a request.
        edge: share of the answers that came from the server.
        utilisation: of the server's workers.
        price: mean of the published price.
        price_spread: its standard deviation.
    """

    cost: float
    p50_ms: float
    p95_ms: float
    users_p95_ms: tuple[float, float, float]
    energy_mj: float
    edge: float
    utilisation: float
    price: float
    price_spread: float

    def as_json(self) -> dict[str, object]:
        """For reports, rounded."""
        fields = asdict(self)
        rounded = {name: round(value, 4) for name, value in fields.items() if name != "users_p95_ms"}
        return rounded | {"users_p95_ms": [round(value, 3) for value in self.users_p95_ms]}


class Crowd:
    """Users of one server.

    Args:
        bundle: what all of them run.
        scenarios: what each meets.
        objectives: what each wants; a millisecond has to weigh as much as the server's price says, 1.
        server: that they share.

    Attributes:
        options: the points that anybody may choose, local ones first.
        allocation: what the central solver chooses among them, on the mean rates of the links.

    Raises:
        InputError: if a millisecond has another weight, or the floors of accuracy differ.
    """

    def __init__(
        self, bundle: Bundle, scenarios: Sequence[Scenario], objectives: Sequence[Objective], server: ServerScenario
    ) -> None:
        uncut = bundle.manifest.task.uncut
        floors = {objective.floor(uncut) for objective in objectives}
        if len(floors) > 1 or any(objective.latency_weight != 1 for objective in objectives):
            raise InputError("users of one server need one accuracy floor, and a latency weight of 1: the price's own")
        self._uncut = uncut
        self._scenarios = tuple(scenarios)
        self._objectives = tuple(objectives)
        self._server = server
        points = admissible(bundle.points, floors.pop())
        self.options = efficient(points, by_metric=False)
        self._local = fastest_alone(points)
        self.problem: Problem = queue_problem(self._scenarios, self._objectives, self.options, server)
        self.allocation: Allocation = solve(self.problem)

    def run(self, rule: str, repeat: int = 0) -> World:
        """Simulates all users under one of `RULES`; another number for `repeat`, and requests come at other times.

        price: the clients' own policy; price-blind: the same, told that the server's time is free; central: everybody
        does what the central solver says; static: what is best for him on an idle server; edge, device: the best point
        there, on an idle server.

        Raises:
            InputError: if there is no such rule.
        """
        if rule not in RULES:
            raise InputError(f"rule {rule!r} is not one of {', '.join(RULES)}")
        scenarios = [replace(scenario, seed=scenario.seed + repeat) for scenario in self._scenarios]
        users = [User(its, self._policy(rule, number), self._local) for number, its in enumerate(scenarios)]
        return simulate_users(users, self._server)

    def choices(self, rule: str) -> Array:
        """What each user always does under a rule that does not adapt; numbers of `options`, (users,)."""
        if rule == "central":
            return self.allocation.choices
        remote = np.array([not point.local for point in self.options])
        left_out = {"static": np.zeros_like(remote), "edge": ~remote, "device": remote}[rule]
        choices: Array = np.where(left_out, np.inf, self.problem.cost).argmin(axis=1)
        return choices

    def _policy(self, rule: str, user: int) -> Policy:
        if rule not in ("price", "price-blind"):
            return StaticPolicy(self.options[int(self.choices(rule)[user])], self._local)
        scenario = self._scenarios[user]
        policy = AdaptivePolicy(
            self.options,
            self._objectives[user],
            uncut=self._uncut,
            energy=scenario.energy,
            answer_bytes=scenario.answer_bytes,
        )
        return policy if rule == "price" else PriceBlindPolicy(policy)

    def window(self) -> tuple[float, float]:
        """Seconds between which everybody asks and the price has settled.

        Raises:
            InputError: if that is less than a second.
        """
        begin = max(scenario.begin for scenario in self._scenarios) + WARM_UP + _SETTLE
        end = min(scenario.end for scenario in self._scenarios)
        if end - begin < 1.0:
            raise InputError(f"users are not together for {_SETTLE + 1:.0f} s: simulate more seconds")
        return begin, end

    def costs(self, user: int, outcomes: Sequence[Outcome]) -> Array:
        """What each of a user's requests cost, (requests,)."""
        objective, energy = self._objectives[user], self._scenarios[user].energy
        weight = objective.energy_weight
        return np.array([o.latency_ms + weight * o.energy_mj(energy) for o in outcomes])

    def summarise(self, world: World) -> CrowdSummary:
        """The figures of a run of this crowd."""
        begin, end = self.window()
        chosen = [[o for o in outcomes if begin <= o.at <= end] for outcomes in world.outcomes]
        latency = [np.array([o.latency_ms for o in outcomes]) for outcomes in chosen if outcomes]
        cost = sum(float(self.costs(user, outcomes).sum()) for user, outcomes in enumerate(chosen))
        energy = [o.energy_mj(s.energy) for s, outcomes in zip(self._scenarios, chosen, strict=True) for o in outcomes]
        every = np.concatenate(latency)
        own = np.percentile([np.percentile(its, 95) for its in latency], (50, 95, 100))
        price = np.array([look.price for look in world.looks if begin <= look.at <= end])
        return CrowdSummary(
            cost=cost / (end - begin),
            p50_ms=float(np.median(every)),
            p95_ms=float(np.percentile(every, 95)),
            users_p95_ms=(float(own[0]), float(own[1]), float(own[2])),
            energy_mj=float(np.mean(energy)),
            edge=sum(not o.point.local for outcomes in chosen for o in outcomes) / len(every),
            utilisation=world.utilisation(begin, end),
            price=float(price.mean()),
            price_spread=float(price.std()),
        )
