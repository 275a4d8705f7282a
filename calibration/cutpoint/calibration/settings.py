"""Everything that one calibration is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.search.constraints import Constraints
from cutpoint.calibration.search.scope import MODES
from cutpoint.calibration.tasks import TASKS

__all__ = ["CODECS", "PRECISIONS", "RUNTIMES", "TRAINED", "USUAL_PRECISIONS", "Settings"]

CODECS = ("raw", "jpeg", "webp", "affine", "klt", "bottleneck", "slimmable")
#: Codecs that take training, and are therefore made only when asked for.
TRAINED = ("bottleneck", "slimmable")
PRECISIONS = ("fp32", "fp16", "int8")
#: Those that are made unless asked otherwise: fp16 costs what fp32 costs but the download.
USUAL_PRECISIONS = ("fp32", "int8")
RUNTIMES = ("onnx", "tflite")


@dataclass(frozen=True)
class Settings:
    """What to calibrate, on what, and what the bundle shall hold.

    Attributes:
        model: see `import_model`.
        data: folder of pictures or ``.npy`` tensors.
        out: bundle to write: a folder, or a file ending in ``.cutpoint``.
        evaluation: folder to measure on; None: a part of `data` that calibration did not see.
        input_shape: of the model, where it does not say it itself.
        weights: file of a state dict for a torch module; None: its own, or from the hub.
        name: of the model, for people; None: from `model`.
        labels: class names in the order of the scores.
        preprocessing: fields of `Preprocessing` other than the defaults; height and width default to the model's.
        cuts: how many cuts to keep at most, or the names of the cuts.
        codecs: of `CODECS`.
        streams: make the codecs with symbols codecs for streams (`delta`), where the model takes pictures.
        tiers: whether servers shall be able to pass requests on to further ones at a later cut.
        node_slices: ways in which servers shall be able to share the spans of one request: of each, the speeds of the
            machines for which spans are cut in slices. With any, `tiers` is implied.
        precisions: of `PRECISIONS`, of the device's spans.
        int8_drop: of the metric that int8 may cost the whole model; layers that cost more stay floats.
        runtimes: of `RUNTIMES`, for the heads. None: ``onnx``, and for torch models ``tflite`` too where the converter
            is installed and knows their layers.
        calibration_samples: pictures that ranges and entropy tables come from.
        samples: pictures that every point is measured on.
        task: of `TASKS`; ``auto``: what outputs and labels look like.
        mode: of `MODES`: how thoroughly points are looked for.
        budget_s: seconds of the whole calibration; None: the mode's.
        constraints: what points must keep to.
        points: how many to keep, baselines not counted; None: the mode's number.
        keep_all: measure and keep every combination that keeps to the constraints.
        seed: of what the search draws.
        threads: of the runtime while measuring.
        overwrite: replace a bundle that is there.
        work: folder for finished steps; None: beside `out`.
        train_cuts: at how many cuts to train codecs at most, or the names of the cuts.
        early_encoders: of `TRAINED`: those that start at the picture instead of their cut, and replace layers.
        landing: name of the cut where their decoders end; None: the smallest in the first part of the computation.
        train_data: folder to train codecs on; None: what calibration may see of `data`. Labels are not used.
        train_steps: of training, for each trained codec.
        train_minutes: of training instead; the result then depends on how fast the machine is.
        exits: at how many boundaries to put exits, or the names of the cuts; 0: none.
        exit_drops: shares of all inputs that exits may answer worse than the uncut model, a threshold for each.
        exit_steps: of training, for each exit.
        exit_views: of each picture that exits are trained on: the picture, and sections of it.
        slices: rates of links, Mbit/s, for which ways of computing heads in slices are looked for; none: no slices.
        devices: files that `cutpoint profile` wrote, for the bundle to carry; points are chosen for the first.
    """

    model: str
    data: Path
    out: Path
    evaluation: Path | None = None
    input_shape: tuple[int, ...] | None = None
    weights: Path | None = None
    name: str | None = None
    labels: tuple[str, ...] = ()
    preprocessing: dict[str, Any] = field(default_factory=dict)
    cuts: int | tuple[str, ...] = 8
    codecs: tuple[str, ...] = tuple(codec for codec in CODECS if codec not in TRAINED)
    streams: bool = False
    tiers: bool = False
    node_slices: tuple[tuple[float, ...], ...] = ()
    precisions: tuple[str, ...] = USUAL_PRECISIONS
    int8_drop: float = 0.01
    runtimes: tuple[str, ...] | None = None
    calibration_samples: int = 100
    samples: int = 200
    task: str = "auto"
    mode: Literal["quick", "default", "exhaustive"] = "default"
    budget_s: float | None = None
    constraints: Constraints = field(default_factory=Constraints)
    points: int | None = None
    keep_all: bool = False
    seed: int = 0
    threads: int = 1
    overwrite: bool = False
    work: Path | None = None
    train_cuts: int | tuple[str, ...] = 2
    early_encoders: tuple[str, ...] = ("slimmable",)
    landing: str | None = None
    train_data: Path | None = None
    train_steps: int = 1500
    train_minutes: float | None = None
    exits: int | tuple[str, ...] = 0
    exit_drops: tuple[float, ...] = (0.01,)
    exit_steps: int = 1000
    exit_views: int = 1
    slices: tuple[float, ...] = ()
    devices: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        for what, given, known in (
            ("codec", self.codecs, CODECS),
            ("trained codec", self.early_encoders or TRAINED, TRAINED),
            ("precision", self.precisions, PRECISIONS),
            ("mode", (self.mode,), tuple(MODES)),
            ("task", (self.task,), ("auto", *TASKS)),
            ("runtime", RUNTIMES if self.runtimes is None else self.runtimes, RUNTIMES),
        ):
            if unknown := [name for name in given if name not in known]:
                raise CalibrationError(f"{what} {unknown[0]!r} is not one of {', '.join(known)}")
            if not given:
                raise CalibrationError(f"at least one {what} is needed: {', '.join(known)}")
        if "fp32" not in self.precisions:
            raise CalibrationError("precision 'fp32' cannot be left out: tails run at it")
        if self.runtimes is not None and "onnx" not in self.runtimes:
            raise CalibrationError("runtime 'onnx' cannot be left out: tails run on it")
        if min(self.calibration_samples, self.samples, self.threads) < 1:
            raise CalibrationError("samples and threads must be at least 1")
        if self.int8_drop < 0:
            raise CalibrationError("int8 may cost 0 of the metric or more: see --int8-drop")
        if self.points is not None and self.points < 1:
            raise CalibrationError("at least 1 point is kept: see --points")
        if self.budget_s is not None and self.budget_s <= 0:
            raise CalibrationError("the budget must be more than 0 seconds: see --budget")
        if self.train_steps < 1 or (self.train_minutes is not None and self.train_minutes <= 0):
            raise CalibrationError("training takes at least 1 step, or more than 0 minutes")
        if self.exit_steps < 1:
            raise CalibrationError("training an exit takes at least 1 step: see --exit-steps")
        if self.exit_views < 1:
            raise CalibrationError("exits are trained on 1 view of each picture at least: see --exit-views")
        if not self.exit_drops or not all(0 < drop < 1 for drop in self.exit_drops):
            raise CalibrationError("--exit-drop takes shares between 0 and 1: write 0.01, or 0.005,0.01")

        if not all(rate > 0 for rate in self.slices):
            raise CalibrationError("--slices takes rates of links in Mbit/s: write 88, or 10,30,88")

    @property
    def between(self) -> bool:
        """Whether servers hand requests on at cuts."""
        return self.tiers or bool(self.node_slices)

    @property
    def trains(self) -> bool:
        """Whether codecs are trained."""
        return any(codec in TRAINED for codec in self.codecs)

    @property
    def budget(self) -> float | None:
        """Seconds of the whole calibration; None: no limit. Training takes what it takes, on top of the mode's."""
        if self.budget_s is not None or self.trains or self.keep_all:
            return self.budget_s
        return MODES[self.mode].budget_s

    @property
    def work_folder(self) -> Path:
        """Where finished steps are kept until the bundle is written."""
        return self.work or self.out.with_name(f".{self.out.name}.work")
