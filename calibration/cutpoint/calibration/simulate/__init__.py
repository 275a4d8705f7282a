"""Requests over traces on a virtual clock: the same policy and estimator that serve requests, without sockets."""

from cutpoint.calibration.simulate.policies import ArgminPolicy, BottleneckPolicy, DeadlinePolicy, oracle
from cutpoint.calibration.simulate.summary import Summary, place, summarise
from cutpoint.calibration.simulate.world import Outcome, Scenario, simulate, simulate_users

__all__ = [
    "ArgminPolicy",
    "BottleneckPolicy",
    "DeadlinePolicy",
    "Outcome",
    "Scenario",
    "Summary",
    "oracle",
    "place",
    "simulate",
    "simulate_users",
    "summarise",
]
