"""What slices of a model take on this machine: by arithmetic, or run one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx

from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.graphs.spans import extract_span
from cutpoint.calibration.search.measure import timed
from cutpoint.calibration.slices.export import SpanSlice, slice_span
from cutpoint.calibration.slices.halo import trace_halo
from cutpoint.calibration.slices.local import LocalPrefix
from cutpoint.calibration.slices.rows import Rows
from cutpoint.calibration.slices.search import Cutting
from cutpoint.codecs import Array, Codec
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.overlap import SliceCost, SlicedHead
from cutpoint.sdk.runtimes import Graph, Runtime
from cutpoint.sdk.sliced_head import cut_rows

__all__ = ["SliceCosts", "Timed", "Wire"]

Tensors = tuple[Array, ...]
Timed = Callable[[Callable[[Any], Any], Sequence[Any]], tuple[float, list[Any]]]


@dataclass(frozen=True, slots=True)
class Wire:
    """What crosses the link.

    Attributes:
        codec: of features; its id at a boundary is ``{boundary}-{codec}``.
        level: of that codec.
        picture: `CodecEntry.id` of the rows of the picture.
        picture_level: of that codec.
    """

    codec: str
    level: int
    picture: str
    picture_level: int


class SliceCosts:
    """Costs of slices, each found once.

    Args:
        graph: the fp32 model.
        prefix: of the graph.
        graphs: of a bundle with its boundaries and the codecs.
        runtime: runs spans and slices.
        samples: a few, tensors of boundary 0.
        timed: milliseconds of a call, and what it gives for several inputs.
    """

    def __init__(
        self,
        graph: ModelGraph,
        prefix: LocalPrefix,
        graphs: BundleGraphs,
        runtime: Runtime,
        samples: Sequence[Tensors],
        timed: Timed = timed,
    ) -> None:
        self._timed = timed
        self._graph = graph
        self._prefix = prefix
        self._graphs = graphs
        self._runtime = runtime
        self._samples = tuple(samples)
        self._boundaries = graphs.bundle.manifest.boundaries
        # Methods of one object: what they remember goes with it.
        self._halo: Callable[[int, Rows], tuple[int, int]] = cache(self._trace)
        self.piece: Callable[[int, Rows], SpanSlice] = cache(self._piece)
        self.head: Callable[[int, Rows | None], tuple[float, list[Tensors]]] = cache(self._head)
        self.tail_ms: Callable[[int], float] = cache(self._tail_ms)
        self._coded: Callable[[str, int, int, Rows | None], tuple[float, float, float]] = cache(self._code)

    def estimate(self, way: Cutting, wire: Wire) -> SlicedHead:
        """In proportion to multiply-accumulates, rows and bytes of the whole head."""
        end = self._boundaries[way.boundary]
        head_ms, _ = self.head(way.boundary, None)
        codec = self._coded(f"{way.boundary}-{wire.codec}", wire.level, way.boundary, None)
        picture = self._coded(wire.picture, wire.picture_level, 0, None)
        costs, above = [], 0
        for rows in way.slices:
            stop, macs = self._halo(way.boundary, rows)
            above, fresh = max(above, stop), max(0, stop - above)
            slice_ms = head_ms * macs / max(1, end.macs)
            costs.append(
                _cost(
                    slice_ms,
                    _share(codec, len(rows) / end.height),
                    _share(picture, fresh / self._boundaries[0].height),
                )
            )
        return SlicedHead(way.boundary, tuple(costs), self.tail_ms(way.boundary))

    def measure(self, way: Cutting, wire: Wire) -> SlicedHead:
        """Every slice run by itself."""
        costs, above = [], 0
        for rows in way.slices:
            first, (stop, _) = above, self._halo(way.boundary, rows)
            above, fresh = max(above, stop), max(0, stop - above)
            slice_ms, _ = self.head(way.boundary, rows)
            codec = self._coded(f"{way.boundary}-{wire.codec}", wire.level, way.boundary, rows)
            picture = 0.0, 0.0, 0.0
            if fresh:
                picture = self._coded(wire.picture, wire.picture_level, 0, Rows(first, first + fresh))
            costs.append(_cost(slice_ms, codec, picture))
        return SlicedHead(way.boundary, tuple(costs), self.tail_ms(way.boundary))

    def unsliced(self, boundary: int, wire: Wire) -> SlicedHead:
        """A cut as usual, or the whole picture at boundary 0."""
        name, level = (wire.picture, wire.picture_level) if boundary == 0 else (f"{boundary}-{wire.codec}", wire.level)
        encode_ms, nbytes, decode_ms = self._coded(name, level, boundary, None)
        head_ms = self.head(boundary, None)[0] if boundary else 0.0
        cost = SliceCost(head_ms + encode_ms, nbytes, decode_ms, float("inf"), 0.0, 0.0)
        return SlicedHead(boundary, (cost,), self.tail_ms(boundary))

    def _trace(self, boundary: int, rows: Rows) -> tuple[int, int]:
        """The row of the picture behind the last that a slice needs, and its multiply-accumulates."""
        starts = [spec.name for spec in self._graph.inputs]
        ends = [spec.name for spec in self._boundaries[boundary].tensors]
        halo = trace_halo(self._graph, self._prefix, starts, ends, rows)
        return max(halo.rows[name].stop for name in starts), halo.macs

    def _piece(self, boundary: int, rows: Rows) -> SpanSlice:
        return slice_span(self._graph, self._graph.inputs, self._boundaries[boundary].tensors, rows, self._prefix)

    def _head(self, boundary: int, rows: Rows | None) -> tuple[float, list[Tensors]]:
        """Milliseconds of a head, or of some rows of it, and what it gives for the samples."""
        if rows is None:
            end = self._boundaries[boundary].tensors
            span = extract_span(self._graph.model, self._graph.inputs, end, self._graph.batch)
            return self._timed(self._load(span).run, self._samples)
        piece = self.piece(boundary, rows)
        needs = [(part.start, part.stop) for part in piece.needs]
        axis = self._boundaries[0].row_axis
        return self._timed(self._load(piece.model).run, [cut_rows(sample, axis, needs) for sample in self._samples])

    def _tail_ms(self, boundary: int) -> float:
        start, end = self._boundaries[boundary].tensors, self._boundaries[-1].tensors
        span = extract_span(self._graph.model, start, end, self._graph.batch)
        return self._timed(self._load(span).run, self._crossings(boundary))[0]

    def _crossings(self, boundary: int) -> Sequence[Tensors]:
        return self.head(boundary, None)[1] if boundary else self._samples

    def _code(self, name: str, level: int, boundary: int, rows: Rows | None) -> tuple[float, float, float]:
        """Milliseconds of a codec's encoder, the bytes that it gives, milliseconds of its decoder."""
        crossings = self._crossings(boundary)
        codec: Codec
        if rows is None:
            codec = self._graphs.codec(name)
        else:
            codec = self._graphs.row_codec(name, len(rows))
            width = len(self._boundaries[boundary].tensors)
            axis, part = self._boundaries[boundary].row_axis, [(rows.start, rows.stop)] * width
            crossings = [cut_rows(crossing, axis, part) for crossing in crossings]
        encode_ms, payloads = self._timed(lambda tensors: codec.encode(tensors, level), crossings)
        decode_ms, _ = self._timed(lambda payload: codec.decode(payload, level), payloads)
        return encode_ms, float(np.mean([len(payload) for payload in payloads])), decode_ms

    def _load(self, model: onnx.ModelProto) -> Graph:
        return self._runtime.load(model.SerializeToString(), {})


def _share(cost: tuple[float, float, float], share: float) -> tuple[float, ...]:
    return tuple(part * share for part in cost)


def _cost(slice_ms: float, codec: Sequence[float], picture: Sequence[float]) -> SliceCost:
    """Of a slice, from milliseconds of its head, and (encoder, bytes, decoder) of its features and of its picture."""
    parts: dict[str, Any] = {
        "device_ms": slice_ms + codec[0],
        "nbytes": codec[1],
        "decode_ms": codec[2],
        "picture_ms": picture[0],
        "picture_bytes": picture[1],
        "server_ms": picture[2] + slice_ms,
    }
    return SliceCost(**parts)
