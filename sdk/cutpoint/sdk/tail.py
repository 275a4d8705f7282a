"""What the server computes: the decoder and the tail."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from cutpoint.codecs import Array, CodecError, DeltaCodec, SymbolMemory
from cutpoint.sdk.bundle import Point, Slice
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.runtimes import Graph
from cutpoint.sdk.sliced_head import cut_rows
from cutpoint.sdk.sliced_tail import SlicedTail

__all__ = ["Tail", "TailOutput"]


@dataclass(frozen=True, slots=True)
class TailOutput:
    """What came of a request on a server.

    Attributes:
        outputs: the model's, or the tensors of the boundary where a span in the middle ends.
        decode_ms: time in the decoder.
        tail_ms: time in the tail or span.
        payload: the same tensors for a further server, where they go to one.
        encode_ms: time in the encoder for it.
    """

    outputs: tuple[Array, ...]
    decode_ms: float
    tail_ms: float
    payload: bytes | None = None
    encode_ms: float = 0.0


class Tail:
    """Runs the server's share of any point of a bundle. Blocking: call it from a worker thread.

    Args:
        graphs: of the server part.

    Attributes:
        slices: does what comes before the tail of a sliced point.
    """

    def __init__(self, graphs: BundleGraphs) -> None:
        self._graphs = graphs
        self._manifest = graphs.bundle.manifest
        self.slices = SlicedTail(graphs)

    def run(self, point: Point, payload: bytes | memoryview, memory: SymbolMemory | None = None) -> TailOutput:
        """The server's share of `point`.

        Args:
            point: any point of the bundle that is not local.
            payload: what the device's codec wrote.
            memory: earlier frames of the client's stream; this one is added to it.

        Raises:
            ReferenceLost: if the payload refers to a frame that the memory does not hold.
            BitstreamError: if the payload is not an encoder's.
            CodecError: if the point is local.
            GraphError, BundleError: if the bundle's files do not work here.
        """
        started = perf_counter()
        tensors = self.decode(point, payload, memory)
        decoded = perf_counter()
        outputs = self.graph(point).run(tensors)
        done = perf_counter()
        return TailOutput(outputs, (decoded - started) * 1e3, (done - decoded) * 1e3)

    def decode(
        self, point: Point, payload: bytes | memoryview, memory: SymbolMemory | None = None
    ) -> tuple[Array, ...]:
        """The first half of `run`: the tensors of boundary `point.end`. Arguments and exceptions as there."""
        if point.codec is None:
            raise CodecError(f"point {point.id!r} is computed on the device alone")
        codec = self._graphs.codec(point.codec)
        if memory is not None and isinstance(codec, DeltaCodec):
            tensors, symbols = codec.decode_frame(payload, point.level, memory)
            memory.remember(symbols)
            return tensors
        return codec.decode(payload, point.level)

    def graph(self, point: Point) -> Graph:
        """The second half of `run`: the tail of `point`, loaded. Raises as `run`."""
        if point.tail_precision is None:
            raise CodecError(f"point {point.id!r} is computed on the device alone")
        return self.span(point.end, point.tail_precision)

    def span(self, boundary: int, precision: str, stop: int = 0) -> Graph:
        """The span that begins at a boundary, loaded: the tail, or where `stop` is not 0 what lies before it.

        Raises:
            BundleError, GraphError: as `BundleGraphs.span`.
        """
        return self._graphs.span(boundary, stop or self._manifest.last, precision)

    def slice(self, number: int) -> Graph:
        """A slice of the bundle by its place in the manifest, loaded. Raises as `span`."""
        return self._graphs.slice(self._manifest.slices[number])

    def encode(self, point: Point, tensors: tuple[Array, ...]) -> bytes:
        """The tensors of boundary `point.start` as a further server takes them.

        Raises:
            CodecError: if they are not that boundary's, or the encoder is not here.
            GraphError, BundleError: if the bundle's files do not work here.
        """
        if point.codec is None:
            raise CodecError(f"point {point.id!r} sends nothing")
        return self._graphs.codec(point.codec).encode(tensors, point.level)

    def warm_up(self, points: tuple[Point, ...]) -> None:
        """Loads every tail, slice and codec that `points` need, and runs each tail and slice once on zeros."""
        for end, precision in sorted({(p.end, p.tail_precision) for p in points if p.tail_precision is not None}):
            zeros = tuple(np.zeros(spec.shape, spec.dtype) for spec in self._manifest.boundaries[end].tensors)
            self._graphs.span(end, self._manifest.last, precision).run(zeros)
        for piece in {piece.key: piece for p in points for piece in self._pictured(p)}.values():
            boundary = self._manifest.boundaries[piece.start]
            all_rows = [np.zeros(spec.shape, spec.dtype) for spec in boundary.tensors]
            self._graphs.slice(piece).run(cut_rows(all_rows, boundary.row_axis, piece.needs))
        for codec in {p.codec for p in points if p.codec is not None}:
            self._graphs.codec(codec)

    def _pictured(self, point: Point) -> tuple[Slice, ...]:
        pictures = point.slicing.pictures if point.slicing is not None else 0
        return self._graphs.bundle.slices_of(point)[:pictures]

    def max_payload(self, point: Point) -> int:
        """The most bytes that a payload of `point` can have."""
        return self._graphs.codec(point.codec).max_bytes() if point.codec is not None else 0
