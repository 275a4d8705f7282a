"""`manifest.json`, field by field. docs/bundle.md is the prose to it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from cutpoint.codecs import TensorSpec
from cutpoint.sdk.bundle.files import FileEntry, GraphFile
from cutpoint.sdk.bundle.profile import DeviceProfile
from cutpoint.sdk.bundle.slicing import Slice, Slicing

__all__ = [
    "Boundary",
    "CodecEntry",
    "Exit",
    "Manifest",
    "Measurement",
    "Point",
    "Preprocessing",
    "ServerExit",
    "Span",
    "Task",
    "Threshold",
]


class Preprocessing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a picture becomes the input tensor: geometry first, then normalisation.

    Geometry (resize, crop or letterbox) is done by whoever holds the picture and gives uint8 RGB of shape
    (height, width, 3), which is boundary 0. Normalisation (channel order, scale, mean, std, layout) is the first thing
    in every span that starts at boundary 0; it is recorded here so that one can read what the graphs do.

    Attributes:
        height: pixels, of boundary 0.
        width: pixels, of boundary 0.
        resize: the short side is scaled to this many pixels before the centre crop; None: straight to height × width.
        letterbox: scale to fit, keep the aspect ratio, put the picture top left and fill the rest with `pad`.
        pad: grey value 0–255 of the letterbox.
        interpolation: of the resize.
        channels: channel order that the model wants.
        scale: pixel values are multiplied by this …
        mean: … then this is subtracted per channel (in the model's channel order) …
        std: … and the difference divided by this.
    """

    height: int
    width: int
    resize: int | None = None
    letterbox: bool = False
    pad: int = 114
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    channels: Literal["rgb", "bgr"] = "rgb"
    scale: float = 1.0 / 255.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"preprocessing: a picture of {self.width}×{self.height} has no pixels")
        if self.resize is not None and self.resize < max(1, min(self.height, self.width)):
            raise ValueError(f"preprocessing: resize {self.resize} is smaller than the crop")
        if self.resize is not None and self.letterbox:
            raise ValueError("preprocessing: 'resize' and 'letterbox' exclude each other")
        if any(value == 0 for value in self.std):
            raise ValueError("preprocessing: 'std' must not be 0")
        if not 0 <= self.pad <= 255:
            raise ValueError("preprocessing: 'pad' is a grey value from 0 to 255")


TaskKind = Literal["classification", "segmentation", "detection", "embedding", "agreement"]
TaskMetric = Literal["top1", "miou", "ap", "agreement", "miou_agreement", "cosine"]


class Task(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the outputs mean and how they are judged.

    Attributes:
        kind: ``classification`` (first output is scores, last axis = classes), ``segmentation`` (scores of every
            pixel), ``detection`` (boxes), ``embedding`` (one vector) or ``agreement`` (any tensors).
        metric: what `Measurement.metric` is, 0 … 1. Against labels: ``top1``, ``miou`` (mean intersection over union),
            ``ap`` (COCO's average precision). Against the uncut model: ``agreement``, ``miou_agreement``, ``cosine``.
        labels: class names in the order of the scores; may be empty.
        uncut: the metric of the uncut fp32 model on the same data.
        samples: how many inputs the metric was measured on.
    """

    kind: TaskKind
    metric: TaskMetric
    uncut: float
    samples: int
    labels: tuple[str, ...] = ()


class Boundary(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A place where the model can be cut.

    Attributes:
        index: 0 is the input, the last is the output.
        tensors: what crosses it, in the order in which spans take and give them.
        label: the graph's own name of the place, for people.
        macs: multiply-accumulates from the input up to here; 0 where not counted.
        row_axis: axis of its tensors along which slices are cut; None where none begin or end.
    """

    index: int
    tensors: tuple[TensorSpec, ...]
    label: str = ""
    macs: int = 0
    row_axis: int | None = None

    @property
    def height(self) -> int:
        """Rows of its tensors; 0 where they have none."""
        return 0 if self.row_axis is None else self.tensors[0].shape[self.row_axis]

    @property
    def nbytes(self) -> int:
        """Size of the tensors in bytes, uncompressed."""
        return sum(tensor.nbytes for tensor in self.tensors)


class Span(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The part of the model between two boundaries at one precision, a graph file per runtime.

    Attributes:
        start: boundary whose tensors it takes.
        end: boundary whose tensors it gives.
        precision: ``fp32``, ``fp16`` or ``int8``.
        graphs: one per file format.
    """

    start: int
    end: int
    precision: str
    graphs: tuple[GraphFile, ...]

    @property
    def key(self) -> tuple[int, int, str]:
        """What identifies a span in its bundle."""
        return self.start, self.end, self.precision


class CodecEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A codec at a boundary: see `cutpoint.codecs.CodecParts`.

    Attributes:
        id: unique in the bundle, for example ``5-affine``.
        codec: the codec id in the registry.
        start: boundary whose tensors the encoder takes.
        end: boundary whose tensors the decoder gives; another one than `start` where the codec replaces layers.
        levels: name of each level, smallest first; in families with widths, by width and then by size.
        symbols: tensors between encoder graph and entropy coder.
        encoder: encoder graph files (inputs: the start boundary's tensors, then optionally the level, a scalar: int64
            in ONNX files, int32 in LiteRT files).
        decoder: decoder graph files (inputs: symbols, then optionally ``level``).
        tables: entropy tables file.
        config: the codec's own settings.
    """

    id: str
    codec: str
    start: int
    end: int
    levels: tuple[str, ...]
    symbols: tuple[TensorSpec, ...] = ()
    encoder: tuple[GraphFile, ...] = ()
    decoder: tuple[GraphFile, ...] = ()
    tables: str | None = None
    config: dict[str, Any] = {}


class Threshold(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """From which confidence on an exit answers, and what calibration says of it, on inputs that no exit was trained on.

    Attributes:
        confidence: least confidence, 0 … 1, with which the exit answers.
        drop: share of all inputs, at most, that are answered worse than by the uncut model: with certainty `certainty`.
        certainty: of the promises of all exits of the bundle together, 0 … 1.
        samples: how many inputs that was tested on.
        rate: share of them that the exit answered.
        metric: of those, the share that it answered well.
    """

    confidence: float
    drop: float
    certainty: float
    samples: int
    rate: float
    metric: float


class ServerExit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """From which confidence on a server answers requests for a point from an exit that lies behind them.

    Attributes:
        point: `Point.id`; one that is not local, and whose device asks no exit.
        threshold: as the device's, but tested on what the point's decoder gives, against the point's own answers.
        ms: of decoder, span up to the exit, and exit, milliseconds on the calibrating machine, one sample at a time.
    """

    point: str
    threshold: Threshold
    ms: float


class Exit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A small head at a boundary that answers what is easy.

    Attributes:
        id: unique in the bundle, for example ``exit4-int8``.
        boundary: whose tensors it takes.
        precision: of the spans up to the boundary, and from there on, that it was trained for.
        graphs: one per file format. Inputs: the boundary's tensors; outputs: those of the last boundary, then the
            confidence, float32 (batch,), calibrated: of the answers with confidence c about the share c is right.
        thresholds: the one with the smallest drop first.
        ms: of the graph, milliseconds on the calibrating machine, one sample at a time.
        servers: for which points servers may ask it.
    """

    id: str
    boundary: int
    precision: str
    graphs: tuple[GraphFile, ...]
    thresholds: tuple[Threshold, ...]
    ms: float
    servers: tuple[ServerExit, ...] = ()


class Measurement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What calibration measured of a point. Times in milliseconds on the calibrating machine, one sample at a time.

    Of a point with an exit, times and bytes are those of a request that the exit does not answer; `expected` has those
    of any request.

    Attributes:
        metric: the task metric, 0 … 1; of all requests.
        bytes_mean: payload size; 0 for a point that sends nothing.
        bytes_p95: 95th percentile of the payload size.
        device_ms: head (or the whole model, for a local point).
        encode_ms: encoder graph and entropy coder.
        decode_ms: entropy decoder and decoder graph.
        tail_ms: tail.
        energy_mj: device energy without radio, millijoule; None where it was not measured (the energy model then
            estimates it).
        exit_rate: share of the requests that the exit answers.
        exit_ms: head and exit, up to its answer.
    """

    metric: float
    bytes_mean: float
    bytes_p95: float
    device_ms: float
    encode_ms: float = 0.0
    decode_ms: float = 0.0
    tail_ms: float = 0.0
    energy_mj: float | None = None
    exit_rate: float = 0.0
    exit_ms: float = 0.0

    @property
    def expected(self) -> Measurement:
        """The mean over all requests, those included that the exit answers."""
        if not self.exit_rate:
            return self
        stay = 1.0 - self.exit_rate
        return msgspec.structs.replace(
            self,
            bytes_mean=stay * self.bytes_mean,
            device_ms=stay * self.device_ms + self.exit_rate * self.exit_ms,
            encode_ms=stay * self.encode_ms,
            decode_ms=stay * self.decode_ms,
            tail_ms=stay * self.tail_ms,
            energy_mj=None,
        )


class Point(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An operating point: boundary × span precision × codec × level (× exit, × slices), with what was measured of it.

    Attributes:
        id: ``cut5-int8-affine-8bit``; for a point without codec ``cut12-int8``.
        start: boundary up to which the device computes; 0: nothing, the last: everything.
        end: boundary at which the tail begins (the codec's `end`; for a local point the last boundary).
        precision: of the head; None where the device computes nothing.
        codec: `CodecEntry.id`; None for a local point.
        level: the codec's level.
        tail_precision: of the tail; None for a local point.
        measured: on the machine that calibrated.
        exit: `Exit.id`; None for a point without. The device asks it on the way, and goes on if it is not sure.
        threshold: which of the exit's thresholds.
        slicing: how the head is computed in slices, those of the device at `precision`, those of the server at
            `tail_precision`; None for a head in one piece.
    """

    id: str
    start: int
    end: int
    measured: Measurement
    precision: str | None = None
    codec: str | None = None
    level: int = 0
    tail_precision: str | None = None
    exit: str | None = None
    threshold: int = 0
    slicing: Slicing | None = None

    @property
    def local(self) -> bool:
        """Whether the device answers alone."""
        return self.codec is None


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The whole of `manifest.json`.

    Attributes:
        schema: version of this schema.
        name: of the model, for people.
        created_by: program and version.
        task: what the outputs mean.
        boundaries: 0 … n.
        spans: heads, tails, and the whole model.
        codecs: at the boundaries.
        points: the operating points; their order is their number on the wire.
        files: every other file, sorted by path.
        preprocessing: None where boundary 0 is not a picture.
        measured_on: the machine behind the figures, for people.
        devices: what the device's share of the points costs on other machines.
        exits: at the boundaries.
        slices: of spans.
    """

    schema: int
    name: str
    created_by: str
    task: Task
    boundaries: tuple[Boundary, ...]
    spans: tuple[Span, ...]
    codecs: tuple[CodecEntry, ...]
    points: tuple[Point, ...]
    files: tuple[FileEntry, ...] = ()
    preprocessing: Preprocessing | None = None
    measured_on: str = ""
    devices: tuple[DeviceProfile, ...] = ()
    exits: tuple[Exit, ...] = ()
    slices: tuple[Slice, ...] = ()

    @property
    def last(self) -> int:
        """Index of the output boundary."""
        return len(self.boundaries) - 1
