import dataclasses

import numpy as np
import pytest
from tests.support.networks import SIDE, Network, residual_net

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.prepare import boundary0, check_faithful, make_preprocessing, prepare_graph
from cutpoint.calibration.importers.model import ImportedModel
from cutpoint.calibration.importers.onnx import from_proto
from cutpoint.codecs import Array


def _imported() -> ImportedModel:
    return from_proto(residual_net(), "net", "net.onnx", "onnx")


def _picture(seed: int = 0) -> tuple[Array, ...]:
    return (np.random.default_rng(seed).integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8),)


def test_pictures_become_the_input() -> None:
    imported = _imported()
    how = make_preprocessing(imported, {"mean": [0.5, 0.5, 0.5]})
    graph, names = prepare_graph(imported, how)
    assert (how.height, how.width) == (SIDE, SIDE)
    assert graph.inputs == boundary0(imported, how)
    assert graph.batch
    check_faithful(imported, graph, names, [_picture(0), _picture(1)])


def test_tensors_stay_the_input() -> None:
    imported = _imported()
    graph, names = prepare_graph(imported, None)
    assert (graph.inputs, names) == (imported.inputs, ("x",))
    check_faithful(imported, graph, names, [(np.ones((1, 3, SIDE, SIDE), np.float32),)])


def test_a_batch_that_the_model_cannot_take_is_fixed() -> None:
    net = Network()
    net.conv("x", "c", 3, 4)
    net.add("Reshape", ["c", net.constant("s", np.array([1, -1]))], "out")
    imported = from_proto(net.model((1, 3, SIDE, SIDE), ["out"]), "net", "net.onnx", "onnx")
    graph, _ = prepare_graph(imported, None)
    assert not graph.batch


def test_a_batch_whose_members_touch_each_other_is_fixed() -> None:
    net = Network()
    net.add("ReduceMean", ["x"], "mean", axes=[0], keepdims=1)
    net.add("Sub", ["x", "mean"], "out")
    imported = from_proto(net.model((1, 3, SIDE, SIDE), ["out"]), "net", "net.onnx", "onnx")
    graph, _ = prepare_graph(imported, None)
    assert not graph.batch


def test_another_answer_than_the_models_is_noticed() -> None:
    imported = _imported()
    graph, names = prepare_graph(imported, make_preprocessing(imported, {}))
    wrong = dataclasses.replace(imported, reference=lambda tensors: [imported.reference(tensors)[0] + 1])
    with pytest.raises(CalibrationError, match="does not compute what the model does"):
        check_faithful(wrong, graph, names, [_picture()])


@pytest.mark.parametrize("fields", [{"sdt": [1, 1, 1]}, {"resize": 4}, {"mean": [1]}, {"height": "tall"}])
def test_preprocessing_that_does_not_hold_together(fields: dict[str, object]) -> None:
    with pytest.raises(CalibrationError, match="preprocessing"):
        make_preprocessing(_imported(), fields)
