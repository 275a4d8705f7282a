"""Who computes where, decided for all users at once: the yardstick for clients that decide by the server's price."""

from cutpoint.calibration.allocation.congestion import Congestion, DividedServer, SharedQueue
from cutpoint.calibration.allocation.crowd import RULES, Crowd, CrowdSummary
from cutpoint.calibration.allocation.problem import Problem, divided_problem, queue_problem
from cutpoint.calibration.allocation.settling import UPDATE, updates_to_settle
from cutpoint.calibration.allocation.solver import Allocation, brute_force, solve

__all__ = [
    "RULES",
    "UPDATE",
    "Allocation",
    "Congestion",
    "Crowd",
    "CrowdSummary",
    "DividedServer",
    "Problem",
    "SharedQueue",
    "brute_force",
    "divided_problem",
    "queue_problem",
    "solve",
    "updates_to_settle",
]
