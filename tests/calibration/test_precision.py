import numpy as np
import pytest
from tests.support.networks import SIDE, inspect, int8_model, residual_net, token_net

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.graph import run_model


def _samples(count: int = 8) -> list[tuple[np.ndarray, ...]]:  # type: ignore[type-arg]
    rng = np.random.default_rng(0)
    return [(rng.normal(size=(1, 3, SIDE, SIDE)).astype(np.float32),) for _ in range(count)]


@pytest.mark.parametrize("network", [residual_net, token_net])
def test_int8_stays_close(network) -> None:  # type: ignore[no-untyped-def]
    graph = inspect(network())
    advances: list[None] = []
    model = int8_model(graph, _samples(), lambda: advances.append(None))
    assert len(advances) == 8
    feeds = {"x": _samples()[0][0]}
    (wanted,), (given,) = run_model(graph.model, feeds), run_model(model, feeds)
    assert np.abs(given - wanted).max() < 0.1 * np.abs(wanted).max()


def test_convolutions_become_int8_per_channel() -> None:
    model = int8_model(inspect(residual_net()), _samples())
    scales = {value.name: value for value in model.graph.initializer if value.name.endswith("c2_w_scale")}
    assert [tuple(value.dims) for value in scales.values()] == [(8,)]


def test_attention_itself_stays_float() -> None:
    model = int8_model(inspect(token_net()), _samples())
    producers = {name: node for node in model.graph.node for name in node.output}
    by_name = {node.name: node for node in model.graph.node}
    (softmax,) = (node for node in model.graph.node if node.op_type == "Softmax")
    assert producers[softmax.input[0]].name == "node_qk"
    assert softmax.output[0] in by_name["node_mixed"].input
    assert producers[by_name["node_mlp"].input[0]].op_type == "DequantizeLinear"


def test_what_cannot_be_quantised_says_so() -> None:
    graph = inspect(residual_net())
    with pytest.raises(CalibrationError, match="--precisions fp32"):
        int8_model(graph, [(np.zeros((1, 3, 2), np.float32),)])
