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
from cutpoint.calibration.search.measure import uncut_answers
from cutpoint.calibration.settings import Settings
from cutpoint.calibration.tasks import Judge, judge_all
from cutpoint.calibration.work import WorkFolder, digest
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
    evaluation: Samples,
    judge: Judge,
    uncut: float,
    work: WorkFolder,
    key: str,
    reporter: Reporter,
) -> Variants:
    """The model at the precisions of `settings`.

    Args:
        settings: what was asked for.
        graph: the fp32 model.
        calibration: what ranges come from.
        evaluation: what the metric is taken on.
        judge: of the task.
        uncut: the fp32 model's metric.
        work: for what is finished.
        key: of model and calibration samples.
        reporter: hears what is done.

    Raises:
        CalibrationError: if the model cannot be had at a precision.
    """
    models = {"fp32": graph.model}
    if "fp16" in settings.precisions:
        models["fp16"] = halve_weights(graph.model)
    if "int8" not in settings.precisions:
        return Variants(models, None, ())

    def metric(model: onnx.ModelProto) -> float:
        session = create_runtime("onnx", settings.threads).load(model.SerializeToString(), {})
        return judge_all(judge, uncut_answers(session, evaluation.tensors, lambda: None))

    def make() -> bytes:
        least = uncut - settings.int8_drop
        model, report = quantise_within(graph, calibration.tensors, metric, least, reporter)
        return msgspec.msgpack.encode(_Kept(model.SerializeToString(deterministic=True), report))

    version = metadata.version("onnxruntime")
    of_metric = digest(evaluation.fingerprint(), judge.metric, repr(settings.int8_drop))
    kept = msgspec.msgpack.decode(work.get("int8", digest(key, version, of_metric), make), type=_Kept)
    models["int8"] = onnx.load_from_string(kept.model)
    note = kept.report.note(judge.metric, uncut, settings.int8_drop)
    if note is not None:
        reporter.note(note)
    return Variants(models, kept.report, () if note is None else (note,))
