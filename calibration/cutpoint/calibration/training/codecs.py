"""Trained codecs of a bundle: at which boundaries, on which pictures, started from what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import onnx

from cutpoint.calibration.codecs.entries import FittedCodec
from cutpoint.calibration.codecs.klt import design_klt
from cutpoint.calibration.codecs.sensitivity import SAMPLES, Divergence
from cutpoint.calibration.codecs.streams import for_streams, neighbour
from cutpoint.calibration.data import Source, open_dataset, shuffled
from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.cuts import labelled
from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.graphs.spans import extract_span
from cutpoint.calibration.progress import Reporter
from cutpoint.calibration.settings import Settings
from cutpoint.calibration.tasks.classification import is_classification
from cutpoint.calibration.training.families import FAMILIES, Family
from cutpoint.calibration.training.features import collect_features
from cutpoint.calibration.work import WorkFolder, digest
from cutpoint.codecs import Array, TensorSpec
from cutpoint.sdk.bundle import Boundary, Preprocessing
from cutpoint.sdk.runtimes import Graph, create_runtime

__all__ = ["choose_boundaries", "fit_trained", "training_sources"]

#: Bytes of features and outputs that training holds in memory at most, floats as float16.
_BYTES = 2**31
#: Up to this share of the model's multiply-accumulates a cut is early enough to be worth much to a weak device.
_EARLY = 0.6
#: Calibration samples that the start is fitted to.
_START = 100
#: Share of the model's multiply-accumulates that an encoder which replaces layers may take. Rounding and entropy coding
#: come on top of them: this makes about an eighth of MobileNetV2's time.
_ENCODER_SHARE = 0.07
#: Divergence where such a codec begins, at the coarsest level, while weighing, and at the finest: further from the
#: model than `klt` at a cut, because there is more that training gains.
_EARLY_CLASSES = (1.0, 0.06, 0.12)
_EARLY_OUTPUTS = (0.1, 0.005, 0.012)


def choose_boundaries(boundaries: Sequence[Boundary], wanted: int | tuple[str, ...]) -> list[Boundary]:
    """Where trained codecs go.

    Asked for a number, the smallest boundary in the first three fifths of the computation, then the smallest of all,
    then the next smallest: few values are what few bytes and short training begin with.

    Args:
        boundaries: 0 … n.
        wanted: how many, or labels.

    Raises:
        CalibrationError: for a label that no boundary has.
    """
    inner = list(boundaries[1:-1])
    if not isinstance(wanted, int):
        return labelled(inner, wanted, "to train a codec at")
    total = boundaries[-1].macs or 1

    def size(boundary: Boundary) -> int:
        return sum(spec.size for spec in boundary.tensors)

    # A vector behind a pooling has nothing left that training could take out.
    maps = [b for b in inner if any(len(s.shape) > 2 and s.size > s.shape[1] for s in b.tensors)] or inner
    early = [b for b in maps if b.macs <= _EARLY * total]
    chosen = [min(early, key=size)] if early and wanted > 0 else []
    for boundary in sorted(maps, key=size):
        if len(chosen) < wanted and boundary not in chosen:
            chosen.append(boundary)
    return sorted(chosen, key=lambda b: b.index)


def training_sources(settings: Settings, calibration: Sequence[Source], measured: Sequence[Source]) -> list[Source]:
    """The files to train on, in a mixed order: those of `--train-data`, or those that calibration may see.

    Files that points are measured on are left out.

    Raises:
        CalibrationError: if none are left.
    """
    sources = calibration
    if settings.train_data is not None:
        sources = shuffled(open_dataset(settings.train_data).sources)
    taken = {source.path.resolve() for source in measured}
    left = [source for source in sources if source.path.resolve() not in taken]
    if not left:
        folder = settings.train_data or settings.data
        raise CalibrationError(f"{folder}: points are measured on all of these files; train on others")
    return left


@dataclass(frozen=True)
class _Job:
    """A codec to train.

    Attributes:
        family: of the codec.
        start, end: boundaries.
    """

    family: Family
    start: Boundary
    end: Boundary

    @property
    def title(self) -> str:
        jump = f" from {self.start.label} on" if self.start.index < self.end.index else ""
        return f"{self.family.codec} at {self.end.label}{jump}"


def _jobs(settings: Settings, boundaries: Sequence[Boundary]) -> list[_Job]:
    jobs = []
    for codec in settings.codecs:
        if codec not in FAMILIES:
            continue
        if codec in settings.early_encoders:
            landing = (settings.landing,) if settings.landing is not None else 1
            ends = choose_boundaries(boundaries, landing)
            if not ends:
                raise CalibrationError(f"{codec} needs a cut to land on: keep at least one with --cuts")
            jobs.append(_Job(FAMILIES[codec], boundaries[0], ends[0]))
        else:
            jobs += [_Job(FAMILIES[codec], b, b) for b in choose_boundaries(boundaries, settings.train_cuts)]
    return jobs


def fit_trained(
    settings: Settings,
    graph: ModelGraph,
    boundaries: Sequence[Boundary],
    calibration: Sequence[Sequence[Array]],
    sources: Sequence[Source],
    preprocessing: Preprocessing | None,
    work: WorkFolder,
    key: str,
    reporter: Reporter,
) -> list[FittedCodec]:
    """The trained codecs that were asked for.

    Args:
        settings: of the calibration.
        graph: the fp32 model.
        boundaries: of the bundle.
        calibration: tensors of boundary 0 that the start is fitted to.
        sources: files to train on.
        preprocessing: of boundary 0.
        work: for finished steps, and for checkpoints.
        key: of model and calibration data.
        reporter: hears what is done.

    Raises:
        CalibrationError: if one cannot be trained.
    """
    fitted = []
    found = [(source.path, source.path.stat()) for source in sources]
    names = "\n".join(f"{path} {stat.st_size} {stat.st_mtime_ns}" for path, stat in found)
    for job in _jobs(settings, boundaries):
        how = f"{job.family} {settings.train_steps} {settings.train_minutes} {settings.streams}"
        own = digest(key, msgspec.json.encode((job.start, job.end)), names, how)

        def make(job: _Job = job, own: str = own) -> bytes:
            checkpoint = work.path / f"training-{own}"
            given = calibration, sources, preprocessing, checkpoint, reporter
            codec = _fit(settings, graph, boundaries, job, *given)
            return msgspec.msgpack.encode(codec)

        fitted.append(msgspec.msgpack.decode(work.get(job.family.codec, own, make), type=FittedCodec))
    return fitted


def _fit(
    settings: Settings,
    graph: ModelGraph,
    boundaries: Sequence[Boundary],
    job: _Job,
    calibration: Sequence[Sequence[Array]],
    sources: Sequence[Source],
    preprocessing: Preprocessing | None,
    checkpoint: Path,
    reporter: Reporter,
) -> FittedCodec:
    import torch

    from cutpoint.calibration.training.bottleneck import start_bottleneck
    from cutpoint.calibration.training.distillation import Lesson, distil
    from cutpoint.calibration.training.files import write_trained
    from cutpoint.calibration.training.landing import Landing
    from cutpoint.calibration.training.loop import Budget
    from cutpoint.calibration.training.teacher import Teacher

    first, outputs = boundaries[0].tensors, boundaries[-1].tensors
    classes = is_classification(outputs)
    start, end, early = job.start, job.end, job.start.index < job.end.index
    runtime = create_runtime("onnx", torch.get_num_threads())

    def span(given: Sequence[TensorSpec], wanted: Sequence[TensorSpec]) -> onnx.ModelProto:
        return extract_span(graph.model, given, wanted, graph.batch)

    def loaded(given: Sequence[TensorSpec], wanted: Sequence[TensorSpec]) -> Graph:
        return runtime.load(span(given, wanted).SerializeToString(), {})

    with reporter.stage(f"starting {job.title}", 1):
        head, tail = loaded(first, start.tensors), loaded(start.tensors, outputs)
        samples = [head.run(sample) for sample in calibration[:_START]]
        divergence = Divergence(tail.run, outputs, samples[:SAMPLES])
        landing, moved, macs = None, None, None
        if early:
            landing = Landing(span(start.tensors, end.tensors), graph.batch)
            moved = _EARLY_CLASSES if classes else _EARLY_OUTPUTS
            macs = _ENCODER_SHARE * boundaries[-1].macs or None
        fit, steps = design_klt(start, samples, divergence, moved)
        module = start_bottleneck(fit, steps, job.family, landing, macs)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        teacher = Teacher(span(end.tensors, outputs), classes, graph.batch, device)
    crossing = (*start.tensors, *end.tensors) if early else start.tensors
    whole = loaded(first, (*crossing, *outputs))
    most = max(1, _BYTES // sum(spec.size * min(2, np.dtype(spec.dtype).itemsize) for spec in (*crossing, *outputs)))
    with reporter.stage(f"features for {job.title}", min(most, len(sources))) as advance:
        features = collect_features(whole, sources, first, preprocessing, most, advance=advance)
    budget = Budget(settings.train_steps, settings.train_minutes)
    with reporter.stage(f"training {job.title}", budget.ticks) as advance:
        tensors = [torch.from_numpy(feature) for feature in features]
        starts, wanted = tensors[: len(start.tensors)], tensors[len(crossing) :]
        ends = tensors[len(start.tensors) : len(crossing)] if early else starts
        curves = distil(module, teacher, Lesson(starts, ends, wanted), budget, checkpoint, advance)
    fitted = write_trained(start, end, module, starts, curves)
    if settings.streams and preprocessing is not None:
        rng = np.random.default_rng(0)
        moved_on = (head.run([neighbour(sample[0], rng)]) for sample in calibration[:_START])
        fitted = for_streams(fitted, list(zip(samples, moved_on, strict=True)))
    return fitted
