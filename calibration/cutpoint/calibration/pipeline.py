"""The way from a model and pictures to a bundle."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from time import monotonic

import msgspec
import onnx

from cutpoint.calibration.codecs.entries import FittedCodec, on_servers
from cutpoint.calibration.codecs.fitted import convert_codecs, fit_codecs
from cutpoint.calibration.conversion import Conversion, Convert, head_converter
from cutpoint.calibration.data import Dataset, Samples, open_dataset
from cutpoint.calibration.devices import for_device, steering, with_devices
from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.exits.fit import ExitData, ExitFitting, FittedExit, check_exits
from cutpoint.calibration.exits.points import Spans, add_exits, exit_files, spans_around
from cutpoint.calibration.exits.servers import ServerExits
from cutpoint.calibration.extras import EXIT_PACKAGES, TFLITE_PACKAGES, TRAINING_PACKAGES, require
from cutpoint.calibration.graphs.cuts import Cut, choose_cuts, pick_cuts
from cutpoint.calibration.graphs.exports import ExportedSpans, export_spans
from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.graphs.min_cut import find_candidates
from cutpoint.calibration.graphs.node_profile import node_times, prefix_times
from cutpoint.calibration.graphs.prepare import check_faithful, prepare_graph
from cutpoint.calibration.importers import import_model
from cutpoint.calibration.progress import Reporter
from cutpoint.calibration.report import add_page
from cutpoint.calibration.report.data import REPORT_NAME, CutReport, LitertHead, ReportData, SearchReport, encode_report
from cutpoint.calibration.search.cut_report import prediction_error, report_cuts
from cutpoint.calibration.search.device_part import drop_large_encoders, only_to, small_heads
from cutpoint.calibration.search.halving import search
from cutpoint.calibration.search.litert_heads import check_heads
from cutpoint.calibration.search.measure import WORKERS, Bench
from cutpoint.calibration.search.memory import DeviceMemory
from cutpoint.calibration.search.points import find_baselines, make_points, middle_spans, used_spans
from cutpoint.calibration.search.scope import MODES, Scope
from cutpoint.calibration.search.trials import Trial, report_trial
from cutpoint.calibration.settings import Settings
from cutpoint.calibration.slices.points import Draft, add_slices, channel_states, local_boundaries
from cutpoint.calibration.slices.shared import CutSlice, cut_slices, with_row_axes
from cutpoint.calibration.splits import Splits, load_splits
from cutpoint.calibration.tasks import Judge
from cutpoint.calibration.training.codecs import fit_trained, training_sources
from cutpoint.calibration.variants import Variants, make_variants
from cutpoint.calibration.work import WorkFolder, digest
from cutpoint.calibration.yardstick import measure_uncut, spare_yardstick
from cutpoint.sdk.bundle import SCHEMA, Boundary, Bundle, DeviceProfile, Manifest, Part, Task
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.profiles import load_profile
from cutpoint.sdk.runtimes import create_runtime

__all__ = ["Result", "run_calibration"]


@dataclass(frozen=True)
class Result:
    """What a calibration gave.

    Attributes:
        bundle: as written.
        skipped: files that could not be read, with the reason.
        calibrated_on: number of samples.
        reused: steps taken over from an interrupted run.
        report: what was tried, and why it was kept or not.
    """

    bundle: Bundle
    skipped: tuple[tuple[str, str], ...]
    calibrated_on: int
    reused: int
    report: ReportData


def run_calibration(settings: Settings, reporter: Reporter, clock: Callable[[], float] = monotonic) -> Result:
    """Calibrates and writes the bundle.

    Args:
        settings: what to do.
        reporter: hears what is done.
        clock: seconds, that the budget is counted by.

    Raises:
        CalibrationError: if model, data or settings cannot be worked with.
        BundleError: if the output cannot be written.
    """
    if settings.out.exists() and not settings.overwrite:
        raise CalibrationError(f"{settings.out} exists: remove it, or add --overwrite")
    if settings.runtimes is not None and "tflite" in settings.runtimes:
        require(TFLITE_PACKAGES, "writing .tflite heads")
    if settings.trains:
        require(TRAINING_PACKAGES, "training codecs")
    if settings.exits:
        require(EXIT_PACKAGES, "training exits")
    dataset = open_dataset(settings.data, settings.labels)
    evaluation = open_dataset(settings.evaluation, settings.labels) if settings.evaluation else None
    devices = [load_profile(path) for path in settings.devices]
    started = clock()
    with WorkFolder(settings.work_folder) as work:
        result = _calibrate(settings, dataset, evaluation, devices, work, reporter, clock, started)
        work.remove()
    return result


def _calibrate(
    settings: Settings,
    dataset: Dataset,
    evaluation: Dataset | None,
    devices: Sequence[DeviceProfile],
    work: WorkFolder,
    reporter: Reporter,
    clock: Callable[[], float],
    started: float,
) -> Result:
    with reporter.stage("importing the model", 1):
        imported = import_model(settings.model, settings.input_shape, settings.weights)
    data = load_splits(settings, imported, dataset, evaluation, reporter)
    with reporter.stage("preparing the graph", 1):
        graph, names = prepare_graph(imported, data.preprocessing)
        check_faithful(imported, graph, names, data.calibration.tensors[:2])
    yardstick = measure_uncut(settings, graph, data.evaluation, data.preprocessing, reporter)
    judge, uncut = yardstick.judge, yardstick.uncut
    labels = settings.labels or data.classes
    if labels and judge.metric == "top1" and len(labels) != judge.classes:
        raise CalibrationError(f"{len(labels)} class names for a model with {judge.classes} scores: see --labels")
    check_exits(settings, judge, graph.outputs)
    with reporter.stage("finding boundaries", 1):
        times = _node_times(settings, graph, data.calibration, work)
        graph, candidates = find_candidates(graph, times)
        boundaries = _boundaries(settings, graph, candidates)
    if settings.slices:
        local_boundaries(graph, boundaries)
    model_key = digest(graph.model.SerializeToString(deterministic=True), data.calibration.fingerprint())

    spare = None
    if "int8" in settings.precisions:
        half = dataset.folder, data.training, data.calibration, data.preprocessing
        spare = spare_yardstick(settings, graph, *half, reporter)
    variants = make_variants(settings, graph, data.calibration, spare, work, model_key, reporter)
    exits: list[FittedExit] = []
    divided: ExitData | None = None
    if settings.exits:
        measured = data.evaluation.sources
        divided = ExitData.divide(settings, data.training, data.calibration.sources, measured, data.preprocessing)
        exits = ExitFitting(settings, graph, variants.models, boundaries, divided, work, model_key, reporter).run()
    exported = _spans(graph, variants.models, boundaries, None, None, reporter)
    samples, pictures = data.calibration.tensors, data.preprocessing is not None
    codecs = fit_codecs(settings, boundaries, exported, samples, pictures, work, model_key, reporter)
    if settings.trains:
        sources = training_sources(settings, data.training, data.evaluation.sources)
        given = samples, sources, data.preprocessing
        codecs += fit_trained(settings, graph, boundaries, *given, work, model_key, reporter)
    if not codecs:
        raise CalibrationError(f"no codec of {', '.join(settings.codecs)} fits any boundary of this model; add raw")
    manifest = Manifest(
        schema=SCHEMA,
        name=settings.name or imported.name,
        created_by=f"cutpoint {_version('cutpoint')}",
        task=Task(judge.kind, judge.metric, uncut, len(data.evaluation.tensors), labels),
        boundaries=boundaries,
        spans=exported.spans,
        codecs=tuple(codec.entry for codec in codecs),
        points=make_points(exported.spans, [codec.entry for codec in codecs], len(boundaries) - 1),
        preprocessing=data.preprocessing,
        measured_on=_machine(settings.threads),
    )
    files = dict(exported.files)
    for codec in codecs:
        files |= codec.files
    whole = Bundle.create(manifest, files)
    device = steering(whole, devices)
    trials = _search(settings, whole, data, judge, graph, device, work, reporter, clock, started)
    drop_large_encoders(trials, whole)
    points = tuple(msgspec.structs.replace(trial.point, measured=trial.measured) for trial in trials if trial.kept)
    spans = Spans(graph, variants.models, boundaries, settings.threads)
    kept = [trial for trial in trials if trial.kept]
    entries, more = add_exits(exits, kept, data.evaluation.tensors, judge, spans, reporter)
    if divided is not None:
        servers = ServerExits(whole, spans, divided, settings.exit_drops, work, reporter)
        entries = servers.add(entries, exits, kept, data.evaluation.tensors)
    points += tuple(more)
    wanted = used_spans(points, len(boundaries) - 1)
    middle = middle_spans(points) if settings.between else frozenset()
    places = {point.end for point in points if not point.local}
    pieces = cut_slices(graph, boundaries, places, settings.node_slices) if settings.node_slices else []
    used = {point.codec for point in points}
    codecs = [on_servers(codec) if settings.between else codec for codec in codecs if codec.entry.id in used]
    conversion = Conversion(imported, graph, boundaries[-1], samples, data.preprocessing, spare, model_key)
    convert = head_converter(settings, conversion, work, reporter)
    if convert is not None:
        made = convert_codecs(codecs, boundaries, graph, samples[0], work, reporter)
        with reporter.stage("converting heads", 1) as advance:
            ends = small_heads(variants.models, boundaries, wanted, made, convert)
            advance()
        convert = only_to(ends, convert)
        there = ends | {0}
        codecs = [new if new.entry.start in there else old for old, new in zip(codecs, made, strict=True)]
    around = spans_around(points, entries)
    exported = _spans(graph, variants.models, boundaries, wanted, convert, reporter, middle, around, pieces)
    asked = {point.exit for point in points}
    entries = [entry for entry in entries if entry.id in asked or entry.servers]
    files = dict(exported.files) | exit_files(exits, points, entries)
    for codec in codecs:
        files |= codec.files
    manifest = msgspec.structs.replace(
        manifest,
        spans=exported.spans,
        codecs=tuple(codec.entry for codec in codecs),
        points=points,
        boundaries=with_row_axes(graph, boundaries, pieces),
        slices=exported.slices,
        exits=tuple(entries),
    )
    manifest, files, litert = check_heads(settings, manifest, files, kept, yardstick, work, reporter)
    cuts = _cut_reports(graph, candidates, boundaries, times, trials)
    report = _report(settings, whole, trials, cuts, codecs, variants, litert, device, clock() - started)
    files[REPORT_NAME] = "report", encode_report(report)
    if settings.slices:
        draft, states = Draft(graph, manifest, files), channel_states(settings.slices)
        evaluated = data.evaluation.tensors
        draft = add_slices(draft, states, settings.codecs, evaluated, judge, settings.threads, reporter)
        manifest, files = draft.manifest, draft.files
    manifest = with_devices(Bundle.create(manifest, files), devices, reporter)
    bundle = Bundle.create(manifest, add_page(manifest, files))
    bundle.save(settings.out, overwrite=settings.overwrite)
    return Result(bundle, data.skipped, len(data.calibration.tensors), work.reused, report)


def _search(
    settings: Settings,
    bundle: Bundle,
    data: Splits,
    judge: Judge,
    graph: ModelGraph,
    device: DeviceProfile | None,
    work: WorkFolder,
    reporter: Reporter,
    clock: Callable[[], float],
    started: float,
) -> list[Trial]:
    manifest = bundle.manifest
    graphs = BundleGraphs(bundle, [create_runtime("onnx", settings.threads)])
    key = digest(bundle.hash, data.evaluation.fingerprint())
    memory = DeviceMemory(bundle, graph)
    scope = Scope(
        mode=MODES[settings.mode],
        baselines=find_baselines(manifest.points, manifest.codecs, settings.between),
        uncut=f"cut{manifest.last}-fp32",
        constraints=settings.constraints,
        most=settings.points,
        seed=settings.seed,
        keep_all=settings.keep_all,
        memory=memory,
        workers=WORKERS,
    )
    bench = Bench(graphs, data.evaluation.tensors, judge, work, key)
    budget = settings.budget
    scope = for_device(scope, bundle, device)
    return search(manifest.points, bench, scope, reporter, clock, None if budget is None else started + budget)


def _node_times(settings: Settings, graph: ModelGraph, samples: Samples, work: WorkFolder) -> list[float]:
    """Milliseconds of each node; kept, because boundaries depend on them."""

    def make() -> bytes:
        return msgspec.json.encode(node_times(graph, samples.tensors[0], settings.threads))

    key = digest(graph.model.SerializeToString(deterministic=True), samples.fingerprint(), str(settings.threads))
    return msgspec.json.decode(work.get("nodes", key, make), type=list[float])


def _cut_reports(
    graph: ModelGraph,
    candidates: Sequence[Cut],
    boundaries: Sequence[Boundary],
    times: Sequence[float],
    trials: Sequence[Trial],
) -> tuple[CutReport, ...]:
    heads = {t.point.start: t.measured.device_ms for t in trials if t.point.precision == "fp32" and not t.point.local}
    whole_ms = next(t.measured.device_ms for t in trials if t.point.local and t.point.precision == "fp32")
    return report_cuts(graph, candidates, boundaries, prefix_times(times, whole_ms), heads)


def _report(
    settings: Settings,
    whole: Bundle,
    trials: Sequence[Trial],
    cuts: tuple[CutReport, ...],
    codecs: Sequence[FittedCodec],
    variants: Variants,
    litert: tuple[LitertHead, ...],
    device: DeviceProfile | None,
    spent: float,
) -> ReportData:
    return ReportData(
        search=SearchReport(
            settings.mode,
            settings.budget,
            round(spent, 1),
            settings.seed,
            settings.constraints.flat(),
            device.name if device is not None else None,
        ),
        trials=tuple(report_trial(trial, whole.manifest) for trial in trials),
        cuts=cuts,
        prediction_error=prediction_error(cuts),
        losses={codec.entry.id: path for codec in codecs for path in codec.files if path.startswith("report/")},
        int8=variants.int8,
        litert=litert,
        notes=(*variants.notes, *(head.reason for head in litert if head.reason)),
    )


def _boundaries(settings: Settings, graph: ModelGraph, candidates: Sequence[Cut]) -> tuple[Boundary, ...]:
    total = sum(graph.macs)
    if isinstance(settings.cuts, int):
        elements = sum(spec.size for spec in graph.inputs)
        cuts = choose_cuts(candidates, total, settings.cuts, elements)
    else:
        cuts = pick_cuts(graph, settings.cuts)
    inner = [
        Boundary(index, tuple(graph.specs[name] for name in cut.tensors), cut.label, cut.macs)
        for index, cut in enumerate(cuts, start=1)
    ]
    return (
        Boundary(0, graph.inputs, "input"),
        *inner,
        Boundary(len(inner) + 1, graph.outputs, "output", total),
    )


def _spans(
    graph: ModelGraph,
    variants: Mapping[str, onnx.ModelProto],
    boundaries: Sequence[Boundary],
    wanted: frozenset[tuple[int, int, str]] | None,
    convert: Convert | None,
    reporter: Reporter,
    middle: frozenset[tuple[int, int]] = frozenset(),
    around: Mapping[tuple[int, int, str], Part] | None = None,
    pieces: Sequence[CutSlice] = (),
) -> ExportedSpans:
    last = len(boundaries) - 1
    total = len(middle) + (len(wanted) if wanted is not None else len(variants) * last + last - 1)
    with reporter.stage("writing spans", total) as advance:
        exported = export_spans(graph, variants, boundaries, wanted, middle, around, convert, advance, pieces)
    for (end, precision), reason in exported.lacking.items():
        reporter.note(f"no {precision} head for boundary {end}: {reason}")
    return exported


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def _machine(threads: int) -> str:
    plural = "s" if threads > 1 else ""
    return f"{platform.machine()} {platform.system()}, onnxruntime {_version('onnxruntime')}, {threads} thread{plural}"
