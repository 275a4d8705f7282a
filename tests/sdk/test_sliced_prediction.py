"""What sliced points are predicted to take, beside the simulation of their steps."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.slices import sliced_bundle

from cutpoint.sdk import AdaptivePolicy, Channel, Conditions, EnergyModel, Objective, StaticPolicy
from cutpoint.sdk.bundle import DeviceProfile, HeadCost, Measurement, Point, SliceStep, Slicing
from cutpoint.sdk.policy import efficient
from cutpoint.sdk.predictor import OVERHEAD_BYTES, Predictor
from cutpoint.sdk.profiles import apply_profile
from cutpoint.sdk.timeline import Step, finish_ms

LOCAL = Point("local", 3, 3, Measurement(0.9, 0, 0, device_ms=50.0), precision="fp32")
PLAIN = Point("plain", 1, 1, Measurement(0.9, 4000, 4000, 20.0, 1.0, 1.0, 10.0), "fp32", "1-raw", 0, "fp32")


def sliced(steps: list[tuple[float, float, float]], tail_ms: float = 10.0, pictures: int = 1) -> Point:
    given = tuple(SliceStep((number, number + 1), *step) for number, step in enumerate(steps))
    device_ms, nbytes, server_ms = (sum(column) for column in zip(*steps, strict=True))
    measured = Measurement(0.9, nbytes, nbytes, device_ms, 0.0, server_ms, tail_ms)
    return Point(f"sliced{len(steps)}", 1, 1, measured, "fp32", "1-raw", 0, "fp32", slicing=Slicing(given, pictures))


_TIMES = st.floats(0.0, 50.0)
_STEPS = st.lists(st.tuples(_TIMES, st.floats(0.0, 1e5), _TIMES), min_size=2, max_size=6)


@settings(max_examples=200, deadline=None)
@given(_STEPS, _STEPS, st.floats(1e5, 1e8), st.floats(1.0, 10.0), st.floats(0.2, 5.0))
def test_the_longest_way_is_when_the_steps_are_done(
    first: list[tuple[float, float, float]],
    second: list[tuple[float, float, float]],
    rate: float,
    device_scale: float,
    server_scale: float,
) -> None:
    points = (LOCAL, PLAIN, sliced(first), sliced(second))
    conditions = Conditions(Channel(rate, 0.02), device_scale=device_scale, server_scale=server_scale)
    prediction = Predictor(points, EnergyModel(), answer_bytes=0).predict(conditions)
    for number, work in ((2, first), (3, second)):
        steps: list[Step] = []
        for device_ms, nbytes, _ in work:
            steps.append(Step("device", device_ms * device_scale))
            steps.append(Step("uplink", (nbytes + OVERHEAD_BYTES) * 8e3 / rate, (len(steps) - 1,)))
        for place, (_, _, server_ms) in enumerate(work):
            steps.append(Step("server", server_ms * server_scale, (2 * place + 1,)))
        steps.append(Step("server", 10.0 * server_scale))
        assert prediction.latency_ms[3, number] == pytest.approx(finish_ms(steps) + 20.0)
        assert prediction.device_ms[number] == pytest.approx(sum(step[0] for step in work) * device_scale)
    plain = Predictor(points[:2], EnergyModel(), answer_bytes=0).predict(conditions)
    assert prediction.latency_ms[:, :2].tolist() == plain.latency_ms.tolist()


HALVES = sliced([(10.0, 20_000.0, 1.0), (10.0, 20_000.0, 1.0)], pictures=0)


@pytest.mark.parametrize(
    ("conditions", "there"),
    [
        (Conditions(Channel(1e7, 0.01)), 3),
        (Conditions(Channel(1e7, 0.01), slices=False), 2),
        (Conditions(None), 1),
    ],
)
def test_without_the_extension_there_are_no_sliced_points(conditions: Conditions, there: int) -> None:
    assert Predictor((LOCAL, PLAIN, HALVES), EnergyModel()).predict(conditions).device_ms.shape == (there,)


def test_the_policy_chooses_slices_where_they_are_faster_and_never_without_the_extension() -> None:
    whole = Point("whole", 1, 1, HALVES.measured, "fp32", "1-raw", 0, "fp32")
    far = Point("far", 3, 3, Measurement(0.9, 0, 0, device_ms=500.0), precision="fp32")
    policy = AdaptivePolicy((HALVES, far, whole), Objective())
    assert [point.id for point in policy.points] == ["far", "whole", HALVES.id]
    channel = Channel(16e6, 0.01)
    plan = policy.choose(Conditions(channel))
    assert plan.point is HALVES
    # Two slices of 10 ms, the link 10 ms for each, one way there and back, the second decoder, the tail; not 52.
    assert plan.predicted_ms == pytest.approx(10 + 10 + 10 + 10 + 1 + 10, abs=2)
    assert policy.choose(Conditions(channel, slices=False)).point is whole
    static = StaticPolicy(HALVES, LOCAL)
    assert static.choose(Conditions(channel)).point is HALVES
    assert static.choose(Conditions(channel, slices=False)).point is LOCAL


def test_all_sliced_points_are_kept() -> None:
    worse = sliced([(11.0, 20_000.0, 1.0), (11.0, 20_000.0, 1.0), (1.0, 1.0, 1.0)])
    assert efficient([worse, HALVES, PLAIN, LOCAL], by_metric=True) == (LOCAL, PLAIN, worse, HALVES)


def test_a_profile_slows_every_slice() -> None:
    bundle = sliced_bundle()
    (file,) = bundle.span(0, 1, "fp32").graphs
    sha256 = next(entry.sha256 for entry in bundle.manifest.files if entry.path == file.file)
    head_ms = bundle.points[bundle.point_number("cut1-fp32-raw-exact")].measured.device_ms
    heads = (HeadCost(1, "fp32", "onnx", sha256, 7 * head_ms, 8 * head_ms),)
    slow = apply_profile(bundle, DeviceProfile("slow", heads=heads, scale=3.0))
    number = bundle.point_number("sliced-raw-1")
    before, after = bundle.points[number], slow.points[number]
    assert before.slicing is not None
    assert after.slicing is not None
    for was, now in zip(before.slicing.steps, after.slicing.steps, strict=True):
        assert now.device_ms == pytest.approx(7 * was.device_ms)
        assert (now.nbytes, now.server_ms) == (was.nbytes, was.server_ms)
    assert after.measured.device_ms == pytest.approx(7 * before.measured.device_ms)
