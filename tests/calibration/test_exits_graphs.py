import numpy as np
import onnx
import pytest
from tests.support.networks import SIDE, Network, inspect, residual_net, token_net

from cutpoint.calibration.exits.graphs import CONFIDENCE, pooled_early, pooled_head, shortened, with_confidence
from cutpoint.calibration.graphs.spans import extract_span
from cutpoint.codecs import Array, TensorSpec
from cutpoint.sdk.runtimes import create_runtime

SCORES = TensorSpec("scores", (1, 5), "float32")


def run(model: onnx.ModelProto, *tensors: Array) -> tuple[Array, ...]:
    return create_runtime("onnx").load(model.SerializeToString(), {}).run(tensors)


def tail(model: onnx.ModelProto, name: str) -> tuple[onnx.ModelProto, TensorSpec]:
    graph = inspect(model)
    return extract_span(graph.model, [graph.specs[name]], graph.outputs, graph.batch), graph.specs[name]


def normal(spec: TensorSpec, batch: int = 1) -> Array:
    return np.random.default_rng(0).normal(size=(batch, *spec.shape[1:])).astype(np.float32)


def test_residual_blocks_are_left_out_and_the_rest_stays() -> None:
    long, spec = tail(residual_net(), "r1")
    short = shortened(long)
    assert short is not None
    kept = "Relu Conv Relu GlobalAveragePool Flatten Gemm"
    assert [node.op_type for node in short.graph.node] == kept.split()
    assert {value.name for value in short.graph.initializer} == {"c4_w", "dense", "bias"}
    onnx.checker.check_model(short)
    # Where the block adds nothing, both are the same.
    silent = onnx.ModelProto()
    silent.CopyFrom(long)
    for value in silent.graph.initializer:
        if value.name == "c3_w":
            zeros = np.zeros_like(onnx.numpy_helper.to_array(value))
            value.CopyFrom(onnx.numpy_helper.from_array(zeros, value.name))
    x = normal(spec, 3)
    np.testing.assert_allclose(run(short, x)[0], run(silent, x)[0], rtol=1e-5, atol=1e-6)


def test_attention_is_a_residual_block() -> None:
    short = shortened(tail(token_net(), "tokens")[0])
    assert short is not None
    assert "Softmax" not in {node.op_type for node in short.graph.node}


def test_a_tail_without_such_blocks_is_not_shorter() -> None:
    assert shortened(tail(residual_net(), "r3")[0]) is None


@pytest.mark.parametrize("shape", [(1, 8, 4, 4), (1, 9, 6), (1, 12)])
@pytest.mark.parametrize("batch", [True, False])
def test_a_pooled_head_takes_maps_tokens_and_vectors(shape: tuple[int, ...], batch: bool) -> None:
    spec = TensorSpec("x", shape, "float32")
    head = pooled_head([spec, TensorSpec("y", (1, 3), "float32")], SCORES, 13, batch, seed=1)
    onnx.checker.check_model(head)
    count = 3 if batch else 1
    (scores,) = run(head, normal(spec, count), np.zeros((count, 3), np.float32))
    assert scores.shape == (count, 5)
    assert head == pooled_head([spec, TensorSpec("y", (1, 3), "float32")], SCORES, 13, batch, seed=1)
    assert head != pooled_head([spec, TensorSpec("y", (1, 3), "float32")], SCORES, 13, batch, seed=2)


def pointwise_net(activation: str | None) -> onnx.ModelProto:
    """conv relu | 1×1 conv, activation, 1×1 conv | mean, dense."""
    net = Network()
    net.add("Relu", [net.conv("x", "c1", 3, 8)], "r1")
    wide = net.conv("r1", "c2", 8, 24, kernel=1)
    if activation is not None:
        wide = net.add(activation, [wide], "a2")
    net.conv(wide, "c3", 24, 16, kernel=1)
    net.add("GlobalAveragePool", ["c3"], "m")
    net.add("Flatten", ["m"], "f")
    net.add("Gemm", ["f", net.weight("dense", 16, 5), net.constant("bias", np.zeros(5, np.float32))], "scores")
    return net.model((1, 3, SIDE, SIDE), ["scores"])


@pytest.mark.parametrize("activation", [None, "Relu"])
def test_the_mean_is_taken_before_pointwise_convolutions(activation: str | None) -> None:
    long, spec = tail(pointwise_net(activation), "r1")
    cheap = pooled_early(long)
    assert cheap is not None
    between = "Conv" if activation is None else "Conv Relu"
    assert [node.op_type for node in cheap.graph.node] == f"GlobalAveragePool {between} Conv Flatten Gemm".split()
    onnx.checker.check_model(cheap)
    x = normal(spec, 3)
    same = np.allclose(run(cheap, x)[0], run(long, x)[0], rtol=1e-4, atol=1e-5)
    assert same is (activation is None)
    # Where every place is alike it is the same in any case.
    flat = np.broadcast_to(x.mean((2, 3), keepdims=True), x.shape).astype(np.float32)
    np.testing.assert_allclose(run(cheap, flat)[0], run(long, flat)[0], rtol=1e-4, atol=1e-5)


def test_no_mean_is_taken_before_wider_convolutions() -> None:
    assert pooled_early(tail(residual_net(), "r1")[0]) is None
    assert pooled_early(tail(token_net(), "tokens")[0]) is None
    strided, _ = tail(pointwise_net(None), "r1")
    for node in strided.graph.node:
        if node.output[0] == "c3":
            del node.attribute[:]
            node.attribute.append(onnx.helper.make_attribute("strides", [2, 2]))
    assert pooled_early(strided) is None


@pytest.mark.parametrize("batch", [1, 4])
def test_the_confidence_is_the_probability_of_the_best_class_against_the_second(batch: int) -> None:
    long, spec = tail(residual_net(), "r3")
    x = normal(spec, batch)
    (plain,) = run(long, x)
    scores, confidence = run(with_confidence(long, 2.5, probable=False), x)
    np.testing.assert_array_equal(scores, plain)
    greatest = np.sort(plain / 2.5)
    np.testing.assert_allclose(confidence, 1 / (1 + np.exp(greatest[:, -2] - greatest[:, -1])), rtol=1e-5)
    assert confidence.shape == (batch,)


def test_scores_that_are_probabilities_are_taken_as_such() -> None:
    long, spec = tail(residual_net(), "r3")
    long.graph.node.append(onnx.helper.make_node("Softmax", ["scores"], ["p"], axis=1))
    long.graph.output[0].name = "p"
    x = normal(spec, 2)
    model = with_confidence(long, 1.0, probable=True)
    assert [value.name for value in model.graph.output] == ["p", CONFIDENCE]
    probabilities, confidence = run(model, x)
    greatest = np.sort(probabilities)
    np.testing.assert_allclose(confidence, greatest[:, -1] / greatest[:, -2:].sum(1), rtol=1e-5)
