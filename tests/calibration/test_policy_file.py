import numpy as np
import pytest
from tests.support.policies import scores_of, small_policy
from tests.support.toy import toy_bundle

from cutpoint.calibration.learning.policy_file import seen
from cutpoint.sdk.runtimes import create_runtime


def test_several_observations_at_once() -> None:
    graph = create_runtime("onnx").load(small_policy(toy_bundle(), heads=3), {})
    observations = np.random.default_rng(0).normal(size=(7, 15)).astype(np.float32)
    scores, disagreement = graph.run((observations,))
    assert scores.shape == (7, 3)
    assert disagreement.shape == (7,)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    alone = [graph.run((row[None],)) for row in observations]
    np.testing.assert_allclose(scores, np.concatenate([one for one, _ in alone]), atol=1e-6)
    assert ((disagreement >= 0) & (disagreement <= 1)).all()


def test_one_head_agrees_with_itself_and_does_not_say_so() -> None:
    graph = create_runtime("onnx").load(small_policy(toy_bundle(), heads=1), {})
    assert graph.output_names == ("scores",)


def test_what_was_seen() -> None:
    observations = np.random.default_rng(0).normal((1, 2), (1, 3), (5000, 2)).astype(np.float32)
    found = seen(observations)
    assert found.mean == pytest.approx((1, 2), abs=0.15)
    assert found.precision[0][0] == pytest.approx(1, rel=0.1)
    assert found.precision[1][1] == pytest.approx(1 / 9, rel=0.1)
    assert found.low == tuple(observations.min(axis=0).tolist())
    assert found.high == tuple(observations.max(axis=0).tolist())
    # The furthest of 5000 normal pairs.
    assert 10 < found.distance < 40


def test_scores_in_numpy_are_probabilities() -> None:
    assert scores_of([], [], np.zeros((1, 1, 4))).tolist() == [[0.25] * 4]
