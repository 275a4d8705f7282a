"""What makes `.tflite` heads of a model, where they are wanted and can be had."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.extras import TFLITE_PACKAGES, missing
from cutpoint.calibration.importers import ImportedModel
from cutpoint.calibration.progress import Reporter
from cutpoint.calibration.settings import Settings
from cutpoint.calibration.work import WorkFolder, digest
from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Boundary, Preprocessing

__all__ = ["head_converter"]


def head_converter(
    settings: Settings,
    imported: ImportedModel,
    samples: Sequence[Sequence[Array]],
    preprocessing: Preprocessing | None,
    work: WorkFolder,
    reporter: Reporter,
) -> Callable[[onnx.ModelProto, Boundary], bytes | None] | None:
    """From a head and the boundary where it ends to a `.tflite` file, or to None where that cannot be had.

    Returns:
        None where no such files are made: they were not asked for, or the model does not come from torch and nobody
        said anything, or the converter is not installed.
    """
    convert = _checked(imported, samples, preprocessing, work)
    if settings.runtimes is not None:
        return convert if "tflite" in settings.runtimes else None
    return _optional(convert, reporter) if imported.origin == "torch" and not missing(TFLITE_PACKAGES) else None


def _checked(
    imported: ImportedModel,
    samples: Sequence[Sequence[Array]],
    preprocessing: Preprocessing | None,
    work: WorkFolder,
) -> Callable[[onnx.ModelProto, Boundary], bytes]:
    """Makes files, each checked against its ONNX graph on a calibration sample."""

    def convert(span: onnx.ModelProto, end: Boundary) -> bytes:
        from cutpoint.calibration.graphs.litert import check_same, convert_head

        names = [tensor.name for tensor in end.tensors]

        def make() -> bytes:
            made = convert_head(span, imported.program, names, preprocessing)
            check_same(made, span, samples[0])
            return made

        return work.get("tflite", digest(span.SerializeToString(deterministic=True)), make)

    return convert


def _optional(
    convert: Callable[[onnx.ModelProto, Boundary], bytes], reporter: Reporter
) -> Callable[[onnx.ModelProto, Boundary], bytes | None]:
    """`convert`, except that what it cannot convert is noted and left out."""

    def attempt(span: onnx.ModelProto, end: Boundary) -> bytes | None:
        try:
            return convert(span, end)
        except CalibrationError as error:
            reporter.note(str(error))
            return None

    return attempt
