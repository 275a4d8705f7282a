"""Requests over traces on a virtual clock: the same policy and estimator that serve requests, without sockets."""

from cutpoint.calibration.simulate.policies import (
    ArgminPolicy,
    BottleneckPolicy,
    DeadlinePolicy,
    PriceBlindPolicy,
    oracle,
)
from cutpoint.calibration.simulate.population import Population
from cutpoint.calibration.simulate.scenario import Outcome, Scenario
from cutpoint.calibration.simulate.server import ServerScenario
from cutpoint.calibration.simulate.summary import Summary, place, summarise
from cutpoint.calibration.simulate.world import Look, User, World, simulate, simulate_users

__all__ = [
    "ArgminPolicy",
    "BottleneckPolicy",
    "DeadlinePolicy",
    "Look",
    "Outcome",
    "Population",
    "PriceBlindPolicy",
    "Scenario",
    "ServerScenario",
    "Summary",
    "User",
    "World",
    "oracle",
    "place",
    "simulate",
    "simulate_users",
    "summarise",
]
