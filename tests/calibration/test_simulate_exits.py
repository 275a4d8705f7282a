"""Exits in the simulator, and in what is learned from it."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from tests.calibration.test_simulate import LATE, LOCAL

from cutpoint.calibration.learning.costs import alternatives, injected, outcome_cost
from cutpoint.calibration.simulate import ArgminPolicy, Scenario, oracle, simulate, summarise
from cutpoint.sdk import AdaptivePolicy, Channel, Conditions, EnergyModel, Objective, StaticPolicy
from cutpoint.sdk.bundle import Point
from cutpoint.sdk.testing import Trace

RATE, EXIT_MS = 0.4, 4.0


def with_exit(point: Point) -> Point:
    measured = msgspec.structs.replace(point.measured, exit_rate=RATE, exit_ms=EXIT_MS)
    return msgspec.structs.replace(point, id=f"{point.id}-exit", measured=measured, exit="exit")


ASKING = with_exit(LATE)
SCENARIO = Scenario(Trace.constant(2e6), rtt=0.04, device_scale=10, requests=400, period=2.0, probe=1e6, seed=3)


@pytest.mark.parametrize("point", [LATE, LOCAL])
def test_the_share_that_is_easy_ends_at_the_exit(point: Point) -> None:
    outcomes = simulate(SCENARIO, StaticPolicy(with_exit(point), LOCAL))
    (other,) = simulate(replace(SCENARIO, requests=1), StaticPolicy(point, LOCAL))
    easy = [outcome for outcome in outcomes if outcome.exit]
    assert len(easy) == pytest.approx(RATE * 400, abs=30)
    for outcome in easy:
        assert outcome.latency_ms == pytest.approx(10 * EXIT_MS)
        assert (outcome.bytes_sent, outcome.device_ms) == (0, pytest.approx(10 * EXIT_MS))
    for outcome in outcomes:
        if not outcome.exit:
            assert outcome.bytes_sent == pytest.approx(other.bytes_sent)
            assert outcome.latency_ms == pytest.approx(other.latency_ms)
    assert summarise(outcomes, EnergyModel()).shares["exit"] == len(easy) / 400


def test_the_seed_says_which_are_easy() -> None:
    def easy(seed: int) -> list[bool]:
        return [o.exit for o in simulate(replace(SCENARIO, seed=seed), StaticPolicy(ASKING, LOCAL))]

    assert easy(1) == easy(1)
    assert easy(1) != easy(2)


def test_exits_are_worth_it_to_those_who_know_and_those_who_estimate() -> None:
    plain, points = (LOCAL, LATE), (LOCAL, LATE, ASKING)

    def mean(points: tuple[Point, ...]) -> float:
        policy = AdaptivePolicy(points)
        return summarise(simulate(SCENARIO, policy, LOCAL), EnergyModel()).mean_ms

    assert mean(points) < 0.9 * mean(plain)
    knowing = summarise(oracle(SCENARIO, points, Objective()), EnergyModel())
    assert knowing.shares["exit"] == pytest.approx(RATE, abs=0.08)
    assert knowing.mean_ms <= mean(points)
    told = Conditions(Channel(2e6, 0.04), device_scale=10)
    assert ArgminPolicy(points).choose(told).point is ASKING


def test_alternatives_are_the_mean_of_what_the_simulator_makes_of_them() -> None:
    objective = Objective.preset("balanced")
    analytic = AdaptivePolicy((LOCAL, ASKING), objective)
    told = Conditions(Channel(2e6, 0.04, 0.0, 10e6), device_scale=10)
    taken = alternatives(analytic, told, SCENARIO, SCENARIO.due()[0], 0.0, 0.9)
    costs = injected(taken, objective, SCENARIO.energy, 0.0, np.random.default_rng(0), 1)[0]
    outcomes = simulate(SCENARIO, StaticPolicy(ASKING, LOCAL))
    found = np.mean([outcome_cost(outcome, objective, SCENARIO.energy, 0.9) for outcome in outcomes])
    assert costs[1] == pytest.approx(found, rel=0.1)
