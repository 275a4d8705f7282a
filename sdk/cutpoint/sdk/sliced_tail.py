"""The server's share of a sliced point's head: its parts become rows of the boundary, and these its tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Point, Slice, Slicing
from cutpoint.sdk.bundle.slicing import fresh_rows
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.runtimes import Graph
from cutpoint.sdk.sliced_head import cut_rows

__all__ = ["SlicedTail"]


class SlicedTail:
    """Decodes, computes and joins slices. Blocking: call it from a worker thread.

    Args:
        graphs: of the server part.
    """

    def __init__(self, graphs: BundleGraphs) -> None:
        self._graphs = graphs
        self._boundaries = graphs.bundle.manifest.boundaries

    def _slices(self, point: Point) -> tuple[Slicing, tuple[Slice, ...]]:
        assert point.slicing is not None
        return point.slicing, self._graphs.bundle.slices_of(point)

    def strip(self, point: Point, number: int, payload: bytes) -> tuple[Array, ...]:
        """The rows of the picture in a part that goes as picture; there may be none.

        Raises:
            BitstreamError: if the payload is not an encoder's.
            GraphError, CodecError, BundleError: if the bundle's files do not work here.
        """
        slicing, slices = self._slices(point)
        first, stop = fresh_rows(slices[: number + 1])[number]
        assert slicing.picture_codec is not None, "the manifest was checked"
        if first == stop:
            boundary = self._boundaries[0]
            zeros = (np.zeros(spec.shape, spec.dtype) for spec in boundary.tensors)
            return cut_rows(tuple(zeros), boundary.row_axis, [(0, 0)] * len(boundary.tensors))
        return self._graphs.row_codec(slicing.picture_codec, stop - first).decode(payload, slicing.picture_level)

    def needed(self, point: Point, number: int, strips: Sequence[tuple[Array, ...]]) -> tuple[Array, ...]:
        """What the graph of a slice takes, out of the strips of the picture from the top down to this slice's."""
        _, slices = self._slices(point)
        return cut_rows(self._join(0, strips), self._boundaries[0].row_axis, slices[number].needs)

    def graph(self, point: Point, number: int) -> Graph:
        """The graph of a slice. Raises as `BundleGraphs.span`."""
        return self._graphs.slice(self._slices(point)[1][number])

    def rows(self, point: Point, number: int, payload: bytes) -> tuple[Array, ...]:
        """The rows of the boundary in a part that the device computed. Raises as `strip`."""
        first, stop = self._slices(point)[1][number].rows
        assert point.codec is not None, "the manifest was checked"
        return self._graphs.row_codec(point.codec, stop - first).decode(payload, point.level)

    def join(self, point: Point, rows: Sequence[tuple[Array, ...]]) -> tuple[Array, ...]:
        """The boundary's tensors, out of the rows of all slices."""
        return self._join(point.end, rows)

    def assemble(self, point: Point, payloads: Sequence[bytes]) -> tuple[Array, ...]:
        """The boundary's tensors, out of all parts of the payload, one after the other. Raises as `strip`."""
        assert point.slicing is not None
        rows: list[tuple[Array, ...]] = []
        strips: list[tuple[Array, ...]] = []
        for number, payload in enumerate(payloads):
            if number < point.slicing.pictures:
                strips.append(self.strip(point, number, payload))
                rows.append(self.graph(point, number).run(self.needed(point, number, strips)))
            else:
                rows.append(self.rows(point, number, payload))
        return self.join(point, rows)

    def max_parts(self, point: Point) -> tuple[int, ...]:
        """The most bytes of each part of the payload; none for a point that is not sliced. Raises as `strip`."""
        if point.slicing is None:
            return ()
        slicing, slices = self._slices(point)
        most = []
        for first, stop in fresh_rows(slices[: slicing.pictures]):
            assert slicing.picture_codec is not None, "the manifest was checked"
            codec = slicing.picture_codec
            most.append(self._graphs.row_codec(codec, stop - first).max_bytes() if first < stop else 0)
        for piece in slices[slicing.pictures :]:
            assert point.codec is not None, "the manifest was checked"
            most.append(self._graphs.row_codec(point.codec, piece.rows[1] - piece.rows[0]).max_bytes())
        return tuple(most)

    def _join(self, boundary: int, pieces: Sequence[tuple[Array, ...]]) -> tuple[Array, ...]:
        axis = self._boundaries[boundary].row_axis
        assert axis is not None, "the manifest was checked"
        return tuple(np.concatenate(column, axis) for column in zip(*pieces, strict=True))
