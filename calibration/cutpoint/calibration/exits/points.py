"""Points with exits: what the search kept, with an exit on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import onnx

from cutpoint.calibration.exits.fit import FittedExit
from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.graphs.spans import extract_span
from cutpoint.calibration.progress import Reporter
from cutpoint.calibration.search.measure import timed
from cutpoint.calibration.search.trials import Trial
from cutpoint.calibration.tasks import Judge, Verdict
from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Boundary, Exit, Measurement, Part, Point
from cutpoint.sdk.policy import efficient
from cutpoint.sdk.runtimes import Graph, create_runtime

__all__ = ["Spans", "add_exits", "exit_files", "spans_around"]

Tensors = tuple[Array, ...]
#: Samples that times are taken with.
_TIMED = 8


class Spans:
    """Loads spans of a model.

    Args:
        graph: the fp32 model.
        variants: precision → model.
        boundaries: of the bundle.
        threads: of the runtime.
    """

    def __init__(
        self, graph: ModelGraph, variants: Mapping[str, onnx.ModelProto], boundaries: Sequence[Boundary], threads: int
    ) -> None:
        self.runtime = create_runtime("onnx", threads)
        self._batch = graph.batch
        self._variants = variants
        self._boundaries = boundaries

    def span(self, start: int, end: int, precision: str) -> Graph:
        """The span between two boundaries. Raises `CalibrationError` if it cannot be cut out."""
        first, last = self._boundaries[start].tensors, self._boundaries[end].tensors
        cut = extract_span(self._variants[precision], first, last, self._batch)
        return self.runtime.load(cut.SerializeToString(), {})


def add_exits(
    exits: Sequence[FittedExit],
    trials: Sequence[Trial],
    samples: Sequence[Tensors],
    judge: Judge,
    spans: Spans,
    reporter: Reporter,
) -> tuple[list[Exit], list[Point]]:
    """The exits with their times, and the points that ask them and are worth it.

    What a point with an exit answers is known without running it: what the exit answers where it is sure, and what the
    point without it answered elsewhere.

    Args:
        exits: to ask.
        trials: that were kept, measured.
        samples: that they were measured on.
        judge: of the task.
        spans: of the model.
        reporter: hears what is done.
    """
    entries, points = [], []
    for fitted in exits:
        exit, graph = fitted.entry, spans.runtime.load(fitted.graph, {})
        head = spans.span(0, exit.boundary, exit.precision)
        confidence, verdicts = [], []
        with reporter.stage(f"measuring {exit.id}", len(samples)) as advance:
            for number, sample in enumerate(samples):
                *answer, sure = graph.run(head.run(sample))
                confidence.append(float(sure.item()))
                verdicts.append(judge.judge(number, answer))
                advance()
        head_ms, crossings = timed(head.run, samples[:_TIMED])
        exit_ms, _ = timed(graph.run, crossings)
        entries.append(msgspec.structs.replace(exit, ms=exit_ms))
        behind: dict[int, float] = {}
        for trial in trials:
            point = trial.point
            if point.precision != exit.precision or point.start < exit.boundary:
                continue
            if point.start not in behind:
                behind[point.start] = 0.0
                if point.start > exit.boundary:
                    rest = spans.span(exit.boundary, point.start, exit.precision)
                    behind[point.start], _ = timed(rest.run, crossings)
            device_ms = head_ms + exit_ms + behind[point.start]
            times = msgspec.structs.replace(trial.measured, device_ms=device_ms, exit_ms=head_ms + exit_ms)
            for which, threshold in enumerate(exit.thresholds):
                answered = np.array(confidence) >= threshold.confidence
                measured = _measured(trial, times, answered, verdicts, judge)
                name = f"{point.id}-exit{exit.boundary}" + (f"-{threshold.drop:g}" if len(exit.thresholds) > 1 else "")
                points.append(msgspec.structs.replace(point, id=name, measured=measured, exit=exit.id, threshold=which))
    kept = {point.id for point in efficient(points, by_metric=True)}
    return entries, [point for point in points if point.id in kept]


def _measured(
    trial: Trial, times: Measurement, answered: Array, verdicts: Sequence[Verdict], judge: Judge
) -> Measurement:
    """`times` with metric, bytes and rate where the exit answered some of the samples."""
    numbers = sorted(trial.verdicts)
    mixed: Mapping[int, Verdict] = {n: verdicts[n] if answered[n] else trial.verdicts[n] for n in numbers}
    # Where every sample ends at the exit, nothing is known of those that would not but what the point does alone.
    sizes = [size for n, size in zip(numbers, trial.sizes, strict=True) if not answered[n]] or trial.sizes
    return msgspec.structs.replace(
        times,
        metric=judge.score(mixed),
        bytes_mean=float(np.mean(sizes)),
        bytes_p95=float(np.percentile(sizes, 95)),
        exit_rate=float(np.mean([answered[n] for n in numbers])),
    )


def spans_around(points: Sequence[Point], exits: Sequence[Exit]) -> dict[tuple[int, int, str], Part]:
    """Start, end and precision of further spans, and which machine runs them.

    Devices need those up to an exit that a point asks, and from there to the end of its head; servers those from the
    end of a point to the exits that they may ask for it.
    """
    asked = {(point.exit, point.start) for point in points if point.exit is not None}
    places = [(exit, end) for exit in exits for id, end in asked if id == exit.id]
    heads = {(0, exit.boundary, exit.precision) for exit, _ in places}
    rests = {(exit.boundary, end, exit.precision) for exit, end in places if end > exit.boundary}
    around: dict[tuple[int, int, str], Part] = dict.fromkeys(sorted(heads | rests), "device")
    for exit, point in _served(points, exits):
        if point.end < exit.boundary:
            assert point.tail_precision is not None, "servers are asked at points with a tail"
            key = point.end, exit.boundary, point.tail_precision
            around[key] = "server" if around.get(key, "server") == "server" else "both"
    return around


def exit_files(
    fitted: Sequence[FittedExit], points: Sequence[Point], exits: Sequence[Exit]
) -> dict[str, tuple[Part, bytes]]:
    """The graphs of `exits`: path → (which machine needs it, content)."""
    graphs = {each.entry.id: each for each in fitted}
    devices, servers = {point.exit for point in points}, {exit.id for exit, _ in _served(points, exits)}
    files: dict[str, tuple[Part, bytes]] = {}
    for exit in exits:
        part: Part = "device" if exit.id not in servers else "both" if exit.id in devices else "server"
        files[graphs[exit.id].path] = part, graphs[exit.id].graph
    return files


def _served(points: Sequence[Point], exits: Sequence[Exit]) -> list[tuple[Exit, Point]]:
    """Exits, and the points for which servers may ask them."""
    return [(exit, point) for exit in exits for use in exit.servers for point in points if point.id == use.point]
