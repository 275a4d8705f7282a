import pytest
from tests.support.toy import toy_bundle

from cutpoint.sdk import Channel, Conditions, InputError, LatencyPolicy, Objective, StaticPolicy
from cutpoint.sdk.bundle import Measurement, Point
from cutpoint.sdk.policy import admissible
from cutpoint.sdk.protocol import ServerState


def point(name: str, metric: float, nbytes: float, device: float, tail: float = 1.0, local: bool = False) -> Point:
    measured = Measurement(metric, nbytes, nbytes, device_ms=device, tail_ms=0 if local else tail)
    return Point(name, 1, 1, measured, codec=None if local else "c")


LOCAL = point("local", 0.9, 0, 10, local=True)
EARLY = point("early", 0.9, 20_000, 1)
LATE = point("late", 0.9, 1_000, 6)
POLICY = LatencyPolicy([LOCAL, EARLY, LATE])


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
        (Conditions(Channel(20e6, 0.005), device_scale=20, server_scale=300), "local"),
    ],
)
def test_choice_follows_the_conditions(conditions: Conditions, chosen: str) -> None:
    assert POLICY.choose(conditions).point.id == chosen


def test_prediction_adds_up() -> None:
    plan = POLICY.choose(Conditions(Channel(8e6, 0.01), ServerState(queue_ms=3), device_scale=2, server_scale=4))
    assert plan.point.id == "local"
    latency = POLICY.predict_ms(Conditions(Channel(8e6, 0.01), ServerState(queue_ms=3), 2, 4))
    assert latency[1] == pytest.approx(1 * 2 + (20_000 + 120) * 8 / 8e6 * 1e3 + 10 + 3 + 1 * 4)


def test_floor_excludes_points_but_never_the_last_local_one() -> None:
    weak = point("weak", 0.5, 0, 5, local=True)
    assert [p.id for p in admissible([LOCAL, weak, LATE], 0.8)] == ["local", "late"]
    assert [p.id for p in admissible([weak, LATE], 0.8)] == ["late", "weak"]
    assert [p.id for p in admissible([weak, LATE], 0.99)] == ["weak"]


def test_for_bundle_uses_the_objective() -> None:
    bundle = toy_bundle()
    strict = LatencyPolicy.for_bundle(bundle, Objective(accuracy_drop=0.01))
    assert "cut1-fp32-affine-coarse" not in [p.id for p in strict.points]
    loose = LatencyPolicy.for_bundle(bundle, Objective(accuracy_floor=0.5))
    assert "cut1-fp32-affine-coarse" in [p.id for p in loose.points]


def test_static_policy_falls_back_without_a_link() -> None:
    policy = StaticPolicy(LATE, LOCAL)
    assert policy.choose(Conditions(None)).point is LOCAL
    assert policy.choose(Conditions(Channel(1e3, 9.0))).point is LATE


@pytest.mark.parametrize(
    "arguments",
    [{"deadline": 0}, {"deadline": -1}, {"accuracy_drop": 1.5}, {"accuracy_floor": -0.1}, {"patience": 0.5}],
)
def test_objective_refuses_nonsense(arguments: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Objective(**arguments)  # type: ignore[arg-type]
