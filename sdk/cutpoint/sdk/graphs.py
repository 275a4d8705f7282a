"""The graphs and codecs of a bundle, loaded when first used."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from cutpoint.codecs import Array, Codec, CodecParts, Transform, create_codec
from cutpoint.sdk.bundle import Bundle, GraphFile, Point, RowRange, Slice
from cutpoint.sdk.errors import BundleError
from cutpoint.sdk.runtimes import Graph, Runtime

__all__ = ["BundleGraphs"]


class BundleGraphs:
    """Spans and codecs of a bundle on the runtimes of this machine. Safe from several threads.

    Args:
        bundle: the bundle, or the part of it for this machine.
        runtimes: best first; each graph runs on the first that can read one of its files.
    """

    def __init__(self, bundle: Bundle, runtimes: Sequence[Runtime]) -> None:
        self.bundle = bundle
        self._runtimes = tuple(runtimes)
        self._spans: dict[tuple[int, int, str], Graph] = {}
        self._exits: dict[str, Graph] = {}
        self._slices: dict[tuple[int, int, str, RowRange], Graph] = {}
        self._codecs: dict[str, Codec] = {}
        self._row_codecs: dict[tuple[str, int], Codec] = {}
        self._lock = threading.RLock()

    def span(self, start: int, end: int, precision: str) -> Graph:
        """The graph of a span.

        Raises:
            BundleError: if the bundle does not hold it in a format that a runtime here reads.
            GraphError: if the runtime refuses it.
        """
        key = start, end, precision
        with self._lock:
            graph = self._spans.get(key)
            if graph is None:
                files = self.bundle.span(*key).graphs
                graph = self._spans[key] = self._load(files, f"span {start}-{end}.{precision}")
            return graph

    def slice(self, piece: Slice) -> Graph:
        """The graph of a slice. Raises as `span`."""
        with self._lock:
            graph = self._slices.get(piece.key)
            if graph is None:
                graph = self._slices[piece.key] = self._load(piece.graphs, piece.name)
            return graph

    def exit(self, exit_id: str) -> Graph:
        """The graph of an exit. Raises as `span`."""
        with self._lock:
            graph = self._exits.get(exit_id)
            if graph is None:
                files = self.bundle.exit(exit_id).graphs
                graph = self._exits[exit_id] = self._load(files, f"exit {exit_id}")
            return graph

    def codec(self, codec_id: str) -> Codec:
        """A codec of the bundle, with as many of its halves as this machine has the files for.

        Raises:
            BundleError, GraphError: as `span`.
            CodecError: if it cannot be built.
        """
        with self._lock:
            codec = self._codecs.get(codec_id)
            if codec is None:
                codec = self._codecs[codec_id] = self._create_codec(codec_id, ("onnx", "tflite"))
            return codec

    def _create_codec(self, codec_id: str, formats: Sequence[str]) -> Codec:
        entry = self.bundle.codec(codec_id)
        boundaries = self.bundle.manifest.boundaries
        encoder, decoder = (
            [file for file in half if file.format in formats] for half in (entry.encoder, entry.decoder)
        )
        synthesis = self._half(decoder, f"decoder of codec {codec_id}")
        parts = CodecParts(
            source=boundaries[entry.start].tensors,
            target=boundaries[entry.end].tensors,
            levels=entry.levels,
            symbols=entry.symbols,
            config=entry.config,
            tables=self.bundle.read(entry.tables) if entry.tables else b"",
            analysis=_transform(self._half(encoder, f"encoder of codec {codec_id}")),
            synthesis=_transform(synthesis),
            batches=synthesis is not None and synthesis.batches,
        )
        return create_codec(entry.codec, parts)

    def row_codec(self, codec_id: str, count: int) -> Codec:
        """A codec for `count` rows of its boundary. Raises as `codec`, and `CodecError` if it cannot code slices."""
        with self._lock:
            codec = self._row_codecs.get((codec_id, count))
            if codec is None:
                axis = self.bundle.manifest.boundaries[self.bundle.codec(codec_id).start].row_axis
                assert axis is not None, "the manifest was checked"
                whole = self._row_codecs.get((codec_id, 0))
                if whole is None:
                    # Files of other formats are for one shape.
                    whole = self._row_codecs[codec_id, 0] = self._create_codec(codec_id, ("onnx",))
                codec = self._row_codecs[codec_id, count] = whole.for_rows(axis, count)
            return codec

    def supports(self, point: Point) -> bool:
        """Whether the device's share of `point` can run here: its files are there, in formats that a runtime reads."""
        formats = {runtime.format for runtime in self._runtimes}

        def readable(files: Sequence[GraphFile]) -> bool:
            return any(file.format in formats and file.file in self.bundle for file in files)

        if point.exit is not None and not readable(self.bundle.exit(point.exit).graphs):
            return False
        steps = self.bundle.steps(point)
        if not all(readable(self.bundle.span(start, end, point.precision or "").graphs) for start, end in steps):
            return False
        if point.slicing is not None and not all(
            readable(piece.graphs) for piece in self.bundle.slices_of(point)[point.slicing.pictures :]
        ):
            return False
        encoder = self.bundle.codec(point.codec).encoder if point.codec is not None else ()
        if point.slicing is not None:
            return not encoder or readable([file for file in encoder if file.format == "onnx"])
        return not encoder or readable(encoder)

    def _half(self, files: Sequence[GraphFile], what: str) -> Graph | None:
        here = [file for file in files if file.file in self.bundle]
        return self._load(here, what) if here else None

    def _load(self, files: Sequence[GraphFile], what: str) -> Graph:
        for runtime in self._runtimes:
            for file in files:
                if file.format == runtime.format and file.file in self.bundle:
                    # ONNX graphs name their weights relative to their own folder; .tflite graphs go by the order.
                    weights = {path.rsplit("/", 1)[-1]: self.bundle.read(path) for path in file.weights}
                    return runtime.load(self.bundle.read(file.file), weights)
        have = ", ".join(sorted({file.format for file in files}))
        want = ", ".join(runtime.name for runtime in self._runtimes)
        raise BundleError(f"{self.bundle.origin}: {what} is there for {have}, which {want} cannot read")


def _transform(graph: Graph | None) -> Transform | None:
    """A half of a codec as the codec calls it."""
    if graph is None:
        return None

    def transform(tensors: Sequence[Array], level: int) -> tuple[Array, ...]:
        takes_level = len(graph.input_names) > len(tensors)  # LiteRT files have names of their own.
        return graph.run([*tensors, np.array(level, dtype=np.int64)] if takes_level else tensors)

    return transform
