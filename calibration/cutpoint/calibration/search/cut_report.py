"""Every place where the model can be cut, and why it was chosen or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cutpoint.calibration.graphs.cuts import Cut, find_places
from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.report.data import CutReport
from cutpoint.sdk.bundle import Boundary

__all__ = ["prediction_error", "report_cuts"]


def report_cuts(
    graph: ModelGraph,
    candidates: Sequence[Cut],
    boundaries: Sequence[Boundary],
    prefixes: Sequence[float],
    measured: Mapping[int, float],
) -> tuple[CutReport, ...]:
    """Places in the order of the graph.

    Args:
        graph: the fp32 model.
        candidates: places that boundaries were chosen from.
        boundaries: of the bundle.
        prefixes: milliseconds of the first p nodes.
        measured: boundary → milliseconds of its fp32 head.
    """
    elements = sum(spec.size for spec in graph.inputs)
    kept = {frozenset(spec.name for spec in boundary.tensors): boundary for boundary in boundaries[1:-1]}
    found = {frozenset(cut.tensors) for cut in candidates}
    best = {cut.macs: cut for cut in candidates}
    reports = []
    for place in find_places(graph):
        tensors = tuple(graph.specs[name] for name in place.tensors)
        boundary = kept.get(frozenset(place.tensors))
        if boundary is not None:
            smaller = place.elements < elements
            reason = "chosen: smaller than the input" if smaller else "chosen: divides the computation"
        elif frozenset(place.tensors) in found:
            reason = "others save more or divide the computation better: see --cuts"
        elif (rival := best.get(place.macs)) is not None:
            reason = f"as much computation as {rival.label}, which is no larger"
        else:
            reason = "several tensors cross it, and there are places nearby that one crosses"
        reports.append(
            CutReport(
                label=place.label,
                tensors=tensors,
                macs=place.macs,
                bytes=sum(spec.nbytes for spec in tensors),
                predicted_ms=round(prefixes[place.position], 4),
                measured_ms=measured.get(boundary.index) if boundary is not None else None,
                natural_bottleneck=place.elements < elements,
                kept=boundary is not None,
                reason=reason,
            )
        )
    return tuple(reports)


def prediction_error(cuts: Sequence[CutReport]) -> float | None:
    """The mean of how far predicted head times are from measured ones, as a share of these; None: none was measured."""
    errors = [
        abs(cut.predicted_ms - cut.measured_ms) / cut.measured_ms
        for cut in cuts
        if cut.predicted_ms is not None and cut.measured_ms
    ]
    return sum(errors) / len(errors) if errors else None
