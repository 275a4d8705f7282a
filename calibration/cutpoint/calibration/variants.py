"""The model in every precision that was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata

import msgspec
import onnx

from cutpoint.calibration.data import Samples
from cutpoint.calibration.graphs.fallback import quantise_within
from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.graphs.half import halve_weights
from cutpoint.calibration.graphs.int8_report import Int8Report
from cutpoint.calibration.progress import Reporter
from cutpoint.calibration.settings import Settings
from cutpoint.calibration.work import WorkFolder, digest
from cutpoint.calibration.yardstick import Yardstick
from cutpoint.sdk.runtimes import create_runtime

__all__ = ["Variants", "make_variants"]


class _Kept(msgspec.Struct, frozen=True):
    """What the work folder keeps of an int8 model."""

    model: bytes
    report: Int8Report


@dataclass(frozen=True)
class Variants:
    """The model in every precision.

    Attributes:
        models: precision → graph; ``fp32`` among them.
        int8: what int8 costs; None where there is none.
        notes: what people should know of it.
    """

    models: Mapping[str, onnx.ModelProto]
    int8: Int8Report | None
    notes: Sequence[str]


def make_variants(
    settings: Settings,
    graph: ModelGraph,
    calibration: Samples,
    yardstick: Yardstick | None,
    work: WorkFolder,
    key: str,
    reporter: Reporter,
) -> Variants:
    """The model at the precisions of `settings`.

    Args:
        settings: what was asked for.
        graph: the fp32 model.
        calibration: what ranges come from.
        yardstick: what decides which layers stay floats; None where there is no int8.
        work: for what is finished.
        key: of model and calibration samples.
        reporter: hears what is done.

    Raises:
        CalibrationError: if the model cannot be had at a precision.
    """
    models = {"fp32": graph.model}
    if "fp16" in settings.precisions:
        models["fp16"] = halve_weights(graph.model)
    if yardstick is None:
        return Variants(models, None, ())

    def metric(model: onnx.ModelProto) -> float:
        session = create_runtime("onnx", settings.threads).load(model.SerializeToString(), {})
        return yardstick.metric(session)

    def make() -> bytes:
        least = yardstick.uncut - settings.int8_drop
        model, report = quantise_within(graph, calibration.tensors, metric, least, reporter)
        return msgspec.msgpack.encode(_Kept(model.SerializeToString(deterministic=True), report))

    version = metadata.version("onnxruntime")
    of_metric = digest(yardstick.samples.fingerprint(), yardstick.judge.metric, repr(settings.int8_drop))
    kept = msgspec.msgpack.decode(work.get("int8", digest(key, version, of_metric), make), type=_Kept)
    models["int8"] = onnx.load_from_string(kept.model)
    note = kept.report.note(yardstick.judge.metric, yardstick.uncut, settings.int8_drop)
    if note is not None:
        reporter.note(note)
    return Variants(models, kept.report, () if note is None else (note,))
