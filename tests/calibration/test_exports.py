import numpy as np
from tests.support.networks import inspect, residual_net
from tests.support.tflite import adding_net

from cutpoint.calibration.graphs.exports import export_spans
from cutpoint.calibration.graphs.half import halve_weights
from cutpoint.sdk.bundle import Boundary


def _boundaries(graph) -> list[Boundary]:  # type: ignore[no-untyped-def]
    tensors = [graph.inputs, (graph.specs["r1"],), (graph.specs["r3"],), (graph.specs["r4"],), graph.outputs]
    return [Boundary(index, tuple(specs)) for index, specs in enumerate(tensors)]


def test_a_head_is_the_same_file_whatever_else_is_there() -> None:
    graph = inspect(residual_net())
    variants = {"fp32": graph.model, "fp16": halve_weights(graph.model)}
    boundaries = _boundaries(graph)
    everything = export_spans(graph, variants, boundaries)
    wanted = {(0, 2, "fp32"), (0, 4, "fp32"), (2, 4, "fp32"), (0, 3, "fp16"), (0, 4, "fp16")}
    some = export_spans(graph, variants, boundaries, frozenset(wanted))
    assert {span.key for span in some.spans} == wanted
    assert all(everything.files[path] == entry for path, entry in some.files.items())


def test_every_span_at_every_precision() -> None:
    graph = inspect(residual_net())
    spans = export_spans(graph, {"fp32": graph.model, "fp16": halve_weights(graph.model)}, _boundaries(graph)).spans
    heads = {(0, end, precision) for end in range(1, 5) for precision in ("fp32", "fp16")}
    assert {span.key for span in spans} == heads | {(start, 4, "fp32") for start in range(1, 4)}


def test_heads_for_litert_share_weights_within_a_precision() -> None:
    graph = inspect(residual_net())
    variants = {"fp32": graph.model, "fp16": halve_weights(graph.model)}

    def convert(end: Boundary, precision: str) -> bytes | None:
        if end.index == 3:
            return None
        kind = {"fp32": 1.0, "fp16": 0.5}[precision]
        return adding_net([np.full((1, 300), kind + number, np.float32) for number in range(end.index)])

    everything = export_spans(graph, variants, _boundaries(graph), convert=convert)
    files = {span.key: {file.format: file for file in span.graphs} for span in everything.spans}
    for precision in ("fp32", "fp16"):
        weights = [f"spans/0-{end}.{precision}.tflite.bin" for end in (1, 2, 4)]
        for number, end in enumerate((1, 2, 4)):
            head = files[0, end, precision]["tflite"]
            assert (head.file, head.weights) == (f"spans/0-{end}.{precision}.tflite", tuple(weights[: number + 1]))
            assert all(everything.files[path][0] == "device" for path in head.paths())
    assert [key for key, formats in files.items() if "tflite" not in formats] == [
        (0, 3, "fp16"),
        (0, 3, "fp32"),
        *((start, 4, "fp32") for start in (1, 2, 3)),
    ]
    some = export_spans(
        graph, variants, _boundaries(graph), frozenset({(0, 2, "fp32"), (0, 4, "fp32")}), convert=convert
    )
    for path in ("spans/0-2.fp32.tflite", "spans/0-4.fp32.tflite"):
        assert some.files[path] == everything.files[path]
