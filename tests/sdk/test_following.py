import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutpoint.sdk import AdaptivePolicy, Channel, Conditions, DeviceState, Objective
from cutpoint.sdk.bundle import Measurement, Point
from cutpoint.sdk.following import Prices, cheapest_way
from cutpoint.sdk.predictor import PointPrediction
from cutpoint.sdk.protocol import ServerState

LOCAL = Point("local", 1, 1, Measurement(0.9, 0, 0, device_ms=10))
QUICK = Point("quick", 1, 1, Measurement(0.8, 0, 0, device_ms=7, energy_mj=30))
EXIT = Point("exit", 1, 1, Measurement(0.85, 0, 0, device_ms=11, exit_rate=0.6, exit_ms=4), exit=0)
PICTURE = Point("picture", 0, 0, Measurement(0.9, 9000, 12000, 0.1, 0.4, decode_ms=0.3, tail_ms=8), codec="c")
EARLY = Point("early", 1, 1, Measurement(0.87, 4000, 6000, device_ms=3, decode_ms=0.3, tail_ms=6), codec="c")
LATER = Point("later", 2, 2, Measurement(0.88, 900, 1200, 6, exit_rate=0.5, exit_ms=5, tail_ms=3), codec="c", exit=0)
# A plan tells of four points at most.
SETS = [(LOCAL, PICTURE), (LOCAL, QUICK, EARLY), (LOCAL, EXIT, EARLY, LATER), (LOCAL, PICTURE, EARLY, LATER)]
OBJECTIVES = [
    Objective(),
    Objective.preset("energy"),
    Objective.preset("balanced", deadline=0.2),
    Objective(hedge_share=0.0, loss_weight=1.0),
    Objective(deadline=0.15, latency_weight=0.01, loss_weight=1.0, late_cost=100.0),
]

worlds = st.builds(
    Conditions,
    st.builds(
        Channel,
        st.floats(1e4, 1e8),
        st.floats(0.001, 0.5),
        st.floats(0, 1.5),
        st.floats(1e5, 1e8),
        st.floats(0, 0.1),
        st.floats(0, 1),
    ),
    st.builds(ServerState, st.floats(0, 500), st.floats(0, 10)),
    device_scale=st.floats(0.5, 60),
    server_scale=st.floats(0.5, 60),
    device_queue_ms=st.sampled_from([0.0, 30.0, 400.0]),
    unanswered=st.integers(0, 50_000),
    device=st.sampled_from([DeviceState(), DeviceState(battery=0.05, charging=False)]),
    device_price=st.sampled_from([0.0, 0.5]),
    budget_ms=st.sampled_from([math.inf, 120.0]),
)


@given(worlds, st.sampled_from(SETS), st.sampled_from(OBJECTIVES), st.sampled_from([0.0, 10.0]))
def test_a_point_that_is_followed_costs_what_it_costs_among_all(
    conditions: Conditions, points: tuple[Point, ...], objective: Objective, races: float
) -> None:
    def policy() -> AdaptivePolicy:
        return AdaptivePolicy(points, objective, uncut=0.9, races=races)

    chosen = policy().choose(conditions)
    expected = {other.point.id: other for other in chosen.runners_up}
    for place, point in enumerate(policy().points):
        plan = policy().follow(place, conditions)
        assert plan.point is point
        assert (plan.hedge_ms is None) is point.local
        assert not plan.runners_up
        if point is chosen.point:
            assert plan.cost == pytest.approx(chosen.cost)
            assert plan.predicted_ms == pytest.approx(chosen.predicted_ms)
            assert plan.device_ms == pytest.approx(chosen.device_ms)
            assert plan.energy_mj == pytest.approx(chosen.energy_mj)
            assert plan.hedge_ms == pytest.approx(chosen.hedge_ms)
        else:
            other = expected[point.id]
            assert plan.cost == pytest.approx(other.cost)
            assert plan.predicted_ms == pytest.approx(other.latency_ms)
            assert plan.energy_mj == pytest.approx(other.energy_mj)


def test_races_are_bounded_for_followers_too() -> None:
    conditions = Conditions(Channel(2e6, 0.02, 1.0), device_scale=5)
    policy = AdaptivePolicy((LOCAL, PICTURE), Objective(hedge_share=0.5), races=1.0)
    starts = [policy.follow(1, conditions).hedge_ms for _ in range(8)]
    assert len(set(starts)) == 2
    first = min(start for start in starts if start is not None)
    assert 0.3 <= starts.count(first) / len(starts) <= 0.7


def test_without_a_local_point_nobody_steps_in() -> None:
    conditions = Conditions(Channel(2e6, 0.02, 0.5))
    plan = AdaptivePolicy((EARLY, PICTURE), races=10.0).follow(0, conditions)
    assert plan.hedge_ms == math.inf
    assert plan.cost == pytest.approx(plan.predicted_ms)


def test_the_device_starts_no_later_than_the_deadline_leaves() -> None:
    cases = (50.0,) * 6 + (180.0, 2000.0)
    point = PointPrediction((0.125,) * 8, cases, 20.0, 20.0, 0.0, 0.0, 0.0, 60.0, 0.0, 0.0)
    prices = Prices(1.0, 0.1, 1e6, 100.0, False)
    way = cheapest_way(point, prices, race=False)
    assert way.start_ms == pytest.approx(100 - 1.1 * 60 - 3)
    assert cheapest_way(point, prices._replace(deadline_ms=math.inf), race=False).start_ms == 180
    # Where the device could not be in time either, hurrying it helps nobody.
    assert cheapest_way(point, prices._replace(deadline_ms=60.0), race=False).start_ms == 180


def test_what_cannot_be_had_is_left_to_the_costs() -> None:
    for conditions in (Conditions(None), Conditions(Channel(1e9, 0.001), ServerState(draining=True))):
        assert AdaptivePolicy((LOCAL, EARLY)).follow(1, conditions).point is LOCAL
        assert AdaptivePolicy((LOCAL, EARLY)).follow(0, conditions).point is LOCAL
