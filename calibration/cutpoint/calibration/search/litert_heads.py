"""Whether int8 `.tflite` heads keep what points promise.

Points are measured with onnxruntime's int8 head. LiteRT's is another one – its own ranges at fused layers, its own
rounding – and a device that runs it is promised the same accuracy. So every kept point with such a head is answered
again as that device does it, head and encoder in LiteRT. A head whose points lose more than int8 may cost, beyond
what chance explains, gets no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt

import msgspec
import numpy as np

from cutpoint.calibration.progress import Reporter
from cutpoint.calibration.report.data import LitertHead
from cutpoint.calibration.search.measure import Bench, timed
from cutpoint.calibration.search.points import group_by_head
from cutpoint.calibration.search.trials import Trial
from cutpoint.calibration.settings import Settings
from cutpoint.calibration.tasks import Judge, Verdict, agreement
from cutpoint.calibration.work import WorkFolder, digest
from cutpoint.calibration.yardstick import Yardstick
from cutpoint.sdk.bundle import Bundle, GraphFile, Manifest, Part, Span
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.runtimes import create_runtime

__all__ = ["check_heads", "fall"]

#: Parts that samples are divided into, each left out in turn.
_PARTS = 10
#: Samples that heads are timed and compared on.
_TIMED = 6


def fall(
    judge: Judge, before: Sequence[Mapping[int, Verdict]], after: Sequence[Mapping[int, Verdict]]
) -> tuple[float, float]:
    """By how much the metric falls, the mean over points, and how much of that chance explains.

    Chance is two standard errors by the grouped jackknife (Wolter, Introduction to Variance Estimation, chapter 4):
    each tenth of the samples is left out in turn.

    Args:
        judge: of the task.
        before: of each point, sample number → verdict.
        after: the same points and samples.
    """
    numbers = sorted(before[0])
    parts = [set(numbers[part::_PARTS]) for part in range(min(_PARTS, len(numbers)))]

    def difference(left_out: set[int]) -> float:
        def score(verdicts: Mapping[int, Verdict]) -> float:
            return judge.score({number: verdict for number, verdict in verdicts.items() if number not in left_out})

        return float(np.mean([score(a) - score(b) for a, b in zip(before, after, strict=True)]))

    if len(parts) < 2:
        return difference(set()), 1.0
    without = np.array([difference(part) for part in parts])
    error = sqrt((len(parts) - 1) / len(parts) * float(np.square(without - without.mean()).sum()))
    return difference(set()), 2 * error


def check_heads(
    settings: Settings,
    manifest: Manifest,
    files: Mapping[str, tuple[Part, bytes]],
    trials: Sequence[Trial],
    yardstick: Yardstick,
    work: WorkFolder,
    reporter: Reporter,
) -> tuple[Manifest, dict[str, tuple[Part, bytes]], tuple[LitertHead, ...]]:
    """Takes the `.tflite` files of int8 heads out of a bundle that do not keep what its points promise.

    Args:
        settings: say what int8 may cost.
        manifest: of the bundle, with everything that is kept.
        files: of the bundle.
        trials: those that are kept.
        yardstick: what points were measured on.
        work: for what was measured.
        reporter: hears what is done, and what is rejected.

    Returns:
        Manifest and files without those, and what all of the heads are worth in LiteRT.
    """
    there = {span.end for span in manifest.spans if span.start == 0 and span.precision == "int8" and _tflite(span)}
    points = [trial.point for trial in trials if trial.point.precision == "int8" and trial.point.start in there]
    if not points:
        return manifest, dict(files), ()
    bundle = Bundle.create(manifest, files)
    runtimes = [create_runtime("litert", settings.threads), create_runtime("onnx", settings.threads)]
    graphs = BundleGraphs(bundle, runtimes), BundleGraphs(bundle, runtimes[1:])
    bench = Bench(
        graphs[0],
        yardstick.samples.tensors,
        yardstick.judge,
        work,
        digest(bundle.hash, yardstick.samples.fingerprint(), "litert"),
    )
    of = {trial.id: trial for trial in trials}
    groups = list(group_by_head(points))
    with reporter.stage("checking int8 heads in LiteRT", len(groups)) as advance:
        heads = []
        for group in groups:
            heads.append(_check([of[point.id] for point in group], bench, graphs, yardstick, settings.int8_drop))
            advance()
    spans: list[Span] = []
    rejected = {head.end for head in heads if head.reason}
    for head in heads:
        if head.reason:
            reporter.note(head.reason)
    for span in manifest.spans:
        if span.start == 0 and span.precision == "int8" and span.end in rejected:
            rest = tuple(graph for graph in span.graphs if graph not in _tflite(span))
            span = msgspec.structs.replace(span, graphs=rest)
        spans.append(span)
    # Of the weights behind a rejected head, others may need some.
    needed, before = (
        {path for span in of for graph in span.graphs for path in graph.paths()} for of in (spans, manifest.spans)
    )
    left = {path: entry for path, entry in files.items() if path not in before - needed}
    return msgspec.structs.replace(manifest, spans=tuple(spans)), left, tuple(heads)


def _check(
    trials: Sequence[Trial], bench: Bench, graphs: tuple[BundleGraphs, BundleGraphs], yardstick: Yardstick, drop: float
) -> LitertHead:
    """One head in LiteRT. `graphs` are those of a device that prefers LiteRT, and of one without."""
    judge, manifest = yardstick.judge, graphs[0].bundle.manifest
    points = [trial.point for trial in trials]
    end = points[0].start
    judged = min(len(trial.verdicts) for trial in trials)
    answers = bench.judge(points, 0, judged)
    before = [{number: trial.verdicts[number] for number in range(judged)} for trial in trials]
    after = [{number: answer.verdict for number, answer in enumerate(answers[point.id])} for point in points]
    lost, chance = fall(judge, before, after)
    sizes = sum(size for trial in trials for size in trial.sizes[:judged])
    samples = yardstick.samples.tensors[:_TIMED]
    (litert_ms, given), (ms, wanted) = (timed(graph.span(0, end, "int8").run, samples) for graph in graphs)
    metric, litert_metric = (float(np.mean([judge.score(verdicts) for verdicts in side])) for side in (before, after))
    label, reason = manifest.boundaries[end].label, ""
    if lost > drop + chance + 1e-9:
        reason = (
            f"the int8 head up to {label} has no .tflite file: its points have {metric:.1%} of {judge.metric} in "
            f"onnxruntime and {litert_metric:.1%} in LiteRT; --int8-drop is {drop:.1%}, chance explains {chance:.1%}"
        )
    return LitertHead(
        cut=label,
        end=end,
        points=len(points),
        metric=round(metric, 6),
        litert_metric=round(litert_metric, 6),
        chance=round(chance, 6),
        ms=ms,
        litert_ms=litert_ms,
        apart=round(float(np.mean([1 - agreement(a, b) for a, b in zip(given, wanted, strict=True)])), 6),
        bytes_ratio=round(sum(answer.size for point in points for answer in answers[point.id]) / sizes, 6)
        if sizes
        else None,
        reason=reason,
    )


def _tflite(span: Span) -> tuple[GraphFile, ...]:
    return tuple(graph for graph in span.graphs if graph.format == "tflite")
