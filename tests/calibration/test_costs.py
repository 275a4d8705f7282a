from dataclasses import replace

import numpy as np
import pytest
from tests.support.toy import toy_bundle

from cutpoint.calibration.learning.costs import alone_cost, alternatives, injected, outcome_cost
from cutpoint.calibration.learning.worlds import adaptive_users
from cutpoint.calibration.simulate import Scenario, simulate
from cutpoint.sdk import AdaptivePolicy, Channel, Conditions, Objective, StaticPolicy
from cutpoint.sdk.testing import Trace

BUNDLE = toy_bundle()
BALANCED = Objective.preset("balanced")
SCENARIO = Scenario(
    Trace.constant(2e6), 0.04, device_scale=200, server_scale=50, answer_bytes=12, requests=4, period=2.0, probe=1e6
)
ANALYTIC = AdaptivePolicy.for_bundle(BUNDLE, BALANCED)
CONDITIONS = Conditions(Channel(2e6, 0.04, 0.3, 10e6), device_scale=200, server_scale=50)


def test_alternatives_are_what_the_simulator_makes_of_them() -> None:
    uncut = BUNDLE.manifest.task.uncut
    z = float(SCENARIO.sizes()[0])
    taken = alternatives(ANALYTIC, CONDITIONS, SCENARIO, SCENARIO.due()[0], z, uncut)
    expected = injected(taken, BALANCED, SCENARIO.energy, 0.0, np.random.default_rng(0), 1)[0]
    for point, cost in zip(ANALYTIC.points, expected.tolist(), strict=True):
        (first, *_) = simulate(SCENARIO, StaticPolicy(point, ANALYTIC.points[0]))
        found = outcome_cost(first, BALANCED, SCENARIO.energy, uncut)
        assert cost == pytest.approx(found, rel=0.05), point.id


def test_one_point_is_as_in_the_table_of_all() -> None:
    whole = alternatives(ANALYTIC, CONDITIONS, SCENARIO, 3.0, 0.5, 1.0)
    for number in range(len(ANALYTIC.points)):
        one = alternatives(ANALYTIC, CONDITIONS, SCENARIO, 3.0, 0.5, 1.0, number)
        assert [part.item() for part in one] == [part[number] for part in whole]


def test_injection_spreads_the_costs_around_the_truth() -> None:
    taken = alternatives(ANALYTIC, CONDITIONS, SCENARIO, 3.0, 0.0, 1.0)
    rng = np.random.default_rng(0)
    certain = injected(taken, BALANCED, SCENARIO.energy, 0.0, rng, 3)
    assert np.ptp(certain, axis=0) == pytest.approx(0)
    spread = injected(taken, BALANCED, SCENARIO.energy, 0.3, rng, 4000)
    assert spread.shape == (4000, len(ANALYTIC.points))
    local = spread[:, 0] / certain[0, 0]
    assert np.log(local).std() == pytest.approx(0.3, rel=0.05)
    assert (np.quantile(spread, 0.9, axis=0) > 1.05 * certain[0]).all()
    many = type(taken)(*(np.stack([part, part]) for part in taken))
    assert injected(many, BALANCED, SCENARIO.energy, 0.3, rng, 5).shape == (5, 2, len(ANALYTIC.points))


def test_the_device_steps_in_where_the_edge_is_late() -> None:
    lost = replace(SCENARIO, uplink=Trace((2e6,) + (0.0,) * 99, step=3.0))
    taken = alternatives(ANALYTIC, CONDITIONS, lost, 3.0, 0.0, 1.0)
    costs = injected(taken, BALANCED, SCENARIO.energy, 0.0, np.random.default_rng(0), 1)[0]
    assert taken.upload_ms[1:].min() > 1e5
    assert costs.max() < 3e3


def test_cost_of_the_device_alone() -> None:
    (user,) = adaptive_users(BUNDLE, BALANCED, [SCENARIO])
    assert user.fallback.local
    (first, *_) = simulate(replace(SCENARIO, probe=1e9), StaticPolicy(user.fallback, user.fallback))
    found = outcome_cost(first, BALANCED, SCENARIO.energy, BUNDLE.manifest.task.uncut)
    assert alone_cost(ANALYTIC, 200) == pytest.approx(found, rel=0.03)  # one probe


def test_late_answers_have_their_price() -> None:
    taken = alternatives(ANALYTIC, CONDITIONS, SCENARIO, 3.0, 0.0, 1.0)
    rng = np.random.default_rng(0)
    certain = injected(taken, BALANCED, SCENARIO.energy, 0.0, rng, 1)[0]
    # The device alone takes so long; half of the worlds around are slower.
    deadline = ANALYTIC.points[0].measured.device_ms * SCENARIO.device_scale / 1e3
    timely = replace(BALANCED, deadline=deadline * 1.01, late_cost=500.0)
    extra = injected(taken, timely, SCENARIO.energy, 0.0, rng, 1)[0] - certain
    assert extra[0] == 0
    assert set(extra.round(6).tolist()) == {0.0, 500.0}
    spread = injected(taken, timely, SCENARIO.energy, 0.3, np.random.default_rng(1), 2000)
    spread -= injected(taken, BALANCED, SCENARIO.energy, 0.3, np.random.default_rng(1), 2000)
    assert spread[:, 0].mean() == pytest.approx(250, abs=25)

    outcome = simulate(replace(SCENARIO, requests=1), StaticPolicy(ANALYTIC.points[0], ANALYTIC.points[0]))[0]
    in_time = outcome_cost(outcome, timely, SCENARIO.energy, 1.0)
    late = outcome_cost(outcome, replace(timely, deadline=deadline * 0.99), SCENARIO.energy, 1.0)
    assert late - in_time == pytest.approx(500)
    judged = AdaptivePolicy.for_bundle(BUNDLE, timely)
    assert alone_cost(judged, 200) == pytest.approx(500 + alone_cost(ANALYTIC, 200))
