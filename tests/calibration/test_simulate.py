import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.profiles import profile_of
from tests.support.toy import toy_bundle

from cutpoint.calibration.simulate import (
    ArgminPolicy,
    BottleneckPolicy,
    DeadlinePolicy,
    Scenario,
    oracle,
    simulate,
    summarise,
)
from cutpoint.calibration.simulate.cli import simulate_command
from cutpoint.calibration.simulate.scenario import payload_bytes
from cutpoint.sdk import AdaptivePolicy, Channel, Conditions, EnergyModel, InputError, Objective, StaticPolicy
from cutpoint.sdk.bundle import Bundle, Measurement, Point
from cutpoint.sdk.profiles import save_profile
from cutpoint.sdk.testing import Trace


def point(name: str, nbytes: float, device: float, tail: float = 5.0, start: int = 1, metric: float = 0.9) -> Point:
    local = nbytes == 0
    measured = Measurement(metric, nbytes, nbytes, device_ms=device, tail_ms=0 if local else tail)
    return Point(name, start, start, measured, codec=None if local else "c", tail_precision=None if local else "fp32")


LOCAL = point("local", 0, 10)
PICTURE = point("picture", 12_000, 0, start=0)
LATE = point("late", 1_500, 7)
POINTS = (LOCAL, PICTURE, LATE)


def adaptive(objective: Objective | None = None) -> AdaptivePolicy:
    return AdaptivePolicy(POINTS, objective)


# -- the world ---------------------------------------------------------------------------------------------------


def test_static_point_takes_what_its_parts_take() -> None:
    scenario = Scenario(Trace.constant(2e6), rtt=0.04, device_scale=10, requests=20, probe=1e6)
    latencies = [o.latency_ms for o in simulate(scenario, StaticPolicy(LATE, LOCAL))]
    # head, payload and the bytes around it, there and back, tail, answer at five times the rate
    expected = 70 + (1500 + 2 * 30) * 8 / 2e6 * 1e3 + 40 + 5 + 4096 * 8 / 10e6 * 1e3
    assert latencies == pytest.approx([expected] * 20)
    local = simulate(replace(scenario, probe=1e9), StaticPolicy(LOCAL, LOCAL))
    assert [o.latency_ms for o in local] == pytest.approx([100] * 20)
    assert local[0].energy_mj(EnergyModel()) == pytest.approx(200, rel=0.005)  # one probe
    assert local[0].bytes_sent == 0


def test_slow_device_queues_what_comes_too_fast() -> None:
    scenario = Scenario(Trace.constant(2e6), rtt=0.04, device_scale=10, period=0.05, requests=5)
    latencies = [o.latency_ms for o in simulate(scenario, StaticPolicy(LOCAL, LOCAL))]
    assert latencies == pytest.approx([100, 150, 200, 250, 300])


def test_uploads_wait_for_each_other() -> None:
    scenario = Scenario(Trace.constant(1e6), rtt=0.0, period=0.01, requests=3, probe=1e6)
    first, second, third = (o.latency_ms for o in simulate(scenario, StaticPolicy(PICTURE, LOCAL)))
    upload = (12_000 + 120) * 8 / 1e6 * 1e3
    assert second == pytest.approx(first + upload - 10)
    assert third == pytest.approx(first + 2 * (upload - 10))


def test_outage_is_sat_out_by_a_fixed_point_and_hedged_by_the_adaptive_policy() -> None:
    trace = Trace((10e6,) * 10 + (0.0,) * 5, step=1.0)
    scenario = Scenario(trace, rtt=0.04, device_scale=20, requests=120)
    fixed = summarise(simulate(scenario, StaticPolicy(PICTURE, LOCAL)), scenario.energy)
    free = summarise(simulate(scenario, adaptive(), LOCAL), scenario.energy)
    assert fixed.p95_ms > 2000
    assert free.p95_ms <= 200 * 1.1
    assert free.p50_ms <= fixed.p50_ms * 1.05
    assert free.hedged > 0
    assert 0.5 < free.shares["picture"] < 0.8
    assert free.shares["device"] > 0.2


def test_after_an_outage_the_edge_is_used_again_within_two_seconds() -> None:
    trace = Trace((10e6,) * 60 + (0.0,) * 30 + (10e6,) * 60, step=0.1)
    scenario = Scenario(trace, rtt=0.04, device_scale=20, period=0.25, requests=50)
    outcomes = simulate(scenario, adaptive(), LOCAL)
    assert any(outcome.point is LOCAL for outcome in outcomes)
    back = [outcome.at for outcome in outcomes if outcome.at > 9.0 and outcome.point is not LOCAL]
    assert back[0] < 11.0


def test_switches_stay_rare_near_a_switching_point_and_cost_little() -> None:
    # Sending the picture or a late cut cost the same at about 1.2 Mbit/s; the square wave lies on both sides of it.
    for low, high in ((0.9e6, 1.6e6), (1.1e6, 1.3e6), (1.0e6, 1.5e6)):
        for half in (0.5, 2.0):
            trace = Trace((low, high), step=half)
            scenario = Scenario(trace, rtt=0.04, device_scale=10, period=0.25, requests=400)
            outcomes = simulate(scenario, adaptive(), LOCAL)
            switches = sum(a.planned is not b.planned for a, b in pairwise(outcomes))
            assert switches <= 400 * 0.25
            best = summarise(oracle(scenario, POINTS, Objective()), scenario.energy)
            assert summarise(outcomes, scenario.energy).mean_ms <= 1.08 * best.mean_ms


def test_sizes_of_payloads_have_the_measured_mean_and_percentile() -> None:
    import numpy as np

    spread = Point("s", 1, 1, Measurement(0.9, 5000, 8000, 1), codec="c")
    sizes = [payload_bytes(spread, float(z)) for z in np.random.default_rng(0).normal(size=20_000)]
    assert np.mean(sizes) == pytest.approx(5000, rel=0.02)
    assert np.percentile(sizes, 95) == pytest.approx(8000, rel=0.03)


@settings(max_examples=40)
@given(
    st.lists(st.floats(0, 2e7), min_size=2, max_size=12).filter(lambda rates: max(rates) > 2e5),
    st.floats(0.1, 3),
    st.floats(0.001, 0.2),
    st.floats(0.5, 80),
    st.floats(0.05, 1.0),
)
def test_every_request_is_answered_once(
    rates: list[float], step: float, rtt: float, scale: float, period: float
) -> None:
    scenario = Scenario(
        Trace(tuple(rates), step), rtt, device_scale=scale, period=max(period, 0.015 * scale), requests=30
    )
    outcomes = simulate(scenario, adaptive(), LOCAL)
    assert len(outcomes) == 30
    assert len({outcome.at for outcome in outcomes}) == 30
    assert all(outcome.latency_ms > 0 for outcome in outcomes)
    knows = oracle(scenario, POINTS, Objective())
    assert sum(o.latency_ms for o in knows) <= 30 * 10 * scale * 1.0001


# -- policies to compare with ------------------------------------------------------------------------------------


def test_argmin_takes_the_estimate_for_certain() -> None:
    policy = ArgminPolicy(POINTS)
    unsure = Channel(0.7e6, 0.02, spread=2.0, stall=0.3)
    assert policy.choose(Conditions(unsure, device_scale=20)).point is PICTURE
    assert policy.choose(Conditions(None, device_scale=20)).point is LOCAL
    assert policy.choose(Conditions(unsure, device_scale=20)).hedge_ms is None


def test_natural_bottlenecks_are_the_boundaries_that_shrink() -> None:
    bundle = toy_bundle()
    policy = BottleneckPolicy(bundle, bundle.points)
    # The features (512 bytes) are smaller than the picture (768); what is coded is left out.
    assert {p.id for p in policy.points} == {"cut2-fp32", "cut0-raw-exact", "cut1-fp32-raw-exact"}


def test_deadline_rule_takes_the_most_accurate_level_in_time() -> None:
    rough, fine = point("rough", 500, 1, metric=0.7), point("fine", 20_000, 1, metric=0.9)
    policy = DeadlinePolicy([rough, fine], 0.2)
    assert policy.choose(Conditions(Channel(10e6, 0.02))).point is fine
    assert policy.choose(Conditions(Channel(0.5e6, 0.02))).point is rough
    assert policy.choose(Conditions(Channel(2e3, 0.02))).point is rough


def test_oracle_follows_the_objective() -> None:
    scenario = Scenario(Trace.constant(8e6), rtt=0.05, device_scale=20, requests=10)
    assert {o.point.id for o in oracle(scenario, POINTS, Objective())} == {"picture"}
    slow = Scenario(Trace.constant(0.2e6), rtt=0.05, device_scale=20, requests=10)
    assert {o.point.id for o in oracle(slow, POINTS, Objective())} == {"local"}
    assert {o.point.id for o in oracle(slow, POINTS, Objective(latency_weight=0, energy_weight=1))} != {"local"}


# -- the command -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("simulate")
    toy_bundle().save(folder / "toy.cutpoint")
    (folder / "link.txt").write_text("".join(f"{i} {8 if i % 7 else 0}\n" for i in range(60)))
    return folder / "toy.cutpoint", folder / "link.txt"


def test_command_compares_policies(files: tuple[Path, Path]) -> None:
    bundle, trace = files
    names = ["adaptive", "device", "argmin", "bottleneck", "slimmable", "oracle", "cut0-jpeg-q90"]
    arguments = [str(bundle), "--trace", str(trace), "--device-scale", "800", "--deadline", "0.3", "--requests", "60"]
    arguments += [part for name in names for part in ("--policy", name)]
    done = CliRunner().invoke(simulate_command, [*arguments, "--json"], catch_exceptions=False)
    report = json.loads(done.output)["link.txt"]
    assert list(report) == names
    for row in report.values():
        assert 0 < row["p50_ms"] <= row["p95_ms"]
        assert sum(row["shares"].values()) == pytest.approx(1.0, abs=0.01)
    assert report["oracle"]["mean_ms"] <= report["adaptive"]["mean_ms"] * 1.02
    assert report["adaptive"]["mean_ms"] <= report["device"]["mean_ms"]
    shown = CliRunner().invoke(simulate_command, arguments[:9], catch_exceptions=False)
    assert "answered by" in shown.output


def test_command_names_what_it_does_not_know(files: tuple[Path, Path]) -> None:
    bundle, trace = files

    def fails(*more: str) -> Exception:
        done = CliRunner().invoke(simulate_command, [str(bundle), "--trace", str(trace), *more])
        assert done.exception is not None
        return done.exception  # type: ignore[return-value]

    assert "no point 'fastest'" in str(fails("--policy", "fastest"))
    assert isinstance(fails("--policy", "slimmable"), InputError)
    assert isinstance(fails("--rtt", "-1"), InputError)


def test_command_takes_a_device_profile(files: tuple[Path, Path], tmp_path: Path) -> None:
    bundle, trace = files
    save_profile(profile_of(Bundle.open(bundle)), tmp_path / "board.json")
    arguments = [str(bundle), "--trace", str(trace), "--policy", "device", "--requests", "20", "--json"]
    done = CliRunner().invoke(
        simulate_command, [*arguments, "--profile", str(tmp_path / "board.json")], catch_exceptions=False
    )
    # On the board the whole model takes 50 ms.
    assert json.loads(done.output)["link.txt"]["device"]["p50_ms"] == pytest.approx(50)
