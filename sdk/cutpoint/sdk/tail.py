"""What the server computes: the decoder and the tail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter

import msgspec
import numpy as np

from cutpoint.codecs import Array, BitstreamError, CodecError, DeltaCodec, SymbolCodec, SymbolMemory
from cutpoint.sdk.bundle import Exit, Point, Slice
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.runtimes import Graph, Stop
from cutpoint.sdk.sliced_head import cut_rows
from cutpoint.sdk.sliced_tail import SlicedTail

__all__ = ["Tail", "TailOutput"]


class TailOutput(msgspec.Struct, frozen=True):
    """What came of a request on a server.

    Attributes:
        outputs: the model's, or the tensors of the boundary where a span in the middle ends.
        decode_ms: time in the decoder, of all that were decoded together.
        tail_ms: time in the tail or span.
        payload: the same tensors for a further server, where they go to one.
        encode_ms: time in the encoder for it.
        exit: place of the exit that answered among those that were allowed, from 1 on; 0: none did.
    """

    outputs: tuple[Array, ...]
    decode_ms: float
    tail_ms: float
    payload: bytes | None = None
    encode_ms: float = 0.0
    exit: int = 0


class _Chain:
    """A graph behind another one, as one."""

    def __init__(self, first: Graph, second: Graph) -> None:
        self.input_names, self.output_names = first.input_names, second.output_names
        self.batches = first.batches and second.batches
        self._first, self._second = first, second

    def run(self, inputs: Sequence[Array], stop: Stop | None = None) -> tuple[Array, ...]:
        return self._second.run(self._first.run(inputs, stop), stop)


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
            return codec.decode_frame(payload, point.level, memory)
        return codec.decode(payload, point.level)

    def decode_together(
        self, point: Point, frames: Sequence[tuple[bytes | memoryview, SymbolMemory]]
    ) -> tuple[tuple[Array, ...], dict[int, Exception]]:
        """`decode` for several payloads, each with its stream's memory: a graph runs once for all, where it can.

        Args:
            point: any of those with its codec and level.
            frames: payloads and memories, in the order of their arrival.

        Returns:
            The tensors of all that could be decoded, along the first dimension, in their order; none if there are none.
            And by the place of each of the others what is wrong with it.
        """
        codec = self._graphs.codec(point.codec) if point.codec is not None else None
        if len(frames) == 1 or not isinstance(codec, SymbolCodec) or not codec.parts.batches:
            decoded, failed = _each(partial(self.decode, point), frames)
            return _joined(decoded), failed
        failed = dict[int, Exception]()
        try:
            symbols = _symbols(codec, point.level, frames)
        except BitstreamError:
            alone, failed = _each(lambda *frame: _symbols(codec, point.level, [frame]), frames)
            symbols = _joined(alone)
        return codec.reconstruct(symbols, point.level) if symbols else (), failed

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

    def exit(self, point: Point, exit: Exit) -> Graph:
        """From the boundary where the decoder of `point` ends to the answer of an exit, loaded: outputs, confidence.

        Raises:
            BundleError, GraphError: as `BundleGraphs.exit`.
        """
        graph = self._graphs.exit(exit.id)
        if point.end == exit.boundary:
            return graph
        assert point.tail_precision is not None, "the manifest was checked"
        return _Chain(self._graphs.span(point.end, exit.boundary, point.tail_precision), graph)

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


def _each(
    step: Callable[[bytes | memoryview, SymbolMemory], tuple[Array, ...]],
    frames: Sequence[tuple[bytes | memoryview, SymbolMemory]],
) -> tuple[list[tuple[Array, ...]], dict[int, Exception]]:
    """What `step` makes of each frame, and by its place what it raises: that is for who sent it."""
    made, failed = [], dict[int, Exception]()
    for place, frame in enumerate(frames):
        try:
            made.append(step(*frame))
        except Exception as error:
            failed[place] = error
    return made, failed


def _joined(samples: Sequence[tuple[Array, ...]]) -> tuple[Array, ...]:
    """The tensors of several samples as a batch."""
    return samples[0] if len(samples) == 1 else tuple(map(np.concatenate, zip(*samples, strict=True)))


def _symbols(
    codec: SymbolCodec, level: int, frames: Sequence[tuple[bytes | memoryview, SymbolMemory]]
) -> tuple[Array, ...]:
    """The symbols of payloads, along the first dimension; those of streams are remembered."""
    if isinstance(codec, DeltaCodec):
        return codec.decode_frames(frames, level)
    return codec.decode_symbols([payload for payload, _ in frames], level)
