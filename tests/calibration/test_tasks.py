import numpy as np
import pytest

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.tasks import Judge, agreement, is_classification
from cutpoint.codecs import TensorSpec

SCORES = [TensorSpec("scores", (1, 3), "float32")]
BOXES = [TensorSpec("boxes", (1, 10, 6), "float32")]


def _one_hot(index: int) -> tuple[np.ndarray, ...]:  # type: ignore[type-arg]
    return (np.eye(3, dtype=np.float32)[index][None],)


def test_kinds() -> None:
    assert is_classification(SCORES)
    assert not is_classification(BOXES)
    assert not is_classification(SCORES * 2)
    assert not is_classification([TensorSpec("mask", (1, 3), "int64")])


def test_top1_against_labels() -> None:
    judge = Judge(SCORES, [0, 1, 2], [_one_hot(0), _one_hot(1), _one_hot(0)])
    assert (judge.kind, judge.metric) == ("classification", "top1")
    assert judge.uncut_metric() == pytest.approx(2 / 3)
    assert judge.score(2, _one_hot(2)) == 1.0


@pytest.mark.parametrize("labels", [[None, None], [0, None]])
def test_agreement_of_classes_without_labels(labels: list[int | None]) -> None:
    judge = Judge(SCORES, labels, [_one_hot(0), _one_hot(1)])
    assert (judge.kind, judge.metric, judge.uncut_metric()) == ("classification", "agreement", 1.0)
    assert judge.score(0, _one_hot(1)) == 0.0


def test_agreement_of_tensors() -> None:
    wanted = np.random.default_rng(0).normal(size=(1, 10, 6)).astype(np.float32)
    judge = Judge(BOXES, [1], [(wanted,)])
    assert (judge.kind, judge.metric) == ("agreement", "agreement")
    assert judge.score(0, (wanted,)) == 1.0
    assert judge.score(0, (wanted * 0.9,)) == pytest.approx(0.99)
    assert judge.score(0, (-wanted,)) == 0.0


def test_agreement_with_nothing() -> None:
    zeros = np.zeros((1, 2), np.float32)
    assert agreement([zeros], [zeros]) == 1.0
    assert agreement([zeros + 1], [zeros]) == 0.0


def test_a_label_the_model_does_not_know() -> None:
    with pytest.raises(CalibrationError, match="class index 7"):
        Judge(SCORES, [7], [_one_hot(0)])
