from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from tests.calibration.test_exits_graphs import SCORES, normal, run, tail
from tests.support.networks import residual_net

from cutpoint.calibration.exits.graphs import pooled_head, shortened
from cutpoint.calibration.exits.training import find_temperature, log_probabilities, train_exit
from cutpoint.calibration.training.landing import Landing


@pytest.fixture(scope="module")
def lesson() -> tuple[onnx.ModelProto, np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    long, spec = tail(residual_net(), "r1")
    features = np.abs(normal(spec, 200))
    short = shortened(long)
    assert short is not None
    return short, features.astype(np.float16), run(long, features)[0]


def distance(head: onnx.ModelProto, features: np.ndarray, wanted: np.ndarray) -> float:  # type: ignore[type-arg]
    def logs(scores: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        return np.asarray(scores - np.log(np.exp(scores).sum(1, keepdims=True)))

    ours, theirs = logs(run(head, features.astype(np.float32))[0]), logs(wanted)
    return float((np.exp(theirs) * (theirs - ours)).sum(1).mean())


def test_an_exit_learns_to_answer_like_the_model(lesson) -> None:  # type: ignore[no-untyped-def]
    short, features, wanted = lesson
    trained = train_exit(short, True, [features], wanted, 60, seed=0, near=False)
    assert distance(trained, features, wanted) < 0.5 * distance(short, features, wanted)
    # The same again, from the seed.
    assert trained == train_exit(short, True, [features], wanted, 60, seed=0, near=False)
    assert trained != train_exit(short, True, [features], wanted, 60, seed=1, near=False)


def test_the_graph_computes_what_torch_does(lesson) -> None:  # type: ignore[no-untyped-def]
    short, features, wanted = lesson
    trained = train_exit(short, True, [features], wanted, 5, seed=0, near=True)
    x = features[:7].astype(np.float32)
    with torch.no_grad():
        given = Landing(trained, True)([torch.from_numpy(x)])[0].numpy()
    np.testing.assert_allclose(run(trained, x)[0], given, rtol=1e-4, atol=1e-6)


def test_a_pooled_head_learns_too(lesson) -> None:  # type: ignore[no-untyped-def]
    _, features, wanted = lesson
    _, spec = tail(residual_net(), "r1")
    head = pooled_head([spec], SCORES, 13, True, seed=0)
    trained = train_exit(head, True, [features], wanted, 400, seed=0, near=False)
    assert distance(trained, features, wanted) < 0.5 * distance(head, features, wanted)


def test_nothing_is_left_behind(lesson, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    short, features, wanted = lesson
    train_exit(short, True, [features], wanted, 3, 0, True, tmp_path / "checkpoint")
    assert not list(tmp_path.iterdir())


def test_the_temperature_makes_confidences_true() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 2, (4000, 6)).astype(np.float32)
    second, first = np.sort(scores)[:, -2:].T
    agrees = rng.uniform(size=len(scores)) < 1 / (1 + np.exp(second - first))
    classes = np.where(agrees, scores.argmax(1), -1)
    # Margins of true log-odds have temperature 1; those of scores that are three times as sharp have three.
    assert find_temperature(3 * scores, classes) == pytest.approx(3.0, rel=0.1)


def test_a_few_right_answers_make_no_certainty() -> None:
    scores = np.tile(np.array([[4.0, 0.0, 0.0]], np.float32), (10, 1))
    # Eleven of twelve, rather than all.
    odds = 4 / find_temperature(scores, np.zeros(10, np.int64))
    assert odds == pytest.approx(np.log(11), rel=0.05)


def test_probabilities_become_logarithms() -> None:
    probabilities = np.array([[0.25, 0.75, 0.0]])
    assert log_probabilities(probabilities, True)[0, :2].tolist() == pytest.approx(np.log([0.25, 0.75]).tolist())
    assert np.isfinite(log_probabilities(probabilities, True)).all()
    assert log_probabilities(probabilities, False).tolist() == probabilities.tolist()
