"""The slices by which servers share the spans of one request (docs/nodes.md)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import msgspec
import onnx

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.slices.export import SpanSlice, slice_span
from cutpoint.calibration.slices.halo import trace_halo
from cutpoint.calibration.slices.local import LocalPrefix, find_local_prefix
from cutpoint.calibration.slices.rows import Rows, balanced_rows
from cutpoint.sdk.bundle import Boundary, GraphFile, Slice

__all__ = ["CutSlice", "cut_slices", "with_row_axes"]


@dataclass(frozen=True)
class CutSlice:
    """A slice of the fp32 span between two boundaries.

    Attributes:
        start: index of the boundary.
        end: index of the boundary.
        piece: the slice.
    """

    start: int
    end: int
    piece: SpanSlice

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.start}-{self.end}.fp32.{self.piece.rows.start}-{self.piece.rows.stop}"

    @property
    def model(self) -> onnx.ModelProto:
        """Its graph."""
        return self.piece.model

    def entry(self, graph: GraphFile) -> Slice:
        """For the manifest."""
        rows, needs = self.piece.rows, self.piece.needs
        return Slice(
            self.start,
            self.end,
            "fp32",
            (rows.start, rows.stop),
            tuple((need.start, need.stop) for need in needs),
            (graph,),
        )


def cut_slices(
    graph: ModelGraph, boundaries: Sequence[Boundary], ends: Iterable[int], ways: Sequence[Sequence[float]]
) -> list[CutSlice]:
    """Slices of every span between the input, and boundaries of the local prefix, in every way.

    Slices are as high as makes them take equally long on machines of the speeds given, halo included.

    Args:
        graph: the fp32 model.
        boundaries: 0 … n.
        ends: indices of the boundaries to which spans are cut, and from which they go on.
        ways: the speeds of the machines for which a span is cut.

    Raises:
        CalibrationError: if none of the boundaries can be reached in slices.
    """
    prefix = find_local_prefix(graph)
    local = [index for index in sorted({0, *ends}) if _height(graph, prefix, boundaries[index])]
    if len(local) < 2 or local[0] != 0:
        reasons = "; ".join(prefix.obstacles.values()) or "its inputs have no rows"
        raise CalibrationError(f"no span of this model can be cut in slices for several servers: {reasons}")
    found: dict[tuple[int, int, Rows], CutSlice] = {}
    for place, start in enumerate(local):
        for end in local[place + 1 :]:
            first, last = boundaries[start].tensors, boundaries[end].tensors
            height = _height(graph, prefix, boundaries[end])
            names = tuple(spec.name for spec in first), tuple(spec.name for spec in last)
            macs = cache(partial(_macs, graph, prefix, *names))
            for speeds in ways:
                if len(speeds) > height:
                    continue
                for rows in balanced_rows(height, speeds, macs):
                    if (start, end, rows) not in found:
                        piece = slice_span(graph, first, last, rows, prefix)
                        found[start, end, rows] = CutSlice(start, end, piece)
    return list(found.values())


def with_row_axes(
    graph: ModelGraph, boundaries: Sequence[Boundary], slices: Iterable[CutSlice]
) -> tuple[Boundary, ...]:
    """The boundaries, of which those where slices begin or end say along which axis."""
    axes = find_local_prefix(graph).axes
    used = {index for cut in slices for index in (cut.start, cut.end)}
    return tuple(
        msgspec.structs.replace(boundary, row_axis=axes[boundary.tensors[0].name])
        if boundary.index in used
        else boundary
        for boundary in boundaries
    )


def _macs(graph: ModelGraph, prefix: LocalPrefix, start: Sequence[str], end: Sequence[str], rows: Rows) -> int:
    return trace_halo(graph, prefix, start, end, rows).macs


def _height(graph: ModelGraph, prefix: LocalPrefix, boundary: Boundary) -> int:
    """Rows of a boundary's tensors; 0 where they are not local, or not of one height along one axis."""
    names = [spec.name for spec in boundary.tensors]
    if not all(name in prefix.axes for name in names):
        return 0
    places = {(prefix.axes[name], prefix.height(graph, name)) for name in names}
    return places.pop()[1] if len(places) == 1 else 0
