"""The rows of every tensor of a span that some rows of its end depend on, and what computing them costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.slices.local import LocalPrefix
from cutpoint.calibration.slices.rows import Rows, hull

__all__ = ["Halo", "node_needs", "trace_halo"]


@dataclass(frozen=True)
class Halo:
    """What some rows of a span's end take.

    Attributes:
        rows: tensor of the span → its rows that are needed, for one consumer or another.
        macs: multiply-accumulates, batch 1.
    """

    rows: Mapping[str, Rows]
    macs: int


def trace_halo(graph: ModelGraph, prefix: LocalPrefix, start: Sequence[str], end: Sequence[str], rows: Rows) -> Halo:
    """Walks back from `rows` of every tensor of `end` to `start`.

    Args:
        graph: the whole model.
        prefix: of the graph.
        start: tensors that are there.
        end: tensors of one height.
        rows: of `end`, at least one.

    Raises:
        CalibrationError: if the span is not local, or its end has tensors of several heights or not as many rows.
    """
    _check(graph, prefix, start, end, rows)
    needed = dict.fromkeys(end, rows)
    macs = 0
    for node, whole in zip(reversed(graph.model.graph.node), reversed(graph.macs), strict=True):
        asked = [needed[name] for name in node.output if name in needed]
        if not asked or node.output[0] in start:
            continue
        part = hull(asked)
        needed |= {name: part for name in node.output if name}
        height = prefix.height(graph, node.output[0])
        macs += whole * len(prefix.windows[node.output[0]].gives(part)) // height
        for name in node.input:
            if name in prefix.axes:
                needs = node_needs(graph, prefix, node, name, part)
                needed[name] = hull((needs, needed.get(name, needs)))
    for name in start:
        if name not in needed:
            raise CalibrationError(f"{name!r} crosses the cut, but nothing behind it needs it")
    return Halo(needed, macs)


def node_needs(graph: ModelGraph, prefix: LocalPrefix, node: onnx.NodeProto, source: str, rows: Rows) -> Rows:
    """The rows of its input `source` that `node` needs for `rows` of its output."""
    return prefix.windows[node.output[0]].needs(rows).within(prefix.height(graph, source))


def _check(graph: ModelGraph, prefix: LocalPrefix, start: Sequence[str], end: Sequence[str], rows: Rows) -> None:
    for name in (*start, *end):
        if name not in prefix.axes:
            reasons = "; ".join(prefix.obstacles.values()) or "the model's inputs have no rows"
            raise CalibrationError(f"{name!r} cannot be computed in slices: {reasons}; cut before that")
    heights = {prefix.height(graph, name) for name in end}
    if len(heights) > 1:
        raise CalibrationError(f"tensors of {sorted(heights)} rows cross the cut: slices need one height")
    (height,) = heights
    if not 0 <= rows.start < rows.stop <= height:
        raise CalibrationError(f"rows {rows.start} to {rows.stop} of a tensor that has {height}")
