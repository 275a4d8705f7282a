"""Codecs of a bundle, without those that take training: fitted to calibration data at every boundary."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cached_property, partial

import msgspec
import numpy as np

from cutpoint.calibration.codecs.entries import FittedCodec, fit_affine, picture_codec, raw_codec
from cutpoint.calibration.codecs.klt import fit_klt
from cutpoint.calibration.codecs.sensitivity import SAMPLES, Divergence
from cutpoint.calibration.codecs.streams import for_streams, neighbour
from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.exports import ExportedSpans
from cutpoint.calibration.graphs.graph import ModelGraph, check_finite, run_model
from cutpoint.calibration.progress import Reporter
from cutpoint.calibration.settings import Settings
from cutpoint.calibration.work import WorkFolder, digest
from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Boundary
from cutpoint.sdk.runtimes import Graph, create_runtime

__all__ = ["convert_codecs", "fit_codecs"]


def fit_codecs(
    settings: Settings,
    boundaries: Sequence[Boundary],
    exported: ExportedSpans,
    samples: Sequence[Sequence[Array]],
    pictures: bool,
    work: WorkFolder,
    key: str,
    reporter: Reporter,
) -> list[FittedCodec]:
    """The codecs that were asked for and take no training.

    Args:
        settings: of the calibration.
        boundaries: of the bundle.
        exported: its spans.
        samples: tensors of boundary 0.
        pictures: whether those are pictures.
        work: for finished codecs.
        key: of model and samples.
        reporter: hears what is done.
    """
    fitted = []
    inner = boundaries[:-1]
    with reporter.stage("fitting codecs", len(inner)) as advance:
        for boundary in inner:
            if "raw" in settings.codecs:
                fitted.append(raw_codec(boundary))
            if boundary.index == 0 and pictures:
                fitted += [picture_codec(boundary, codec) for codec in ("jpeg", "webp") if codec in settings.codecs]
            if boundary.index > 0:
                streams = settings.streams and pictures
                made = _Crossing(boundary, boundaries[-1], exported, samples, streams, work, key)
                fitted += [fit() for codec, fit in made.fits.items() if codec in settings.codecs]
            advance()
    return fitted


def convert_codecs(
    codecs: Sequence[FittedCodec],
    boundaries: Sequence[Boundary],
    graph: ModelGraph,
    sample: Sequence[Array],
    work: WorkFolder,
    reporter: Reporter,
) -> list[FittedCodec]:
    """The codecs, their encoders as `.tflite` files too where that can be; what cannot is noted.

    Args:
        codecs: of the bundle.
        boundaries: of the bundle.
        graph: the fp32 model.
        sample: tensors of boundary 0, on which both files must do the same.
        work: for finished files.
        reporter: hears what is done.
    """
    from cutpoint.calibration.codecs.litert import add_tflite

    made = []
    with reporter.stage("converting codecs", len(codecs)) as advance:
        for codec in codecs:
            tensors = boundaries[codec.entry.start].tensors
            feeds = dict(zip((spec.name for spec in graph.inputs), sample, strict=True))
            crossing = run_model(graph.model, feeds, [spec.name for spec in tensors]) if codec.entry.encoder else []
            try:
                made.append(add_tflite(codec, crossing, work))
            except CalibrationError as error:
                reporter.note(f"codec {codec.entry.id} is there for onnx only: {error}")
                made.append(codec)
            advance()
    return made


class _Crossing:
    """Fits codecs to the calibration data as it crosses one boundary.

    Attributes:
        fits: codec id → makes the codec, or takes it from the work folder.
    """

    def __init__(
        self,
        boundary: Boundary,
        end: Boundary,
        exported: ExportedSpans,
        samples: Sequence[Sequence[Array]],
        streams: bool,
        work: WorkFolder,
        key: str,
    ) -> None:
        self._boundary = boundary
        self._end = end
        self._exported = exported
        self._samples = samples
        self._streams = streams
        self._work = work
        self._key = digest(key, msgspec.json.encode(boundary), str(streams))
        self.fits = {
            "affine": partial(self._stored, "affine", self._affine),
            "klt": partial(self._stored, "klt", self._klt),
        }

    def _stored(self, codec: str, make: Callable[[], FittedCodec]) -> FittedCodec:
        def build() -> FittedCodec:
            return for_streams(make(), self._frames) if self._streams else make()

        stored = self._work.get(codec, self._key, lambda: msgspec.msgpack.encode(build()))
        return msgspec.msgpack.decode(stored, type=FittedCodec)

    def _affine(self) -> FittedCodec:
        return fit_affine(self._boundary, self._tensors)

    def _klt(self) -> FittedCodec:
        tail = self._span(self._boundary.index, self._end.index)
        return fit_klt(self._boundary, self._tensors, Divergence(tail.run, self._end.tensors, self._tensors[:SAMPLES]))

    @cached_property
    def _tensors(self) -> list[tuple[Array, ...]]:
        head = self._span(0, self._boundary.index)
        tensors = [head.run(sample) for sample in self._samples]
        for number, sample in enumerate(tensors):
            check_finite(self._boundary.tensors, sample, f"calibration sample {number}")
        return tensors

    @cached_property
    def _frames(self) -> list[tuple[tuple[Array, ...], tuple[Array, ...]]]:
        """Neighbouring frames, at this boundary."""
        head, rng = self._span(0, self._boundary.index), np.random.default_rng(0)
        moved = (head.run([neighbour(sample[0], rng)]) for sample in self._samples)
        return list(zip(self._tensors, moved, strict=True))

    def _span(self, start: int, end: int) -> Graph:
        (graph,) = (
            graph
            for span in self._exported.spans
            if span.key == (start, end, "fp32")
            for graph in span.graphs
            if graph.format == "onnx"
        )
        files = self._exported.files
        weights = {path.rsplit("/", 1)[-1]: files[path][1] for path in graph.weights}
        return create_runtime("onnx", os.cpu_count() or 1).load(files[graph.file][1], weights)
