import numpy as np
import pytest
from onnx import helper
from tests.support.networks import SIDE, Network, residual_net

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.graph import run_model
from cutpoint.calibration.graphs.simplify import fix_batch, simplify


def test_constants_are_folded_and_nodes_named() -> None:
    net = Network()
    net.add("Add", [net.constant("a", np.float32(1)), net.constant("b", np.float32(2))], "three")
    net.add("Mul", ["x", "three"], "out")
    model = net.model((1, 3, 4, 4), ["out"])
    for node in model.graph.node:
        node.name = ""
        node.doc_string = "/home/somebody/model.py"
    simplified = simplify(model)
    assert [node.op_type for node in simplified.graph.node] == ["Mul"]
    assert all(node.name and not node.doc_string for node in simplified.graph.node)
    assert {opset.domain for opset in simplified.opset_import} == {""}


def test_the_result_computes_the_same() -> None:
    feeds = {"x": np.random.default_rng(0).normal(size=(2, 3, SIDE, SIDE)).astype(np.float32)}
    model = residual_net()
    (given,), (wanted,) = run_model(simplify(model), feeds), run_model(model, feeds)
    np.testing.assert_allclose(given, wanted, rtol=1e-5, atol=1e-6)


def test_the_batch_can_be_fixed() -> None:
    model = fix_batch(residual_net())
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1


def test_a_model_that_onnxruntime_refuses() -> None:
    model = residual_net()
    model.graph.node.append(helper.make_node("Relu", ["nowhere"], ["y"], name="lost"))
    with pytest.raises(CalibrationError, match="nowhere"):
        simplify(model)
