from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cutpoint.calibration.data import Source
from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.tasks import Judge, Situation, agreement, is_classification, judge_all, make_judge
from cutpoint.calibration.tasks.boxes import find_decoder, suppress, yolox_boxes
from cutpoint.calibration.tasks.tensors import cosine
from cutpoint.codecs import Array, TensorSpec
from cutpoint.sdk.bundle import Preprocessing

SCORES = (TensorSpec("scores", (1, 3), "float32"),)
MAP = (TensorSpec("map", (1, 3, 4, 4), "float32"),)
BOXES = (
    TensorSpec("boxes", (1, 2, 4), "float32"),
    TensorSpec("scores", (1, 2), "float32"),
    TensorSpec("labels", (1, 2), "int64"),
)
HOW = Preprocessing(32, 32)


def _one_hot(index: int) -> tuple[Array, ...]:
    return (np.eye(3, dtype=np.float32)[index][None],)


def _sources(*labels: int | None) -> tuple[Source, ...]:
    return tuple(Source(Path(f"{n}.jpg"), f"{n}.jpg", label) for n, label in enumerate(labels))


def _judge(outputs: tuple[TensorSpec, ...], task: str = "auto", **more: object) -> Judge:
    return make_judge(task, Situation(outputs, **{"sources": _sources(), "uncut": []} | more))  # type: ignore[arg-type]


def test_kinds() -> None:
    assert is_classification(SCORES)
    assert not is_classification(MAP)
    assert not is_classification(SCORES * 2)
    assert not is_classification([TensorSpec("mask", (1, 3), "int64")])
    with pytest.raises(CalibrationError, match="'ranking' is not one of auto, classification"):
        _judge(SCORES, "ranking")


def test_top1_against_labels() -> None:
    answers = [_one_hot(0), _one_hot(1), _one_hot(0)]
    judge = _judge(SCORES, sources=_sources(0, 1, 2), uncut=answers)
    assert (judge.kind, judge.metric, judge.classes) == ("classification", "top1", 3)
    assert judge_all(judge, answers) == pytest.approx(2 / 3)
    assert judge.score({2: judge.judge(2, _one_hot(2))}) == 1.0


@pytest.mark.parametrize("labels", [[None, None], [0, None]])
def test_agreement_of_classes_without_labels(labels: list[int | None]) -> None:
    answers = [_one_hot(0), _one_hot(1)]
    judge = _judge(SCORES, sources=_sources(*labels), uncut=answers)
    assert (judge.kind, judge.metric, judge_all(judge, answers)) == ("classification", "agreement", 1.0)
    assert judge.judge(0, _one_hot(1)) == [0.0]


def test_labels_that_lack_or_do_not_fit() -> None:
    with pytest.raises(CalibrationError, match=r"1\.jpg has none: give a folder per class"):
        _judge(SCORES, "classification", sources=_sources(0, None), uncut=[])
    with pytest.raises(CalibrationError, match="class index 7"):
        _judge(SCORES, sources=_sources(7), uncut=[_one_hot(0)])
    with pytest.raises(CalibrationError, match=r"wants one float output \(1, classes\)"):
        _judge(MAP, "classification")


def test_agreement_of_tensors() -> None:
    wanted = np.random.default_rng(0).normal(size=(1, 10, 6)).astype(np.float32)
    judge = _judge((TensorSpec("any", (1, 10, 6), "float32"),), sources=_sources(1), uncut=[(wanted,)])
    assert (judge.kind, judge.metric) == ("agreement", "agreement")
    assert judge.judge(0, (wanted,)) == [1.0]
    assert judge.judge(0, (wanted * 0.9,)) == [pytest.approx(0.99)]
    assert judge.judge(0, (-wanted,)) == [0.0]
    zeros = np.zeros((1, 2), np.float32)
    assert agreement([zeros], [zeros]) == 1.0
    assert agreement([zeros + 1], [zeros]) == 0.0


def test_cosine_of_vectors() -> None:
    wanted = np.array([[3.0, 4.0, 0.0]], np.float32)
    judge = _judge(SCORES, "embedding", sources=_sources(None), uncut=[(wanted,)])
    assert (judge.kind, judge.metric) == ("embedding", "cosine")
    assert judge.judge(0, (wanted * 5,)) == [pytest.approx(1.0)]
    assert cosine(np.array([4.0, -3.0, 0.0]), wanted) == 0.0
    assert cosine(np.zeros(2), np.zeros(2)) == 1.0


def _maps(*columns: int) -> tuple[Array, ...]:
    """Scores whose best class is that of each column."""
    scores = np.zeros((1, 3, 4, 4), np.float32)
    for x, label in enumerate(columns):
        scores[0, label, :, x] = 1
    return (scores,)


def test_mean_intersection_over_union(tmp_path: Path) -> None:
    mask = np.array([[0, 0, 1, 255]] * 4, np.uint8)
    Image.fromarray(mask).save(tmp_path / "m.png")
    source = Source(tmp_path / "p.jpg", "p.jpg", mask=tmp_path / "m.png")
    situation = {"sources": (source,), "uncut": [_maps(0, 0, 1, 2)]}
    judge = _judge(MAP, **situation)
    assert (judge.kind, judge.metric, judge.classes) == ("segmentation", "miou", 3)
    assert judge_all(judge, [_maps(0, 0, 1, 2)]) == 1.0
    # Class 0: one of two columns; class 1: one column of two.
    assert judge_all(judge, [_maps(0, 1, 1, 2)]) == pytest.approx(0.5)
    with pytest.raises(CalibrationError, match=r"q[.]jpg has none"):
        _judge(MAP, "segmentation", sources=(source, Source(tmp_path / "q.jpg", "q.jpg")), uncut=[])
    Image.fromarray(mask + 3).save(tmp_path / "m.png")
    with pytest.raises(CalibrationError, match="class 4, but the model gives 3"):
        _judge(MAP, **situation)


def test_segmentation_without_masks() -> None:
    judge = _judge(MAP, "segmentation", sources=_sources(None), uncut=[_maps(0, 1, 1, 2)])
    assert judge.metric == "miou_agreement"
    assert judge_all(judge, [_maps(0, 1, 1, 2)]) == 1.0
    assert _judge(MAP, sources=_sources(None), uncut=[_maps(0, 1, 1, 2)]).kind == "agreement"


@pytest.fixture
def detected(tmp_path: Path) -> tuple[Source, ...]:
    """A picture of 64 × 64 with an object of class 3 in its left half."""
    Image.new("RGB", (64, 64)).save(tmp_path / "p.jpg")
    (tmp_path / "p.txt").write_text("3 0.25 0.5 0.5 1.0\n")
    return (Source(tmp_path / "p.jpg", "p.jpg", boxes=tmp_path / "p.txt"),)


def _found(left: float, label: int = 3) -> tuple[Array, ...]:
    boxes = np.array([[[left, 0, left + 16, 32], [0, 0, 4, 4]]], np.float32)
    return boxes, np.array([[0.9, 0.1]], np.float32), np.array([[label, 5]])


def test_average_precision(detected: tuple[Source, ...]) -> None:
    pytest.importorskip("pycocotools")
    judge = _judge(BOXES, sources=detected, uncut=[_found(0)], preprocessing=HOW)
    assert (judge.kind, judge.metric) == ("detection", "ap")
    assert judge_all(judge, [_found(0)]) == pytest.approx(1.0)
    # Intersection over union 13 / 19 = 0.68: found at the thresholds 0.5, 0.55, 0.6 and 0.65 of ten.
    assert judge_all(judge, [_found(3)]) == pytest.approx(0.4)
    assert judge_all(judge, [_found(0, label=2)]) == 0.0
    nothing = tuple(tensor[:, :0] for tensor in _found(0))
    assert judge_all(judge, [nothing]) == 0.0


def test_detection_wants_its_outputs_and_labels(detected: tuple[Source, ...]) -> None:
    pytest.importorskip("pycocotools")
    with pytest.raises(CalibrationError, match=r"0[.]jpg has none"):
        _judge(BOXES, "detection", sources=_sources(None), uncut=[], preprocessing=HOW)
    with pytest.raises(CalibrationError, match="knows the outputs of YOLOX"):
        _judge(MAP, "detection", sources=detected, uncut=[], preprocessing=HOW)
    assert _judge(BOXES, sources=_sources(None), uncut=[], preprocessing=HOW).kind == "agreement"


def test_boxes_of_yolox() -> None:
    rows = np.zeros((16 + 4 + 1, 5 + 2), np.float32)
    rows[5] = [0.5, 0.5, np.log(2), 0, 0.9, 0.1, 0.8]  # the cell (1, 1) of stride 8
    rows[20] = [0.5, 0.5, 0, 0, 0.5, 0.9, 0]  # the cell of stride 32
    boxes, scores, labels = yolox_boxes(rows, 32, 32)
    assert labels[:2].tolist() == [1, 0]
    np.testing.assert_allclose(scores[:2], [0.72, 0.45], rtol=1e-6)
    np.testing.assert_allclose(boxes[:2], [[4, 8, 20, 16], [0, 0, 32, 32]], rtol=1e-6)
    found = find_decoder((TensorSpec("out", (1, 21, 7), "float32"),), HOW)
    assert found is not None
    assert found.classes == 2
    assert find_decoder((TensorSpec("out", (1, 22, 7), "float32"),), HOW) is None
    assert find_decoder(BOXES, None) is None


def test_boxes_with_scores_of_every_class() -> None:
    specs = BOXES[:1], (TensorSpec("scores", (1, 2, 4), "float32"),)
    found = find_decoder((*specs[0], *specs[1]), HOW)
    assert found is not None
    scores = np.array([[[0, 0.9, 0, 0], [0, 0.8, 0, 0.3]]], np.float32)
    boxes, values, labels = found.decode([np.array([[[0, 0, 8, 8], [0, 0, 8, 9]]], np.float32), scores])
    assert labels.tolist() == [1, 3]  # the second box of class 1 overlaps a better one
    np.testing.assert_allclose(values, [0.9, 0.3], rtol=1e-6)
    assert len(boxes) == 2


def test_suppression_keeps_the_best_of_what_overlaps() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]], np.float32)
    assert suppress(boxes, np.array([0.5, 0.9, 0.1])).tolist() == [1, 2]
    assert suppress(np.zeros((0, 4)), np.zeros(0)).tolist() == []
