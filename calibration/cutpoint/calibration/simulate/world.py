"""Clients and their server on one virtual clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cutpoint.calibration.simulate.client import SimulatedClient
from cutpoint.calibration.simulate.clock import VirtualClock
from cutpoint.calibration.simulate.scenario import Outcome, Scenario
from cutpoint.calibration.simulate.server import ServerScenario, SimulatedServer
from cutpoint.sdk.bundle import Point
from cutpoint.sdk.policy import Policy

__all__ = ["Look", "User", "World", "simulate", "simulate_users"]

#: Seconds between looks at the server.
_LOOK = 0.25


@dataclass(frozen=True)
class User:
    """A client and what it meets.

    Attributes:
        scenario: of his own; only its `server_scale` is everybody's.
        policy: of his own.
        fallback: local point with which the device steps in when a plan says so, or when the server refuses.
    """

    scenario: Scenario
    policy: Policy
    fallback: Point


class Look(NamedTuple):
    """The server at a time.

    Attributes:
        at: seconds.
        price: that is published.
        waiting: requests that wait.
        busy_s: seconds for which the workers have computed so far.
    """

    at: float
    price: float
    waiting: int
    busy_s: float


@dataclass(frozen=True, slots=True)
class World:
    """What came of it all.

    Attributes:
        outcomes: of each user, in the order in which they were due.
        looks: at the server, four a second.
        workers: of the server.
    """

    outcomes: list[list[Outcome]]
    looks: list[Look]
    workers: int

    def utilisation(self, begin: float, end: float) -> float:
        """Share of the workers' time that was used between two times, at least half a second apart."""
        seen = [look for look in self.looks if begin <= look.at <= end]
        return (seen[-1].busy_s - seen[0].busy_s) / (self.workers * (seen[-1].at - seen[0].at))


def simulate_users(users: Sequence[User], server: ServerScenario) -> World:
    """Sends the requests of all users to one server.

    Args:
        users: at least one, each with at least one request.
        server: that they share.
    """
    clock = VirtualClock(min(user.scenario.begin for user in users))
    shared = SimulatedServer(server, clock)
    clients = [SimulatedClient(user.scenario, user.policy, user.fallback, shared, clock) for user in users]
    looks: list[Look] = []

    def look() -> None:
        looks.append(Look(clock.now, shared.price, shared.waiting, shared.busy_s))
        clock.at(clock.now + _LOOK, look)

    clock.at(clock.now, look)
    going = list(clients)

    def anybody() -> bool:
        while going and not going[-1].left:
            going.pop()
        return bool(going)

    clock.run(anybody)
    return World([client.finished() for client in clients], looks, server.workers)


def simulate(scenario: Scenario, policy: Policy, fallback: Point | None = None) -> list[Outcome]:
    """Sends the requests of one user to a server of his own, which takes all and computes one after the other.

    Args:
        scenario: what they meet.
        policy: decides.
        fallback: local point with which the device steps in when a plan says so; None for never.

    Returns:
        What came of each, in the order in which they were due. The energy of probes is shared out among them.
    """
    clock = VirtualClock(scenario.begin)
    server = ServerScenario(scale=scenario.server_scale, max_queue=scenario.requests)
    client = SimulatedClient(scenario, policy, fallback, SimulatedServer(server, clock), clock)
    clock.run(lambda: client.left > 0)
    return client.finished()
