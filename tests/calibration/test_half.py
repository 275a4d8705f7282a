import numpy as np
import onnx
from onnx import numpy_helper
from tests.support.networks import SIDE, Network, inspect, residual_net

from cutpoint.calibration.graphs.graph import run_model
from cutpoint.calibration.graphs.half import halve_weights
from cutpoint.calibration.graphs.spans import extract_span
from cutpoint.calibration.graphs.weights import share_weights
from cutpoint.codecs import Array
from cutpoint.sdk.runtimes import create_runtime


def _picture() -> Array:
    return np.random.default_rng(0).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)


def _wide_net() -> onnx.ModelProto:
    net = Network()
    net.conv("x", "c1", 3, 64)
    net.conv("c1", "c2", 64, 64)
    return net.model((1, 3, SIDE, SIDE), ["c2"])


def test_half_the_size_and_nearly_the_same_answers() -> None:
    graph = inspect(_wide_net())
    half = halve_weights(graph.model)
    assert half.ByteSize() < 0.55 * graph.model.ByteSize()
    (wanted,), (given,) = run_model(graph.model, {"x": _picture()}), run_model(half, {"x": _picture()})
    assert 0 < np.abs(given - wanted).max() < 3e-3 * np.abs(wanted).max()


def test_the_original_is_left_alone() -> None:
    graph = inspect(_wide_net())
    before = graph.model.SerializeToString()
    halve_weights(graph.model)
    assert graph.model.SerializeToString() == before


def test_heads_are_cut_out_with_their_weights() -> None:
    graph = inspect(_wide_net())
    head = extract_span(halve_weights(graph.model), graph.inputs, [graph.specs["c1"]], graph.batch)
    shared = share_weights({"head": ("device", head)}, "weights")
    weights = {name: data for name, (_, data) in shared.weights.items()}
    assert sum(map(len, weights.values())) == 64 * 3 * 9 * 2
    (given,) = create_runtime("onnx").load(shared.graphs["head"], weights).run([_picture()])
    (wanted,) = run_model(graph.model, {"x": _picture()}, ["c1"])
    np.testing.assert_allclose(given, wanted, atol=5e-3)


def test_what_fp16_cannot_hold_stays() -> None:
    model = _wide_net()
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == "c1_w")
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1e6), "c1_w"))
    kinds = {tensor.name: tensor.data_type for tensor in halve_weights(model).graph.initializer}
    assert kinds == {"c1_w": onnx.TensorProto.FLOAT, "c2_w/fp16": onnx.TensorProto.FLOAT16}


def test_small_tensors_stay() -> None:
    names = {tensor.name for tensor in halve_weights(residual_net()).graph.initializer}
    assert {"bias", "c1_w"} <= names
