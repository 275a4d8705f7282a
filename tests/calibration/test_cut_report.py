import pytest
from tests.support.networks import inspect, two_scale_net

from cutpoint.calibration.graphs.cuts import find_cuts, find_places
from cutpoint.calibration.search.cut_report import prediction_error, report_cuts
from cutpoint.sdk.bundle import Boundary


def test_every_place_has_a_reason() -> None:
    graph = inspect(two_scale_net())
    first = find_cuts(graph)[0]
    boundaries = (
        Boundary(0, graph.inputs),
        Boundary(1, tuple(graph.specs[name] for name in first.tensors), first.label, first.macs),
        Boundary(2, graph.outputs),
    )
    prefixes = [float(position) for position in range(len(graph.model.graph.node) + 1)]
    reports = report_cuts(graph, find_cuts(graph), boundaries, prefixes, {1: 2.0})
    assert [report.label for report in reports] == [place.label for place in find_places(graph)]
    assert all(report.reason for report in reports)
    (kept,) = (report for report in reports if report.kept)
    assert (kept.label, kept.measured_ms, kept.predicted_ms) == (first.label, 2.0, float(first.position))
    elements = sum(spec.size for spec in graph.inputs)
    assert all(r.natural_bottleneck == (r.bytes < 4 * elements) for r in reports)
    assert prediction_error(reports) == pytest.approx(abs(first.position - 2.0) / 2.0)
    assert prediction_error([]) is None
