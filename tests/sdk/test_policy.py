import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.toy import toy_bundle

from cutpoint.sdk import (
    AdaptivePolicy,
    Channel,
    Conditions,
    DeviceState,
    EnergyModel,
    Forecast,
    Objective,
    StaticPolicy,
)
from cutpoint.sdk.bundle import Measurement, Point
from cutpoint.sdk.policy import admissible, efficient
from cutpoint.sdk.protocol import ServerState


def point(name: str, metric: float, nbytes: float, device: float, tail: float = 1.0, local: bool = False) -> Point:
    measured = Measurement(metric, nbytes, nbytes, device_ms=device, tail_ms=0 if local else tail)
    return Point(name, 1, 1, measured, codec=None if local else "c")


LOCAL = point("local", 0.9, 0, 10, local=True)
EARLY = point("early", 0.9, 20_000, 1)
LATE = point("late", 0.9, 1_000, 6)
POINTS = (LOCAL, EARLY, LATE)


def fresh(objective: Objective | None = None) -> AdaptivePolicy:
    return AdaptivePolicy(POINTS, objective)


# -- choice ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conditions", "chosen"),
    [
        (Conditions(None), "local"),
        (Conditions(Channel(1e9, 0.001), device_scale=1), "early"),
        (Conditions(Channel(1e9, 0.1), device_scale=1), "local"),
        (Conditions(Channel(20e6, 0.005), device_scale=20), "early"),
        (Conditions(Channel(1e6, 0.005), device_scale=20), "late"),
        (Conditions(Channel(1e4, 0.005), device_scale=20), "local"),
        (Conditions(Channel(20e6, 0.005), ServerState(queue_ms=500), device_scale=20), "local"),
        (Conditions(Channel(20e6, 0.005), ServerState(draining=True), device_scale=20), "local"),
        (Conditions(Channel(20e6, 0.005), ServerState(price=200.0), device_scale=20), "local"),
        (Conditions(Channel(20e6, 0.005), device_scale=20, server_scale=300), "local"),
        (Conditions(Channel(20e6, 0.005), device_scale=20, unanswered=2_000_000), "local"),
    ],
)
def test_choice_follows_the_conditions(conditions: Conditions, chosen: str) -> None:
    assert fresh().choose(conditions).point.id == chosen


def test_busy_device_sends_earlier() -> None:
    channel = Channel(1e6, 0.005)
    assert fresh().choose(Conditions(channel, device_scale=20)).point is LATE
    # A local answer and a head wait alike: the queue says nothing for either, and is part of every prediction.
    idle = fresh().choose(Conditions(channel, device_scale=20))
    busy = fresh().choose(Conditions(channel, device_scale=20, device_queue_ms=300))
    assert busy.predicted_ms == pytest.approx(idle.predicted_ms + 300, rel=0.01)


def test_prediction_of_a_certain_channel_adds_up() -> None:
    conditions = Conditions(Channel(8e6, 0.01, downlink=8e6), ServerState(queue_ms=3), device_scale=20, server_scale=4)
    plan = AdaptivePolicy(POINTS, answer_bytes=1000).choose(conditions)
    assert plan.point is EARLY
    assert plan.predicted_ms == pytest.approx(1 * 20 + (20_000 + 120) * 8 / 8e6 * 1e3 + 10 + 1 + 3 + 1 * 4)
    assert plan.device_ms == 20
    local = AdaptivePolicy([LOCAL]).choose(conditions)
    assert (local.predicted_ms, local.device_ms) == pytest.approx((200, 200))
    assert local.hedge_ms is None


def test_outages_are_paid_for_with_the_devices_own_answer_not_with_the_outage() -> None:
    plan = AdaptivePolicy(POINTS).choose(Conditions(Channel(20e6, 0.005, stall=0.1), device_scale=20))
    assert plan.point is EARLY
    certain = 1 * 20 + (20_000 + 120) * 8 / 20e6 * 1e3 + 5 + 1
    assert certain + 0.1 * 200 * 0.9 < plan.predicted_ms < certain + 0.1 * 240


def test_spread_turns_a_gamble_down() -> None:
    def chosen(spread: float) -> str:
        conditions = Conditions(Channel(0.7e6, 0.02, spread=spread), device_scale=9)
        return AdaptivePolicy([LOCAL, LATE]).choose(conditions).point.id

    assert chosen(0.0) == "late"
    assert chosen(2.0) == "local"


# -- explanations ------------------------------------------------------------------------------------------------


def test_plan_tells_what_the_runners_up_would_have_cost() -> None:
    plan = fresh().choose(Conditions(Channel(1e6, 0.005), device_scale=20))
    assert [other.point for other in plan.runners_up] == [EARLY, LOCAL] or [
        other.point for other in plan.runners_up
    ] == [LOCAL, EARLY]
    assert plan.cost <= plan.runners_up[0].cost <= plan.runners_up[1].cost
    local = next(other for other in plan.runners_up if other.point is LOCAL)
    assert local.latency_ms == pytest.approx(200)
    assert local.energy_mj == pytest.approx(200 * 2.0)


# -- hedging -----------------------------------------------------------------------------------------------------


def test_device_races_a_link_that_gambles_and_waits_for_one_that_does_not() -> None:
    steady = fresh().choose(Conditions(Channel(20e6, 0.005, spread=0.05, stall=0.01), device_scale=20))
    wild = fresh().choose(Conditions(Channel(2e6, 0.05, spread=1.2, stall=0.1), device_scale=20))
    assert steady.hedge_ms is not None
    assert wild.hedge_ms is not None
    assert steady.hedge_ms > steady.device_ms + 10
    assert wild.hedge_ms == pytest.approx(wild.device_ms)


def test_dear_hedges_come_later() -> None:
    conditions = Conditions(Channel(2e6, 0.05, spread=1.2, stall=0.1), device_scale=20)
    cheap = fresh(Objective(hedge_price=0.0)).choose(conditions)
    dear = fresh(Objective(hedge_price=5.0)).choose(conditions)
    assert cheap.hedge_ms is not None
    assert dear.hedge_ms is None or dear.hedge_ms > cheap.hedge_ms


def test_strained_device_is_spared() -> None:
    channel = Channel(4e6, 0.05, spread=1.2, stall=0.1)
    objective = Objective(hedge_price=0.2)
    fit = fresh(objective).choose(Conditions(channel, device_scale=20))
    low = fresh(objective).choose(Conditions(channel, device_scale=20, device=DeviceState(battery=0.1, charging=False)))
    assert fit.point is low.point is EARLY
    assert fit.hedge_ms == pytest.approx(fit.device_ms)  # a race
    assert low.hedge_ms is not None
    assert low.hedge_ms > 2 * low.device_ms
    assert low.energy_mj < 0.5 * fit.energy_mj


def test_where_energy_has_a_price_the_device_may_sit_an_outage_out() -> None:
    conditions = Conditions(Channel(20e6, 0.005, spread=0.1, stall=0.02), device_scale=40)
    frugal = fresh(Objective.preset("energy")).choose(conditions)
    assert frugal.hedge_ms is not None
    assert frugal.hedge_ms > 2000
    bound = fresh(Objective.preset("energy", deadline=1.0)).choose(conditions)
    assert bound.hedge_ms is not None
    assert bound.hedge_ms < 1000 - 400


def test_races_are_bounded() -> None:
    policy = fresh(Objective(hedge_share=0.25, hedge_price=0.0))
    conditions = Conditions(Channel(2e6, 0.05, spread=1.2, stall=0.1), device_scale=20)
    plans = [policy.choose(conditions) for _ in range(200)]
    races = [plan for plan in plans if plan.hedge_ms is not None and plan.hedge_ms < plan.device_ms + 0.1]
    others = [plan for plan in plans if plan.hedge_ms is not None and plan.hedge_ms > plan.device_ms + 50]
    assert 0.25 * 200 - 1 <= len(races) <= 0.25 * 200 + 10
    assert len(races) + len(others) + sum(plan.point.local for plan in plans) == 200


def test_deadline_bounds_the_hedge() -> None:
    conditions = Conditions(Channel(20e6, 0.005, spread=0.05), device_scale=20)
    free = fresh().choose(conditions)
    bound = fresh(Objective(deadline=0.245)).choose(conditions)
    assert bound.hedge_ms is not None
    assert free.hedge_ms is not None
    assert bound.hedge_ms == pytest.approx(245 - 1.1 * 200 - 3)
    assert bound.hedge_ms < free.hedge_ms


def test_deadline_comes_before_cost() -> None:
    conditions = Conditions(Channel(1e6, 0.1), device_scale=10)
    cheap_but_slow = Objective(deadline=0.15, latency_weight=0.0, energy_weight=1.0)
    assert fresh(cheap_but_slow).choose(conditions).point is LOCAL
    assert fresh(Objective(latency_weight=0.0, energy_weight=1.0)).choose(conditions).point is EARLY


def test_deadline_that_nobody_meets_is_missed_by_as_little_as_possible() -> None:
    plan = fresh(Objective(deadline=0.01)).choose(Conditions(Channel(1e6, 0.005), device_scale=20))
    assert plan.point is LATE


# -- objective ---------------------------------------------------------------------------------------------------


def test_being_in_time_may_have_a_price() -> None:
    """Late is likely with the accurate point, and impossible with the device alone."""
    poor = point("poor", 0.7, 0, 5, local=True)
    conditions = Conditions(Channel(2e6, 0.02, 0.8), device_scale=18)
    objective = Objective(deadline=0.1, accuracy_drop=0.5, latency_weight=0.01, loss_weight=1.0)
    policies = {
        late_cost: AdaptivePolicy((poor, EARLY), replace(objective, late_cost=late_cost), uncut=0.9, races=0.0)
        for late_cost in (1e6, 100.0, 1.0)
    }
    chosen = {late_cost: policy.choose(conditions).point.id for late_cost, policy in policies.items()}
    assert chosen == {1e6: "poor", 100.0: "poor", 1.0: "early"}


def test_energy_objective_spares_the_battery() -> None:
    conditions = Conditions(Channel(2e6, 0.02, spread=0.2, stall=0.01), device_scale=12)
    fast, frugal = fresh(), fresh(Objective.preset("energy"))
    assert frugal.choose(conditions).energy_mj < fast.choose(conditions).energy_mj


def test_accuracy_has_a_price() -> None:
    rough, fine = point("rough", 0.85, 500, 1), point("fine", 0.9, 30_000, 1)
    conditions = Conditions(Channel(2e6, 0.01), device_scale=20)
    assert AdaptivePolicy((LOCAL, rough, fine)).choose(conditions).point is rough
    careful = Objective.preset("accuracy", accuracy_drop=0.1)
    assert AdaptivePolicy((LOCAL, rough, fine), careful, uncut=0.9).choose(conditions).point is fine


def test_app_may_bring_its_own_cost() -> None:
    seen: list[Forecast] = []

    def cost(forecast: Forecast) -> np.ndarray:
        seen.append(forecast)
        return forecast.late_ms + 1000 * (forecast.server_ms > 0)

    plan = fresh(Objective(cost=cost)).choose(Conditions(Channel(20e6, 0.005), device_scale=20))
    assert plan.point is LOCAL
    assert seen[0].latency_ms.shape == seen[0].energy_mj.shape == seen[0].loss.shape == (3,)
    assert np.all(seen[0].late_ms >= seen[0].latency_ms * 0.99)


# -- hysteresis --------------------------------------------------------------------------------------------------


def test_small_advantages_do_not_switch() -> None:
    policy = fresh(Objective(hysteresis=0.1))
    # The rate at which early and late cost the same, and a little to either side of it.
    equal = (20_000 - 1_000) * 8 / (5 * 20) * 1e3
    first = policy.choose(Conditions(Channel(1.02 * equal, 0.005), device_scale=20)).point
    for rate in (0.98, 1.02, 0.97, 1.03):
        assert policy.choose(Conditions(Channel(rate * equal, 0.005), device_scale=20)).point is first
    other = policy.choose(Conditions(Channel((0.3 if first is EARLY else 10) * equal, 0.005), device_scale=20)).point
    assert other is not first


def test_lost_link_overrules_hysteresis() -> None:
    policy = fresh(Objective(hysteresis=10.0))
    assert policy.choose(Conditions(Channel(20e6, 0.005), device_scale=20)).point is EARLY
    assert policy.choose(Conditions(None, device_scale=20)).point is LOCAL


# -- points ------------------------------------------------------------------------------------------------------


def test_floor_excludes_points_but_never_the_last_local_one() -> None:
    weak = point("weak", 0.5, 0, 5, local=True)
    assert [p.id for p in admissible([LOCAL, weak, LATE], 0.8)] == ["local", "late"]
    assert [p.id for p in admissible([weak, LATE], 0.8)] == ["late", "weak"]
    assert [p.id for p in admissible([weak, LATE], 0.99)] == ["weak"]


def test_points_that_others_beat_are_left_out() -> None:
    worse = point("worse", 0.95, 1_100, 7)
    twin = point("twin", 0.9, 1_000, 6)
    slow = point("slow", 0.99, 0, 11, local=True)
    assert efficient([worse, LATE, twin, slow, LOCAL, EARLY], by_metric=False) == (LOCAL, LATE, EARLY)
    assert efficient([worse, LATE, twin, slow, LOCAL], by_metric=True) == (slow, LOCAL, worse, LATE)


def test_for_bundle_uses_the_objective() -> None:
    bundle = toy_bundle()
    strict = AdaptivePolicy.for_bundle(bundle, Objective(accuracy_drop=0.01))
    assert "cut1-fp32-affine-coarse" not in [p.id for p in strict.points]
    loose = AdaptivePolicy.for_bundle(bundle, Objective(accuracy_floor=0.5))
    assert "cut1-fp32-affine-coarse" in [p.id for p in loose.points]


@given(
    st.lists(
        st.tuples(st.floats(0.1, 50), st.floats(10, 1e6), st.floats(0.1, 50), st.booleans()), min_size=1, max_size=12
    ),
    st.floats(1e4, 1e8),
    st.floats(0.001, 0.5),
    st.floats(0, 1.5),
    st.floats(0, 1),
    st.floats(0.1, 100),
)
def test_leaving_points_out_never_changes_the_least_cost(
    rows: list[tuple[float, float, float, bool]], rate: float, rtt: float, spread: float, stall: float, scale: float
) -> None:
    points = [LOCAL] + [point(f"p{i}", 0.9, 0 if loc else b, d, t, loc) for i, (d, b, t, loc) in enumerate(rows)]
    conditions = Conditions(Channel(rate, rtt, spread, stall=stall), device_scale=scale)
    pruned = AdaptivePolicy(points).choose(conditions)

    def same(forecast: Forecast) -> np.ndarray:
        return forecast.latency_ms

    free = Objective(hedge_price=0.0)
    assert AdaptivePolicy(points, free).choose(conditions).cost == pytest.approx(
        AdaptivePolicy(points, Objective(hedge_price=0.0, cost=same)).choose(conditions).cost
    )
    # Hedging never makes a plan dearer than the device alone, nor the best than any runner-up.
    alone = min(p.measured.device_ms for p in points if p.local) * scale
    assert pruned.cost <= alone * 1.0001
    assert all(other.cost >= pruned.cost * 0.999 for other in pruned.runners_up)
    assert math.isfinite(pruned.energy_mj)


# -- static ------------------------------------------------------------------------------------------------------


def test_static_policy_falls_back_without_a_link() -> None:
    policy = StaticPolicy(LATE, LOCAL)
    assert policy.choose(Conditions(None)).point is LOCAL
    assert policy.choose(Conditions(Channel(1e6, 0.1), ServerState(draining=True))).point is LOCAL
    plan = policy.choose(Conditions(Channel(1e3, 9.0)))
    assert plan.point is LATE
    assert plan.hedge_ms is None


def test_whoever_insists_on_the_server_gets_a_plan_for_it() -> None:
    assert StaticPolicy(LATE, LATE).choose(Conditions(None)).point is LATE
    plan = AdaptivePolicy([EARLY, LATE], Objective(deadline=0.1)).choose(Conditions(None))
    assert plan.point in (EARLY, LATE)
    assert plan.predicted_ms == math.inf
    linked = AdaptivePolicy([EARLY, LATE], Objective(deadline=0.1)).choose(Conditions(Channel(1e6, 0.01)))
    assert linked.hedge_ms == math.inf


def test_energy_model_of_a_profile_is_used() -> None:
    conditions = Conditions(Channel(5e6, 0.02), device_scale=12)
    hungry = AdaptivePolicy(POINTS, Objective.preset("energy"), energy=EnergyModel(compute_mw=20_000))
    plain = AdaptivePolicy(POINTS, Objective.preset("energy"))
    assert hungry.choose(conditions).device_ms <= plain.choose(conditions).device_ms
    assert hungry.choose(conditions).energy_mj > plain.choose(conditions).energy_mj
