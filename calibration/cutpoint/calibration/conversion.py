"""What makes `.tflite` heads of a model, where they are wanted and can be had."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata

import msgspec

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.extras import TFLITE_PACKAGES, missing
from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.graphs.spans import extract_span
from cutpoint.calibration.importers import ImportedModel
from cutpoint.calibration.progress import Reporter
from cutpoint.calibration.settings import Settings
from cutpoint.calibration.work import WorkFolder, digest
from cutpoint.calibration.yardstick import Yardstick
from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Boundary, Preprocessing
from cutpoint.sdk.runtimes import create_runtime

__all__ = ["Conversion", "Convert", "head_converter"]

Convert = Callable[[Boundary, str], bytes | None]

#: Largest difference that fp16 weights make to a head, as a share of the largest value.
_HALF = 0.02


@dataclass(frozen=True)
class Conversion:
    """What a conversion works on.

    Attributes:
        imported: the model as it came.
        graph: the fp32 model.
        outputs: the last boundary.
        samples: calibration inputs.
        preprocessing: None where they are no pictures.
        yardstick: what decides which layers stay floats; None where there is no int8.
        key: of model and samples.
    """

    imported: ImportedModel
    graph: ModelGraph
    outputs: Boundary
    samples: Sequence[Sequence[Array]]
    preprocessing: Preprocessing | None
    yardstick: Yardstick | None
    key: str


def head_converter(settings: Settings, given: Conversion, work: WorkFolder, reporter: Reporter) -> Convert | None:
    """From the boundary where a head ends and a precision to a `.tflite` file, or to None where that cannot be had.

    Returns:
        None where no such files are made: they were not asked for, or the model does not come from torch and nobody
        said anything, or the converter is not installed.
    """
    asked = settings.runtimes is not None
    if settings.runtimes is not None:
        wanted = "tflite" in settings.runtimes
    else:
        wanted = given.imported.origin == "torch" and not missing(TFLITE_PACKAGES)
    if not wanted:
        return None
    heads = _Heads(given, asked, work, reporter)
    if given.yardstick is not None:
        heads.choose_floats(given.yardstick, settings.int8_drop)
    return heads


class _Heads:
    """Makes files, each checked against the fp32 ONNX head on a calibration sample.

    Args:
        given: what to work on.
        asked: whether fp32 files were asked for, so that it is an error if there can be none.
        work: for finished files.
        reporter: hears what is done, and what cannot be had.
    """

    def __init__(self, given: Conversion, asked: bool, work: WorkFolder, reporter: Reporter) -> None:
        self._given = given
        self._asked = asked
        self._work = work
        self._reporter = reporter
        self._floats: tuple[str, ...] = ()
        self._make = {"fp32": self._fp32, "fp16": self._fp16, "int8": self._int8}

    def __call__(self, end: Boundary, precision: str) -> bytes | None:
        try:
            return self._make[precision](end)
        except CalibrationError as error:
            if self._asked and precision == "fp32":
                raise
            self._reporter.note(f"no {precision} .tflite file of the head up to {end.label}: {error}")
            return None

    def choose_floats(self, yardstick: Yardstick, drop: float) -> None:
        """Finds the layers that stay floats in int8 heads, for the whole model to lose no more than `drop`."""
        from cutpoint.calibration.graphs.litert_weights import LitertQuantiser, choose_floats

        samples = self._given.samples
        try:
            with self._reporter.stage("converting the model", 1) as advance:
                whole = self._fp32(self._given.outputs)
                advance()
        except CalibrationError:
            return  # It is told, or noted, when the files are made.

        def enough(graph: bytes) -> bool:
            return yardstick.metric(create_runtime("litert").load(graph, {})) >= yardstick.uncut - drop

        def make() -> bytes:
            quantiser = LitertQuantiser(whole, samples)
            return msgspec.json.encode(choose_floats(quantiser, whole, samples, enough, self._reporter))

        of_metric = digest(yardstick.samples.fingerprint(), yardstick.judge.metric, repr(drop))
        key = digest(whole, "floats", self._given.key, _version(), of_metric)
        try:
            self._floats = msgspec.json.decode(self._work.get("tflite-floats", key, make), type=tuple[str, ...])
        except CalibrationError:
            return
        if self._floats:
            self._reporter.note(f"layers of int8 .tflite heads that stay in floats: {len(self._floats)}")

    def _fp32(self, end: Boundary) -> bytes:
        from cutpoint.calibration.graphs.litert import check_same, convert_head

        given = self._given
        span = extract_span(given.graph.model, given.graph.inputs, end.tensors, given.graph.batch)
        names = [tensor.name for tensor in end.tensors]

        def make() -> bytes:
            made = convert_head(span, given.imported.program, names, given.preprocessing)
            check_same(made, span, given.samples[0])
            return made

        return self._work.get("tflite", digest(span.SerializeToString(deterministic=True)), make)

    def _fp16(self, end: Boundary) -> bytes:
        from cutpoint.calibration.graphs.litert_weights import halve_tflite

        whole = self._fp32(end)
        return self._checked(end, _HALF, digest(whole, "fp16", _version()), lambda: halve_tflite(whole))

    def _int8(self, end: Boundary) -> bytes:
        from cutpoint.calibration.graphs.litert_weights import LitertQuantiser

        whole, floats = self._fp32(end), self._floats

        def make() -> bytes:
            return LitertQuantiser(whole, self._given.samples)(floats)

        # How far int8 may be off is asked of the points' metric, when they are known.
        key = digest(whole, "int8", self._given.key, _version(), *floats)
        return self._checked(end, math.inf, key, make)

    def _checked(self, end: Boundary, tolerance: float, key: str, make: Callable[[], bytes]) -> bytes:
        from cutpoint.calibration.graphs.litert import check_same

        def checked() -> bytes:
            made = make()
            graph = self._given.graph
            span = extract_span(graph.model, graph.inputs, end.tensors, graph.batch)
            check_same(made, span, self._given.samples[0], tolerance)
            return made

        return self._work.get("tflite", key, checked)


def _version() -> str:
    return metadata.version("ai-edge-quantizer")
