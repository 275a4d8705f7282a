"""Trained codecs of a bundle: at which boundaries, on which pictures, started from what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from cutpoint.calibration.codecs import FittedCodec
from cutpoint.calibration.data import Source, load_samples, open_dataset, shuffled
from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graph import ModelGraph
from cutpoint.calibration.klt import design_klt
from cutpoint.calibration.progress import Reporter
from cutpoint.calibration.sensitivity import SAMPLES, Divergence
from cutpoint.calibration.settings import Settings
from cutpoint.calibration.spans import extract_span
from cutpoint.calibration.tasks import is_classification
from cutpoint.calibration.work import WorkFolder, digest
from cutpoint.codecs import Array, TensorSpec
from cutpoint.sdk.bundle import Boundary, Preprocessing
from cutpoint.sdk.runtimes import Graph, create_runtime

__all__ = ["choose_boundaries", "collect_features", "fit_bottlenecks", "training_sources"]

#: Values of features and outputs that training holds in memory at most (float16: 2 GB).
_VALUES = 2**30
#: Pictures in memory at a time while features are computed.
_CHUNK = 128
#: Up to this share of the model's multiply-accumulates a cut is early enough to be worth much to a weak device.
_EARLY = 0.6
#: Calibration samples that the start is fitted to.
_START = 100


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
        by_label = {boundary.label: boundary for boundary in inner}
        if unknown := [label for label in wanted if label not in by_label]:
            known = ", ".join(by_label) or "none"
            raise CalibrationError(f"no cut {unknown[0]!r} to train a codec at; the cuts of this bundle: {known}")
        return sorted({by_label[label].index: by_label[label] for label in wanted}.values(), key=lambda b: b.index)
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


def fit_bottlenecks(
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
    """`bottleneck` at the boundaries that were asked for.

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
    """
    fitted = []
    found = [(source.path, source.path.stat()) for source in sources]
    names = "\n".join(f"{path} {stat.st_size} {stat.st_mtime_ns}" for path, stat in found)
    for boundary in choose_boundaries(boundaries, settings.train_cuts):
        budget = f"{settings.train_steps} {settings.train_minutes}"
        own = digest(key, msgspec.json.encode(boundary), names, budget)

        def make(boundary: Boundary = boundary, own: str = own) -> bytes:
            checkpoint = work.path / f"training-{own}"
            given = calibration, sources, preprocessing, checkpoint, reporter
            codec = _fit(settings, graph, boundaries, boundary, *given)
            return msgspec.msgpack.encode(codec)

        fitted.append(msgspec.msgpack.decode(work.get("bottleneck", own, make), type=FittedCodec))
    return fitted


def _fit(
    settings: Settings,
    graph: ModelGraph,
    boundaries: Sequence[Boundary],
    boundary: Boundary,
    calibration: Sequence[Sequence[Array]],
    sources: Sequence[Source],
    preprocessing: Preprocessing | None,
    checkpoint: Path,
    reporter: Reporter,
) -> FittedCodec:
    import torch

    from cutpoint.calibration.bottleneck import start_bottleneck, train_bottleneck
    from cutpoint.calibration.teacher import Teacher
    from cutpoint.calibration.training import Budget

    outputs = boundaries[-1].tensors
    classes = is_classification(outputs)
    tail = extract_span(graph.model, boundary.tensors, outputs, graph.batch)
    head = extract_span(graph.model, boundaries[0].tensors, boundary.tensors, graph.batch)
    whole = extract_span(graph.model, boundaries[0].tensors, (*boundary.tensors, *outputs), graph.batch)
    runtime = create_runtime("onnx", torch.get_num_threads())
    head_graph, tail_graph, whole_graph = (runtime.load(s.SerializeToString(), {}) for s in (head, tail, whole))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    teacher = Teacher(tail, classes, graph.batch, device)
    samples = [head_graph.run(sample) for sample in calibration[:_START]]
    with reporter.stage(f"starting bottleneck at {boundary.label}", 1):
        fit, steps = design_klt(boundary, samples, Divergence(tail_graph.run, outputs, samples[:SAMPLES]))
        module = start_bottleneck(fit, steps)
    most = max(1, _VALUES // sum(spec.size for spec in (*boundary.tensors, *outputs)))
    with reporter.stage(f"features at {boundary.label}", min(most, len(sources))) as advance:
        specs = boundaries[0].tensors
        features = collect_features(whole_graph, sources, specs, preprocessing, most, advance)
    budget = Budget(settings.train_steps, settings.train_minutes)
    with reporter.stage(f"training bottleneck at {boundary.label}", budget.ticks) as advance:
        tensors = [torch.from_numpy(feature) for feature in features]
        count = len(boundary.tensors)
        return train_bottleneck(
            boundary, module, teacher, tensors[:count], tensors[count:], budget, checkpoint, advance
        )


def collect_features(
    span: Graph,
    sources: Sequence[Source],
    specs: Sequence[TensorSpec],
    preprocessing: Preprocessing | None,
    most: int,
    advance: Callable[[], None] = lambda: None,
) -> list[Array]:
    """What a span gives (samples, …), float16, for files; for pictures also mirrored while there is room.

    Args:
        span: from boundary 0 on.
        sources: files, the first ones first.
        specs: of boundary 0.
        preprocessing: of boundary 0; None: the files hold tensors.
        most: samples.
        advance: called for each file.

    Raises:
        CalibrationError: if no file can be read.
    """
    plain: list[tuple[Array, ...]] = []
    mirrored: list[tuple[Array, ...]] = []
    for start in range(0, min(most, len(sources)), _CHUNK):
        chunk = sources[start : min(start + _CHUNK, most)]
        for sample in load_samples(chunk, len(chunk), specs, preprocessing, advance).tensors:
            plain.append(_halved(span.run(sample)))
            if preprocessing is not None and len(sources) + len(mirrored) < most:
                mirrored.append(_halved(span.run([np.ascontiguousarray(sample[0][:, :, ::-1])])))
    if not plain:
        raise CalibrationError("none of the files to train on could be read")
    return [np.concatenate(values) for values in zip(*plain, *mirrored, strict=True)]


def _halved(tensors: Sequence[Array]) -> tuple[Array, ...]:
    limit = float(np.finfo(np.float16).max)
    return tuple(np.clip(tensor, -limit, limit).astype(np.float16) for tensor in tensors)
