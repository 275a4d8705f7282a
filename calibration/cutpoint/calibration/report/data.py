"""What `report/report.json` holds: what was tried and why it was kept or not, where one could cut, how codecs learned.

Readers take every field as optional: what is not known is left out of the file.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.int8_report import Int8Report
from cutpoint.codecs import TensorSpec

__all__ = [
    "REPORT_NAME",
    "CutReport",
    "LitertHead",
    "ReportData",
    "SearchReport",
    "TrialReport",
    "decode_report",
    "encode_report",
]

#: Path in the bundle.
REPORT_NAME = "report/report.json"


class SearchReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """How points were looked for.

    Attributes:
        mode: ``quick``, ``default`` or ``exhaustive``.
        budget_s: seconds that the whole calibration was given; None where it was not limited.
        spent_s: seconds that it took, interrupted runs before it not counted.
        seed: of everything that was drawn.
        constraints: name → value, and ``weight.NAME`` → weight of the objective.
        device: name of the profile that points were chosen for; None: for any device.
    """

    mode: Literal["quick", "default", "exhaustive"] = "default"
    budget_s: float | None = None
    spent_s: float | None = None
    seed: int = 0
    constraints: dict[str, float] = {}
    device: str | None = None


class TrialReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """One combination of cut, precision, codec and level, and what became of it.

    Attributes:
        cut: label of the boundary where the device stops.
        precision: of the head; None where the device computes nothing.
        codec: id of the codec's family, such as ``klt``; None for a local point.
        level: name of the codec's level; None for a local point.
        start: boundary where the device stops.
        end: boundary where the tail begins.
        stage: the last stage that it took part in: ``constraints``, ``proxy``, ``rung 1`` …, ``front``.
        samples: how many samples `metric` is from; 0 where the outputs were never looked at.
        metric: the task metric, 0 … 1.
        bytes_mean: mean payload size.
        device_ms: head, milliseconds.
        encode_ms: encoder graph and entropy coder, milliseconds.
        decode_ms: entropy decoder and decoder graph, milliseconds.
        tail_ms: tail, milliseconds.
        distortion: of the boundary's tensors after decoding: squared error as a share of their energy.
        memory: bytes that the device needs for the head, its largest activations and the encoder, estimated.
        kept: whether it is a point of the bundle.
        point: id of the point; of rejected trials the id that it would have had.
        reason: why it was kept or not, for people.
    """

    cut: str
    start: int
    end: int
    precision: str | None = None
    codec: str | None = None
    level: str | None = None
    stage: str = ""
    samples: int = 0
    metric: float | None = None
    bytes_mean: float | None = None
    device_ms: float | None = None
    encode_ms: float | None = None
    decode_ms: float | None = None
    tail_ms: float | None = None
    distortion: float | None = None
    memory: int | None = None
    kept: bool = False
    point: str | None = None
    reason: str = ""


class CutReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """A place where the model could be cut.

    Attributes:
        label: the tensors' names with ``+`` between.
        tensors: what crosses it.
        macs: multiply-accumulates before it.
        bytes: size of the tensors, uncompressed.
        predicted_ms: of the fp32 head: its nodes' share in a profile of the whole model, of the whole model's time.
        measured_ms: of the fp32 head run by itself; None where it was not tried.
        natural_bottleneck: whether fewer elements cross it than the input has.
        kept: whether points were tried here.
        reason: why it was chosen or not, for people.
    """

    label: str
    tensors: tuple[TensorSpec, ...] = ()
    macs: int = 0
    bytes: int = 0
    predicted_ms: float | None = None
    measured_ms: float | None = None
    natural_bottleneck: bool = False
    kept: bool = False
    reason: str = ""


class LitertHead(msgspec.Struct, frozen=True, omit_defaults=True):
    """An int8 head in LiteRT beside the one in onnxruntime, which points were measured with.

    Attributes:
        cut: label of the boundary where it ends.
        end: that boundary.
        points: how many kept points have this head; metrics are means over them.
        metric: the task metric with onnxruntime's head.
        litert_metric: the same with LiteRT's head and encoders.
        chance: how much of their difference chance explains.
        bytes_ratio: mean payload with LiteRT's head, as a share of that with onnxruntime's; None for local points.
        ms: milliseconds of onnxruntime's head.
        litert_ms: milliseconds of LiteRT's.
        apart: squared difference between what both give, as a share of its energy.
        reason: why the bundle has no `.tflite` file of it, for people; empty where it has one.
    """

    cut: str
    end: int
    points: int
    metric: float
    litert_metric: float
    chance: float
    ms: float
    litert_ms: float
    apart: float
    bytes_ratio: float | None = None
    reason: str = ""


class ReportData(msgspec.Struct, frozen=True, omit_defaults=True):
    """The whole of `report/report.json`.

    Attributes:
        schema: version of this schema.
        search: how points were looked for.
        trials: every combination that was looked at, in the order of the points.
        prediction_error: the mean of how far `predicted_ms` of the cuts is from `measured_ms`, as a share of this.
        cuts: every place where the model can be cut, in the order of the graph.
        losses: id of a trained codec → file in the bundle with its curves.
        int8: what int8 costs; None where there is no int8.
        litert: int8 heads in LiteRT, where `.tflite` files were made.
        notes: what was noted on the way, for people.
    """

    schema: int = 1
    search: SearchReport = SearchReport()
    trials: tuple[TrialReport, ...] = ()
    cuts: tuple[CutReport, ...] = ()
    prediction_error: float | None = None
    losses: dict[str, str] = {}
    int8: Int8Report | None = None
    litert: tuple[LitertHead, ...] = ()
    notes: tuple[str, ...] = ()


def encode_report(data: ReportData) -> bytes:
    """The bytes of `report/report.json`."""
    return msgspec.json.format(msgspec.json.encode(data), indent=1) + b"\n"


def decode_report(data: bytes) -> ReportData:
    """Parses `report/report.json`; unknown fields are passed over.

    Raises:
        CalibrationError: names the field and what is wrong with it.
    """
    try:
        return msgspec.json.decode(data, type=ReportData)
    except msgspec.DecodeError as error:
        raise CalibrationError(f"{REPORT_NAME}: {error}") from error
