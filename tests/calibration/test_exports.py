from tests.support.networks import inspect, residual_net

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
