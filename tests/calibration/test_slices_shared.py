from __future__ import annotations

import pytest
from tests.support.networks import inspect, residual_net, token_net

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.exports import export_spans
from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.slices import Rows, trace_halo
from cutpoint.calibration.slices.local import find_local_prefix
from cutpoint.calibration.slices.shared import cut_slices, with_row_axes
from cutpoint.sdk.bundle import Boundary


def _boundaries(graph: ModelGraph, *names: str) -> list[Boundary]:
    tensors = [graph.inputs, *((graph.specs[name],) for name in names), graph.outputs]
    return [Boundary(index, tuple(specs)) for index, specs in enumerate(tensors)]


def test_every_span_of_the_local_prefix_is_cut_every_way() -> None:
    graph = inspect(residual_net())
    boundaries = _boundaries(graph, "r1", "r4", "m")
    slices = cut_slices(graph, boundaries, [1, 2, 3], [(1.0, 1.0), (1.0, 1.0, 1.0)])
    assert {(cut.start, cut.end) for cut in slices} == {(0, 1), (0, 2), (1, 2)}
    for span in ((0, 1), (0, 2), (1, 2)):
        rows = [cut.piece.rows for cut in slices if (cut.start, cut.end) == span]
        height = boundaries[span[1]].tensors[0].shape[2]
        assert [part.start for part in rows].count(0) == 2
        assert [part.stop for part in rows].count(height) == 2
        assert len(rows) == len(set(rows)) == 5
    axes = [boundary.row_axis for boundary in with_row_axes(graph, boundaries, slices)]
    assert axes == [2, 2, 2, None, None]


def test_the_faster_machine_gets_more_rows_and_equal_work_for_its_speed() -> None:
    graph = inspect(residual_net(side=64))
    boundaries = _boundaries(graph, "r4")
    first, second = cut_slices(graph, boundaries, [1], [(3.0, 1.0)])
    prefix = find_local_prefix(graph)

    def seconds(rows: Rows, speed: float) -> float:
        return trace_halo(graph, prefix, ["x"], ["r4"], rows).macs / speed

    longest = max(seconds(first.piece.rows, 3.0), seconds(second.piece.rows, 1.0))
    seam = first.piece.rows.stop
    for other in (seam - 1, seam + 1):
        assert longest <= max(seconds(Rows(0, other), 3.0), seconds(Rows(other, 32), 1.0))
    assert seam > 20


def test_more_slices_than_rows_are_left_out() -> None:
    graph = inspect(residual_net())
    slices = cut_slices(graph, _boundaries(graph, "r4"), [1], [(1.0,) * 9, (1.0, 1.0)])
    assert [cut.piece.rows for cut in slices] == [Rows(0, 4), Rows(4, 8)]


def test_a_model_without_a_local_prefix_is_refused_with_the_reason() -> None:
    graph = inspect(token_net())
    names = [graph.model.graph.node[2].output[0]]
    with pytest.raises(CalibrationError, match="no span of this model can be cut in slices"):
        cut_slices(graph, _boundaries(graph, *names), [1], [(1.0, 1.0)])


def test_slices_share_their_weights_with_the_spans() -> None:
    graph = inspect(residual_net())
    boundaries = _boundaries(graph, "r1", "r4")
    slices = cut_slices(graph, boundaries, [1, 2], [(1.0, 1.0)])
    without = export_spans(graph, {"fp32": graph.model}, boundaries)
    exported = export_spans(graph, {"fp32": graph.model}, boundaries, slices=slices)
    assert all(exported.files[path] == entry for path, entry in without.files.items())
    new = exported.files.keys() - without.files.keys()
    assert {piece.graphs[0].file for piece in exported.slices} == new
    assert all(exported.files[path][0] == "server" for path in new)
    assert {piece.key for piece in exported.slices} == {
        (cut.start, cut.end, "fp32", (cut.piece.rows.start, cut.piece.rows.stop)) for cut in slices
    }
