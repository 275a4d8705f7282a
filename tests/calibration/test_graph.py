import numpy as np
import pytest
from tests.support.networks import SIDE, Network, inspect, residual_net, two_scale_net

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.graph import check_finite, run_model
from cutpoint.codecs import TensorSpec


def test_shapes_types_and_batch_come_from_a_run() -> None:
    graph = inspect(residual_net())
    assert graph.specs["r4"].shape == (1, 16, SIDE // 2, SIDE // 2)
    assert graph.specs["scores"].dtype == "float32"
    assert graph.batch
    assert {"r1", "r4", "f"} <= graph.batched


def test_a_fixed_batch_is_noticed() -> None:
    assert not inspect(residual_net(batch=False)).batch


def test_crossings_start_with_inputs_and_end_with_outputs() -> None:
    graph = inspect(residual_net())
    assert graph.crossings[0] == ("x",)
    assert graph.crossings[-1] == ("scores",)
    names = [node.output[0] for node in graph.model.graph.node]
    assert set(graph.crossings[names.index("c2") + 1]) == {"r1", "c2"}
    assert graph.crossings[names.index("r3") + 1] == ("r3",)


def test_constants_cross_nothing() -> None:
    assert not any("_w" in name for entry in inspect(two_scale_net()).crossings for name in entry)


def test_dead_nodes_go() -> None:
    net = Network()
    net.conv("x", "c1", 3, 4)
    net.conv("x", "unused", 3, 4)
    net.add("Relu", ["c1"], "out")
    graph = inspect(net.model((1, 3, SIDE, SIDE), ["out"]))
    assert [node.output[0] for node in graph.model.graph.node] == ["c1", "out"]


def test_an_output_without_the_batch_in_front_is_refused() -> None:
    net = Network()
    net.add("Transpose", ["x"], "out", perm=[1, 0, 2, 3])
    with pytest.raises(CalibrationError, match="output 'out'"):
        inspect(net.model((1, 3, 4, 4), ["out"]))


def test_a_model_that_does_not_run_says_why() -> None:
    with pytest.raises(CalibrationError, match="does not run in onnxruntime"):
        run_model(residual_net(), {"x": np.zeros((1, 4, SIDE, SIDE), np.float32)})


def test_what_is_not_finite_is_named() -> None:
    spec = TensorSpec("scores", (1, 2), "float32")
    check_finite([spec], [np.ones((1, 2), np.float32)], "a.jpg")
    with pytest.raises(CalibrationError, match=r"'scores'.*NaN or infinity for a\.jpg"):
        check_finite([spec], [np.array([[1, np.nan]], np.float32)], "a.jpg")
