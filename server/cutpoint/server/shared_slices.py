"""Slices of spans: the rows that servers send each other for them, and what their workers do about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from cutpoint.codecs import Array, CodecParts, RawCodec, TensorSpec
from cutpoint.sdk.bundle import Boundary, Bundle, RowRange
from cutpoint.sdk.runtimes import Graph, Stop
from cutpoint.sdk.tail import Tail

if TYPE_CHECKING:
    from cutpoint.server.tails import Encoded

__all__ = ["Decoding", "Same", "SliceRows", "SliceTable", "time_slices"]

#: Runs of each slice that tell how fast it is here; the fastest counts.
_TIMED = 2


@dataclass(frozen=True, slots=True)
class SliceRows:
    """What a slice needs, as a sample for a worker.

    Attributes:
        number: of the slice, its place in the manifest.
        codec: of what it takes.
        payload: the rows.
    """

    number: int
    codec: RawCodec
    payload: bytes

    @property
    def stop(self) -> int:
        """A slice stops where it ends."""
        return 0

    @property
    def tail(self) -> tuple[Literal["slice"], int]:
        return "slice", self.number

    def graph(self, tail: Tail) -> Graph:
        return tail.slice(self.number)

    def decode(self, tail: Tail) -> tuple[Array, ...]:
        return self.codec.decode(self.payload, 0)

    def encode(self, tail: Tail, outputs: tuple[Array, ...]) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Decoding:
    """A request of which nothing but its tensors are wanted, as a sample for a worker."""

    sample: Encoded

    @property
    def tail(self) -> tuple[Literal["decoder"], int]:
        return "decoder", self.sample.point.end

    def graph(self, tail: Tail) -> Graph:
        return Same()

    def decode(self, tail: Tail) -> tuple[Array, ...]:
        return self.sample.decode(tail)

    def encode(self, tail: Tail, outputs: tuple[Array, ...]) -> None:
        return None


class Same:
    """A graph that gives what it gets."""

    input_names: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()
    batches = True

    def run(self, inputs: Sequence[Array], stop: Stop | None = None) -> tuple[Array, ...]:
        return tuple(inputs)


class SliceTable:
    """The slices of a bundle by their number, which is their place in the manifest. Rows go as they are, exactly.

    Args:
        bundle: with or without slices.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.slices = bundle.manifest.slices
        self._boundaries = bundle.manifest.boundaries
        self._codecs = [_exact(_taken(self._boundaries[piece.start], piece.needs)) for piece in self.slices]

    def takes(self, number: int) -> int:
        """Bytes of the rows that a slice needs."""
        return self._codecs[number].max_bytes()

    def gives(self, number: int) -> int:
        """Bytes of its rows."""
        piece = self.slices[number]
        end = self._boundaries[piece.end]
        return sum(spec.nbytes for spec in _taken(end, [piece.rows] * len(end.tensors)))

    def sample(self, number: int, payload: bytes) -> SliceRows:
        """A slice as it was asked for by another server."""
        return SliceRows(number, self._codecs[number], payload)

    def cut(self, number: int, tensors: Sequence[Array]) -> SliceRows:
        """A slice of which the tensors of its start are here. Copying rows is too little work for a thread."""
        piece = self.slices[number]
        axis = _axis(self._boundaries[piece.start])
        rows = [_rows(tensor, axis, needs) for tensor, needs in zip(tensors, piece.needs, strict=True)]
        return SliceRows(number, self._codecs[number], self._codecs[number].encode(rows, 0))

    def join(self, parts: Mapping[int, Sequence[Array]]) -> tuple[Array, ...]:
        """The tensors of a boundary from what slices gave that together are all of its rows."""
        numbers = sorted(parts, key=lambda number: self.slices[number].rows)
        axis = _axis(self._boundaries[self.slices[numbers[0]].end])
        columns = zip(*(parts[number] for number in numbers), strict=True)
        return tuple(np.concatenate(column, axis) for column in columns)


def time_slices(bundle: Bundle, tail: Tail, graph_format: str, scale: float) -> dict[int, float]:
    """Loads the slices that are there for a runtime, and says by number what each would have taken in calibration.

    Args:
        bundle: with its server part.
        tail: of the bundle.
        graph_format: that the runtime reads.
        scale: how many times slower than in calibration tails are here.

    Raises:
        BundleError, GraphError: if one of them does not work here.
    """
    found = {}
    for number, piece in enumerate(bundle.manifest.slices):
        if not any(graph.format == graph_format and graph.file in bundle for graph in piece.graphs):
            continue
        specs = _taken(bundle.manifest.boundaries[piece.start], piece.needs)
        zeros = [np.zeros(spec.shape, spec.dtype) for spec in specs]
        graph = tail.slice(number)
        graph.run(zeros)
        times = []
        for _ in range(_TIMED):
            began = perf_counter()
            graph.run(zeros)
            times.append(perf_counter() - began)
        found[number] = min(times) / scale
    return found


def _exact(specs: Sequence[TensorSpec]) -> RawCodec:
    return RawCodec(CodecParts(source=tuple(specs), target=tuple(specs), levels=("exact",)))


def _axis(boundary: Boundary) -> int:
    assert boundary.row_axis is not None, "slices begin and end where there are rows"
    return boundary.row_axis


def _taken(boundary: Boundary, ranges: Sequence[RowRange]) -> list[TensorSpec]:
    """What some rows of a boundary's tensors look like."""
    axis = _axis(boundary)
    return [
        msgspec.structs.replace(spec, shape=(*spec.shape[:axis], stop - first, *spec.shape[axis + 1 :]))
        for spec, (first, stop) in zip(boundary.tensors, ranges, strict=True)
    ]


def _rows(tensor: Array, axis: int, rows: RowRange) -> Array:
    return tensor[(slice(None),) * axis + (slice(*rows),)]
