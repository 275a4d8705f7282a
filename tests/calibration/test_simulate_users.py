import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.toy import toy_bundle

from cutpoint.calibration.simulate import Population, Scenario, ServerScenario, User, simulate_users
from cutpoint.calibration.simulate.cli import simulate_command
from cutpoint.calibration.simulate.clock import VirtualClock
from cutpoint.sdk import AdaptivePolicy, InputError, StaticPolicy
from cutpoint.sdk.bundle import Measurement, Point
from cutpoint.sdk.testing import Trace

LOCAL = Point("local", 2, 2, Measurement(0.9, 0, 0, 10))
LATE = Point("late", 1, 1, Measurement(0.9, 1500, 1500, 1, tail_ms=5), codec="c", tail_precision="fp32")


def test_clock_calls_in_the_order_of_time_and_of_asking() -> None:
    clock, seen = VirtualClock(1.0), []
    clock.at(3.0, lambda: seen.append("c"))
    clock.at(2.0, lambda: (seen.append("a"), clock.at(2.0, lambda: seen.append("b"))))  # type: ignore[func-returns-value]
    clock.run(lambda: len(seen) < 2)
    assert (seen, clock.now) == (["a", "b"], 2.0)
    clock.run(lambda: True)
    assert (seen, clock.now) == (["a", "b", "c"], 3.0)


def test_users_share_the_server() -> None:
    scenario = Scenario(Trace.constant(8e6), rtt=0.02, period=0.5, requests=20, probe=1e6)
    users = [User(scenario, StaticPolicy(LATE, LOCAL), LOCAL) for _ in range(4)]
    world = simulate_users(users, ServerScenario(scale=10.0))
    latency = np.array([[o.latency_ms for o in outcomes] for outcomes in world.outcomes])
    # All four come at the same moment: each waits for those before him, 50 ms each.
    assert np.diff(np.sort(latency, axis=0), axis=0) == pytest.approx(50.0)
    assert world.utilisation(3.0, 11.0) == pytest.approx(4 * 50 / 500, rel=0.1)
    assert max(look.waiting for look in world.looks) <= 3
    assert max(look.price for look in world.looks) > 0


def test_who_is_refused_is_answered_by_the_device() -> None:
    scenario = Scenario(Trace.constant(8e6), rtt=0.02, period=0.5, requests=10)
    users = [User(scenario, StaticPolicy(LATE, LOCAL), LOCAL) for _ in range(6)]
    world = simulate_users(users, ServerScenario(scale=10.0, max_queue=1))
    points = [o.point for outcomes in world.outcomes for o in outcomes]
    assert len(points) == 60
    assert {LOCAL, LATE} == set(points)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 12), st.integers(0, 1000), st.floats(1, 30), st.integers(1, 4), st.integers(1, 8))
def test_every_request_of_every_user_is_answered_once(
    users: int, seed: int, scale: float, workers: int, batch: int
) -> None:
    scenarios = Population().draw(users, 6.0, scale, 100, seed)
    crowd = [User(s, AdaptivePolicy([LOCAL, LATE]), LOCAL) for s in scenarios]
    world = simulate_users(crowd, ServerScenario(workers, scale, max_queue=8, max_batch=batch, batch_cost=0.5))
    for scenario, outcomes in zip(scenarios, world.outcomes, strict=True):
        assert [o.at for o in outcomes] == pytest.approx(scenario.due().tolist())
        assert all(o.latency_ms > 0 for o in outcomes)


def test_population_is_the_seeds() -> None:
    traces = [Trace((1e6, 2e6, 3e6)), Trace((5e6, 0.0))]
    population = Population(traces=traces)
    many, few = population.draw(40, 30.0, 2.0, 10, seed=3), population.draw(4, 30.0, 2.0, 10, seed=3)
    assert many[:4] == few
    assert population.draw(4, 30.0, 2.0, 10, seed=4) != few
    assert {s.uplink.mean for s in many} == {2e6, 2.5e6}
    assert len({s.uplink.rates for s in many}) == 5  # every place in both
    low, high = population.device_scale
    assert all(low <= s.device_scale <= high and s.server_scale == 2.0 for s in many)
    for scenario in many:
        due = scenario.due()
        assert scenario.begin + 2.0 <= due[0]
        assert due[-1] <= scenario.end
        assert (np.diff(due) >= 0).all()
    assert {s.poisson for s in many} == {True, False}


def test_range_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="period"):
        Population(period=(2.0, 1.0))
    with pytest.raises(InputError, match="uplink"):
        Population(uplink=(0.0, 1.0))


def test_random_times_are_a_poisson_process() -> None:
    scenario = replace(Scenario(Trace.constant(1e6), 0.01), poisson=True, period=0.5, requests=20_000, seed=1)
    gaps = np.diff(scenario.due())
    assert gaps.mean() == pytest.approx(0.5, rel=0.03)
    assert gaps.std() == pytest.approx(0.5, rel=0.03)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("users") / "toy.cutpoint"
    toy_bundle().save(path)
    return path


def test_command_simulates_many_users(bundle: Path) -> None:
    arguments = [str(bundle), "--users", "12", "--seconds", "22", "--device-scale", "900", "--server-scale", "40"]
    done = CliRunner().invoke(simulate_command, [*arguments, "--json"], catch_exceptions=False)
    report = json.loads(done.output)
    assert report["solver"]["bound"] <= report["solver"]["cost"]
    assert list(report["rules"]) == ["price", "price-blind", "central", "device"]
    for row in report["rules"].values():
        assert row["p50_ms"] <= row["p95_ms"] <= row["users_p95_ms"][2] * 1.0001
        assert len(row["price_over_time"]) >= 4
    assert report["rules"]["price"]["cost"] <= report["rules"]["device"]["cost"]
    shown = CliRunner().invoke(simulate_command, [*arguments, "--policy", "edge"], catch_exceptions=False)
    assert "central solver" in shown.output


def test_command_names_what_does_not_go_with_users(bundle: Path) -> None:
    def fails(*arguments: str) -> str:
        done = CliRunner().invoke(simulate_command, [str(bundle), *arguments])
        assert isinstance(done.exception, InputError)
        return str(done.exception)

    assert "--trace" in fails()
    assert "at least 1" in fails("--users", "0")
    assert "rule 'adaptive'" in fails("--users", "2", "--policy", "adaptive")
    assert "more seconds" in fails("--users", "2", "--seconds", "5")
    assert "weight" in fails("--users", "2", "--objective", "energy")
    assert "--deadline" in fails("--users", "2", "--deadline", "1")
