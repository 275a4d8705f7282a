import numpy as np
import onnx
from tests.calibration.test_exits_graphs import normal, run, tail
from tests.support.networks import Network, residual_net

from cutpoint.calibration.exits.precision import quantise_exit, scores_of
from cutpoint.codecs import TensorSpec
from cutpoint.sdk.runtimes import create_runtime


def test_an_exit_in_int8_answers_much_the_same() -> None:
    head, spec = tail(residual_net(), "r3")
    samples = [(normal(spec) * scale,) for scale in np.linspace(0.5, 2, 40, dtype=np.float32)]
    runtime = create_runtime("onnx")
    scores = scores_of(head, samples, runtime)
    np.testing.assert_allclose(scores[7], run(head, samples[7][0])[0][0], rtol=1e-5)
    small, lost = quantise_exit(head, [spec], samples[1::2], samples, scores.argmax(1), runtime)
    assert "QuantizeLinear" in {node.op_type for node in small.graph.node}
    assert lost <= 0.1
    rounded = scores_of(small, samples, runtime)
    assert 0 < np.abs(rounded - scores).max() < 0.1 * np.ptp(scores)


def test_what_int8_costs_is_told() -> None:
    # The first value is large and means nothing; beside it, the 256 steps of int8 cannot tell the others apart.
    net = Network()
    net.add("Relu", ["x"], "positive")
    weight = np.vstack([np.zeros((1, 4)), np.eye(4)]).astype(np.float32)
    net.add("MatMul", ["positive", net.constant("identity", weight)], "scores")
    head: onnx.ModelProto = net.model((1, 5), ["scores"])
    rng = np.random.default_rng(0)
    samples = [(np.concatenate([[1e5], rng.uniform(0, 1, 4)])[np.newaxis].astype(np.float32),) for _ in range(60)]
    classes = np.array([sample[0][0, 1:].argmax() for sample in samples])
    start = [TensorSpec("x", (1, 5), "float32")]
    _, lost = quantise_exit(head, start, samples[:20], samples, classes, create_runtime("onnx"))
    assert lost > 0.3
