from pathlib import Path

import numpy as np
import pytest
from tests.support.networks import SIDE, Network, inspect, net_with_one_bad_layer, residual_net

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.fallback import moved
from cutpoint.calibration.graphs.graph import ModelGraph, run_model
from cutpoint.calibration.graphs.litert import convert_head, convert_span
from cutpoint.calibration.graphs.litert_weights import LitertQuantiser, choose_floats, halve_tflite
from cutpoint.calibration.graphs.prepare import prepare_graph
from cutpoint.calibration.graphs.spans import extract_span
from cutpoint.calibration.importers import import_model
from cutpoint.calibration.progress import SilentReporter
from cutpoint.codecs import Array
from cutpoint.sdk.runtimes import create_runtime

for package in ("litert_torch", "onnx2torch", "ai_edge_litert", "ai_edge_quantizer"):
    pytest.importorskip(package)


def _samples(count: int = 8) -> list[tuple[Array, ...]]:
    rng = np.random.default_rng(0)
    return [(rng.normal(size=(1, 3, SIDE, SIDE)).astype(np.float32),) for _ in range(count)]


def _answers(tflite: bytes) -> list[tuple[Array, ...]]:
    session = create_runtime("litert").load(tflite, {})
    return [session.run(sample) for sample in _samples()]


def _apart(graph: ModelGraph, tflite: bytes) -> float:
    return moved([run_model(graph.model, {"x": sample}) for (sample,) in _samples()], _answers(tflite))


def _types(tflite: bytes) -> dict[str, set[int]]:
    """Operator → the element types of its outputs, by the numbers of the schema: 0 is float32, 9 is int8."""
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(tflite))
    found: dict[str, set[int]] = {}
    for operator in model.subgraphs[0].operators:
        kind = flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex)
        found.setdefault(kind, set()).update(model.subgraphs[0].tensors[n].type for n in operator.outputs)
    return found


def test_int8_in_the_middle_floats_at_the_ends() -> None:
    graph = inspect(residual_net(batch=False))
    whole = convert_span(graph.model)
    made = LitertQuantiser(whole, _samples())()
    assert _apart(graph, made) < 0.02
    assert _types(made)["CONV_2D"] == {9}
    ((answer,), *_) = _answers(made)
    assert answer.dtype == np.float32
    assert len(made) < len(whole)


def test_layers_have_one_name_in_every_head() -> None:
    graph = inspect(residual_net(batch=False))
    head = extract_span(graph.model, graph.inputs, [graph.specs["r3"]], graph.batch)
    whole, part = (LitertQuantiser(convert_span(span), _samples()) for span in (graph.model, head))
    names = [layer.name for layer in whole.layers]
    assert len(names) == len(set(names)) == 5
    assert [layer.name for layer in part.layers] == names[:3]
    for floats in ([], names[1:2], names[:3]):
        assert _types(part(floats))["CONV_2D"] == ({9} if not floats else {0} if len(floats) == 3 else {0, 9})


def test_what_no_product_follows_stays_in_floats() -> None:
    net = Network()
    net.add("Relu", [net.conv("x", "c1", 3, 8)], "r1")
    net.add("Concat", [net.conv("r1", "boxes", 8, 4), net.conv("r1", "scores", 8, 2)], "out", axis=1)
    graph = inspect(net.model((1, 3, SIDE, SIDE), ["out"], batch=False))
    types = _types(LitertQuantiser(convert_span(graph.model), _samples())())
    assert types["CONV_2D"] == {9}
    assert types["CONCATENATION"] == {0}


ATTENTION = """
import torch
from torch import nn

class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.patches, self.qkv, self.out = nn.Conv2d(3, 12, 4, 4), nn.Linear(12, 36), nn.Linear(12, 5)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(tokens).chunk(3, dim=-1)
        return self.out(torch.softmax(q @ k.transpose(1, 2), dim=-1) @ v).mean(1)
"""


def test_of_attention_only_products_with_weights_become_int8(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(ATTENTION)
    imported = import_model(f"{tmp_path}/net.py:Attention", (1, 3, SIDE, SIDE))
    graph, names = prepare_graph(imported, None)
    whole = convert_head(graph.model, imported.program, [spec.name for spec in graph.outputs], None)
    made = LitertQuantiser(whole, _samples())()
    types = _types(made)
    assert types["SOFTMAX"] == types["BATCH_MATMUL"] == {0}
    assert 9 in types["FULLY_CONNECTED"]
    wanted = [run_model(graph.model, {names[0]: sample}) for (sample,) in _samples()]
    assert moved(wanted, _answers(made)) < 0.05


def test_what_int8_harms_stays_in_floats() -> None:
    graph = net_with_one_bad_layer()
    whole = convert_span(graph.model)
    quantiser = LitertQuantiser(whole, _samples())
    assert _apart(graph, quantiser()) > 0.1

    def enough(tflite: bytes) -> bool:
        return _apart(graph, tflite) < 0.02

    floats = choose_floats(quantiser, whole, _samples(), enough, SilentReporter())
    assert 1 <= len(floats) <= 2
    assert enough(quantiser(floats))
    assert choose_floats(quantiser, whole, _samples(), lambda _: True, SilentReporter()) == ()
    assert choose_floats(quantiser, whole, _samples(), lambda _: False, SilentReporter()) == ()


def test_half_the_size() -> None:
    net = Network()
    net.conv("x", "a", 3, 64)
    net.conv("a", "out", 64, 64)
    graph = inspect(net.model((1, 3, SIDE, SIDE), ["out"], batch=False))
    whole = convert_span(graph.model)
    half = halve_tflite(whole)
    assert len(half) < 0.6 * len(whole)
    assert _apart(graph, half) < 1e-5


def test_a_file_that_is_none_is_refused() -> None:
    with pytest.raises(CalibrationError, match="cannot become fp16"):
        halve_tflite(b"nothing")
