import re
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.policies import conditions, small_policy
from tests.support.toy import toy_bundle

from cutpoint.calibration.learning.policy_file import seen
from cutpoint.sdk import AdaptivePolicy, Conditions, InputError, LearnedPolicy, Objective
from cutpoint.sdk.learned import Seen, Weights
from cutpoint.sdk.observation import FEATURES
from cutpoint.sdk.protocol import ServerState

BUNDLE = toy_bundle()


def learned(data: bytes, objective: Objective | None = None) -> LearnedPolicy:
    return LearnedPolicy(data, AdaptivePolicy.for_bundle(BUNDLE, objective or Objective()), BUNDLE)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "cutpoint.policy"]


@pytest.mark.parametrize("heads", [1, 3])
def test_follows_the_graph_where_it_was_trained(heads: int, caplog: pytest.LogCaptureFixture) -> None:
    policy = learned(small_policy(BUNDLE, heads))
    analytic = AdaptivePolicy.for_bundle(BUNDLE, Objective())
    assert policy.refusal is None
    assert policy.card is not None
    chosen = [(policy.choose(each).point.id, analytic.choose(each).point.id) for each in conditions()]
    assert len({own for own, _ in chosen}) > 1
    assert any(own != other for own, other in chosen)
    assert not warnings(caplog)


def test_plan_at_a_point_is_hedged_as_the_costs_say() -> None:
    each = conditions()[0]
    analytic = AdaptivePolicy.for_bundle(BUNDLE, Objective())
    for number, point in enumerate(analytic.points):
        plan = AdaptivePolicy.for_bundle(BUNDLE, Objective()).follow(number, each)
        assert plan.point is point
        assert (plan.hedge_ms is None) == point.local
    assert AdaptivePolicy.for_bundle(BUNDLE, Objective()).follow(len(analytic.points) - 1, Conditions(None)).point.local


@pytest.mark.parametrize(
    "away",
    [
        Conditions(None),
        Conditions(conditions()[0].channel, ServerState(draining=True)),
    ],
)
def test_without_an_edge_the_analytic_policy_decides_and_nothing_is_wrong(
    away: Conditions, caplog: pytest.LogCaptureFixture
) -> None:
    policy = learned(small_policy(BUNDLE))
    assert policy.choose(away).point.local
    assert not warnings(caplog)


def damaged(place: int) -> bytes:
    """One weight is another."""
    model = onnx.load_from_string(small_policy(BUNDLE))
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == "weight_0")
    values = bytearray(weights.raw_data)
    values[place * 4 + 3] ^= 0x40
    weights.raw_data = bytes(values)
    return bytes(model.SerializeToString())


def renamed() -> bytes:
    """The graph gives something else than scores."""
    model = onnx.load_from_string(small_policy(BUNDLE))
    model.graph.output[0].name = "certainty"
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = ["certainty" if name == "scores" else name for name in names]
    return bytes(model.SerializeToString())


SEEN = Seen((0.0,), (1.0,), (0.5,), ((1.0,),), 1.0)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "refuses the graph"),
        (b"no graph at all", "refuses the graph"),
        (small_policy(BUNDLE)[:700], "refuses the graph"),
        (bytes(17 * 2**20), "over the limit"),
        (BUNDLE.read("spans/0-2.fp32.onnx"), "no policy card"),
        (small_policy(BUNDLE, poison=float("nan")), "no numbers"),
        (small_policy(BUNDLE, poison=float("inf")), "no numbers"),
        (damaged(1), "the file is damaged"),
        (small_policy(BUNDLE, bundle="0" * 64), "another bundle"),
        (small_policy(BUNDLE, weights=Weights(1.0, 0.5, 0.0)), "another objective"),
        (small_policy(BUNDLE, schema=2), "another version"),
        (small_policy(BUNDLE, features=FEATURES[1:]), "another version"),
        (small_policy(BUNDLE, points=("cut2-fp32",)), "of shape|refuses the graph"),
        (small_policy(BUNDLE, points=("a", "b", "c", "d", "e")), "none of its points|of shape|refuses"),
        (small_policy(BUNDLE, probes=()), "no scores to check"),
        (renamed(), "gives certainty, disagreement, not scores, disagreement"),
        (small_policy(BUNDLE, seen=SEEN), "what it was trained on"),
    ],
)
def test_a_file_of_no_use_is_refused_once_and_the_analytic_policy_decides(
    data: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    policy = learned(data)
    analytic = AdaptivePolicy.for_bundle(BUNDLE, Objective())
    for each in conditions(20):
        assert policy.choose(each) == analytic.choose(each)
    assert policy.refusal is not None
    (told,) = warnings(caplog)
    assert "the analytic policy takes over" in told
    assert policy.refusal in told
    assert re.search(reason, told)


TIMELY = Objective(deadline=0.2, late_cost=100.0)


@pytest.mark.parametrize(
    ("trained", "wanted"),
    [
        (Objective(), Objective(deadline=0.2)),
        (Objective(), Objective(cost=lambda forecast: forecast.latency_ms)),
        (TIMELY, Objective()),
        (TIMELY, replace(TIMELY, deadline=0.3)),
        (TIMELY, replace(TIMELY, late_cost=50.0)),
    ],
)
def test_another_deadline_is_another_objective(trained: Objective, wanted: Objective) -> None:
    data = small_policy(BUNDLE, weights=Weights.of(trained))
    assert learned(data, trained).refusal is None
    policy = learned(data, wanted)
    assert "another objective" in (policy.refusal or "")
    for each in conditions(20):
        assert policy.choose(each) == AdaptivePolicy.for_bundle(BUNDLE, wanted).choose(each)


def test_a_card_names_no_deadline_where_there_is_none() -> None:
    assert Weights.of(Objective(late_cost=5.0)) == Weights.of(Objective())
    assert msgspec.json.decode(msgspec.json.encode(Weights.of(Objective()))).keys() == {"latency", "energy", "loss"}
    assert msgspec.json.decode(msgspec.json.encode(Weights.of(TIMELY)), type=Weights) == Weights.of(TIMELY)


def test_scores_that_stop_being_numbers_end_the_trust(caplog: pytest.LogCaptureFixture) -> None:
    policy = learned(small_policy(BUNDLE))
    graph = policy._graph

    class Failing:
        def run(self, inputs: object) -> tuple[np.ndarray, ...]:
            return tuple(np.full_like(tensor, np.nan) for tensor in graph.run(inputs))  # type: ignore[arg-type]

    policy._graph = Failing()  # type: ignore[assignment]
    analytic = AdaptivePolicy.for_bundle(BUNDLE, Objective())
    for each in conditions(5):
        assert policy.choose(each) == analytic.choose(each)
    assert policy.refusal is not None
    assert len(warnings(caplog)) == 1


def test_what_was_never_seen_is_left_to_the_analytic_policy(caplog: pytest.LogCaptureFixture) -> None:
    policy = learned(small_policy(BUNDLE))
    analytic = AdaptivePolicy.for_bundle(BUNDLE, Objective())
    for each in conditions(20):
        strange = replace(each, device_scale=5e4)
        assert policy.choose(strange) == analytic.choose(strange)
    assert policy.refusal is None
    (told,) = warnings(caplog)
    assert "not among those that it was trained on" in told


def test_each_feature_usual_and_all_of_them_together_not() -> None:
    rng = np.random.default_rng(0)
    observations = rng.uniform(0, 1, (1000, len(FEATURES))).astype(np.float32)
    observations[:, 1] = observations[:, 0]
    policy = learned(small_policy(BUNDLE, seen=seen(observations)))
    usual = np.full((1, len(FEATURES)), 0.5, np.float32)
    assert policy.knows(usual)
    strange = usual.copy()
    strange[0, :2] = 0.2, 0.8
    assert not policy.knows(strange)
    strange[0, 0] = 0.8
    assert policy.knows(strange)


def test_what_is_known_is_what_lies_within_bounds_and_distance() -> None:
    rng = np.random.default_rng(1)
    observations = (rng.normal(size=(2000, len(FEATURES))) @ rng.normal(size=(len(FEATURES),) * 2)).astype(np.float32)
    known = seen(observations)
    policy = learned(small_policy(BUNDLE, seen=known))
    low, high, mean, precision = (np.array(part) for part in (known.low, known.high, known.mean, known.precision))
    verdicts = set()
    for row in 0.3 * rng.normal(size=(500, len(FEATURES))) @ rng.normal(size=(len(FEATURES),) * 2):
        away = row - mean
        inside = min((row - low).min(), (high - row).min())
        share = away @ precision @ away / known.distance
        if abs(inside) > 1e-3 and abs(share - 1) > 0.05:
            verdicts.add(expected := bool(inside > 0 and share < 1))
            assert policy.knows(row[None].astype(np.float32)) is expected
    assert verdicts == {True, False}
    assert not policy.knows(np.full((1, len(FEATURES)), np.nan, np.float32))


def test_a_covariance_beyond_all_numbers_is_refused() -> None:
    known = seen(np.random.default_rng(1).normal(size=(100, len(FEATURES))).astype(np.float32))
    vast = msgspec.structs.replace(known, precision=tuple(tuple(1e200 * x for x in row) for row in known.precision))
    assert "what it was trained on" in (learned(small_policy(BUNDLE, seen=vast)).refusal or "")


def test_heads_that_disagree_are_not_followed(caplog: pytest.LogCaptureFixture) -> None:
    policy = learned(small_policy(BUNDLE, disagreement=0.0))
    analytic = AdaptivePolicy.for_bundle(BUNDLE, Objective())
    for each in conditions(20):
        assert policy.choose(each) == analytic.choose(each)
    (told,) = warnings(caplog)
    assert "do not agree" in told


def test_points_that_cannot_be_chosen_here_are_masked() -> None:
    usual = AdaptivePolicy.for_bundle(BUNDLE, Objective())
    local = [point for point in usual.points if point.local]
    policy = LearnedPolicy(small_policy(BUNDLE), AdaptivePolicy(local), BUNDLE)
    assert policy.refusal is None
    assert {policy.choose(each).point.id for each in conditions(50)} == {local[0].id}


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train-policy"):
        LearnedPolicy.open(tmp_path / "none.onnx", AdaptivePolicy.for_bundle(BUNDLE, Objective()), BUNDLE)
    path = tmp_path / "policy.onnx"
    path.write_bytes(small_policy(BUNDLE))
    assert LearnedPolicy.open(path, AdaptivePolicy.for_bundle(BUNDLE, Objective()), BUNDLE).refusal is None


def test_metadata_that_is_no_text_is_refused() -> None:
    whole = small_policy(BUNDLE)
    policy = learned(whole.replace(b"cutpoint.policy", b"\x80utpoint.policy"))
    assert policy.refusal is not None
    assert "no text" in policy.refusal


@settings(max_examples=60)
@given(st.data())
def test_no_damage_to_the_file_gets_through_as_an_exception(data: st.DataObject) -> None:
    whole = bytearray(small_policy(BUNDLE))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    policy = learned(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    assert policy.choose(conditions(1)[0]).point in policy.points


def test_the_card_can_be_read_by_others() -> None:
    model = onnx.load_from_string(small_policy(BUNDLE))
    card = msgspec.json.decode(model.metadata_props[0].value)
    assert card["algorithm"] == "memtl"
    assert card["training"] == {"seed": 0}
