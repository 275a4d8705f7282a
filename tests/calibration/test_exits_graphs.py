import numpy as np
import onnx
import pytest
from tests.support.networks import inspect, residual_net, token_net

from cutpoint.calibration.exits.graphs import CONFIDENCE, pooled_head, shortened, with_confidence
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


@pytest.mark.parametrize("batch", [1, 4])
def test_the_confidence_is_the_greatest_probability_at_the_temperature(batch: int) -> None:
    long, spec = tail(residual_net(), "r3")
    x = normal(spec, batch)
    (plain,) = run(long, x)
    scores, confidence = run(with_confidence(long, 2.5, probable=False), x)
    np.testing.assert_array_equal(scores, plain)
    expected = np.exp(plain / 2.5)
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(confidence, expected.max(1), rtol=1e-5)
    assert confidence.shape == (batch,)


def test_scores_that_are_probabilities_are_taken_as_such() -> None:
    long, spec = tail(residual_net(), "r3")
    long.graph.node.append(onnx.helper.make_node("Softmax", ["scores"], ["p"], axis=1))
    long.graph.output[0].name = "p"
    x = normal(spec, 2)
    model = with_confidence(long, 1.0, probable=True)
    assert [value.name for value in model.graph.output] == ["p", CONFIDENCE]
    probabilities, confidence = run(model, x)
    np.testing.assert_allclose(confidence, probabilities.max(1), rtol=1e-5)
