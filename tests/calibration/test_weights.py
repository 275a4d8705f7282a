import numpy as np
from tests.support.networks import SIDE, inspect, residual_net

from cutpoint.calibration.graphs.graph import run_model
from cutpoint.calibration.graphs.spans import extract_span
from cutpoint.calibration.graphs.weights import share_weights
from cutpoint.sdk.runtimes import create_runtime


def _shared():  # type: ignore[no-untyped-def]
    graph = inspect(residual_net())
    spans = {
        "head": ("device", extract_span(graph.model, graph.inputs, [graph.specs["r3"]], True)),
        "longer": ("device", extract_span(graph.model, graph.inputs, [graph.specs["r4"]], True)),
        "tail": ("server", extract_span(graph.model, [graph.specs["r3"]], graph.outputs, True)),
    }
    return graph, share_weights(spans, "w")  # type: ignore[arg-type]


def test_spans_run_from_shared_weights() -> None:
    graph, shared = _shared()
    value = np.random.default_rng(0).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)
    for name, tensor in (("head", "r3"), ("longer", "r4")):
        weights = {file: shared.weights[file][1] for file in shared.uses[name]}
        (given,) = create_runtime("onnx").load(shared.graphs[name], weights).run([value])
        np.testing.assert_allclose(given, run_model(graph.model, {"x": value}, [tensor])[0], rtol=1e-5, atol=1e-6)


def test_each_machine_gets_what_it_needs_once() -> None:
    _, shared = _shared()
    # c1 is under the limit for inlining; c2 and c3 are the heads' alone; c4 is in a head and in the tail.
    assert {name: part for name, (part, _) in shared.weights.items()} == {
        "w.device.bin": "device",
        "w.both.bin": "both",
    }
    assert shared.uses == {"head": ("w.device.bin",), "longer": ("w.both.bin", "w.device.bin"), "tail": ("w.both.bin",)}
    assert len(shared.weights["w.device.bin"][1]) < 2 * 4 * 8 * 8 * 9 + 128


def test_one_file_where_all_need_the_same() -> None:
    graph = inspect(residual_net())
    shared = share_weights({"whole": ("both", extract_span(graph.model, graph.inputs, graph.outputs, True))}, "w")
    assert list(shared.weights) == ["w.bin"]
    assert shared.weights["w.bin"][0] == "both"
