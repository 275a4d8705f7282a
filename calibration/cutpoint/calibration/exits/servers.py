"""Exits on servers: for which points an overloaded server may ask them, and from which confidence on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from cutpoint.calibration.data import load_samples
from cutpoint.calibration.exits.fit import CERTAINTY, ExitData, FittedExit, fingerprint
from cutpoint.calibration.exits.points import Spans
from cutpoint.calibration.exits.thresholds import choose_threshold
from cutpoint.calibration.progress import Reporter
from cutpoint.calibration.search.measure import timed
from cutpoint.calibration.search.trials import Trial
from cutpoint.calibration.work import WorkFolder, digest
from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Bundle, Exit, Point, ServerExit, Threshold
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.policy import efficient
from cutpoint.sdk.runtimes import Graph
from cutpoint.sdk.tail import Tail

__all__ = ["ServerExits"]

Tensors = tuple[Array, ...]
#: Samples that times are taken with.
_TIMED = 8


class _Way(NamedTuple):
    """From what a point's decoder gives to an exit's answer.

    Attributes:
        exit: the exit.
        point: the point.
        span: up to the exit; None where the point ends there.
        graph: of the exit.
        ms: decoder included.
    """

    exit: Exit
    point: Point
    span: Graph | None
    graph: Graph
    ms: float

    def run(self, tensors: Tensors) -> Tensors:
        """The exit's outputs, then its confidence."""
        return self.graph.run(tensors if self.span is None else self.span.run(tensors))


class ServerExits:
    """Finds out what may be promised of exits behind decoders, on inputs that nothing was fitted to.

    What a decoder gives is not what the device's head gave, and the spans of servers are those of fp32: an exit gets
    thresholds of its own for every point. Spoilt is an answer that is wrong where the point's own is right; without
    labels, one that is not the point's own. All of these promises hold together with the usual certainty. Points are
    those that no other beats, and a way is taken only if it answers more requests in a worker's time than the tail.

    Args:
        bundle: with all that might be kept.
        spans: of the model.
        data: what is held out.
        drops: to be promised.
        work: for finished steps.
        reporter: hears what is done.
    """

    def __init__(
        self,
        bundle: Bundle,
        spans: Spans,
        data: ExitData,
        drops: Sequence[float],
        work: WorkFolder,
        reporter: Reporter,
    ) -> None:
        self._graphs = BundleGraphs(bundle, [spans.runtime])
        self._tail = Tail(self._graphs)
        self._spans = spans
        self._data = data
        self._drops = sorted(drops)
        self._work = work
        self._reporter = reporter

    def add(
        self, exits: Sequence[Exit], fitted: Sequence[FittedExit], trials: Sequence[Trial], samples: Sequence[Tensors]
    ) -> list[Exit]:
        """The exits with what servers may do with them.

        Args:
            exits: for the manifest.
            fitted: the same, with their graphs.
            trials: that were kept, measured.
            samples: to take times with.
        """
        remote = [trial for trial in trials if not trial.point.local]
        points = efficient([msgspec.structs.replace(t.point, measured=t.measured) for t in remote], by_metric=True)
        ways = self._ways(exits, fitted, points, samples[:_TIMED])
        if not ways:
            return list(exits)
        ids, files = " ".join(f"{way.exit.id}@{way.point.id}" for way in ways), fingerprint(self._data.held_out)
        key = digest(self._graphs.bundle.hash, ids, files, *(each.graph for each in fitted))
        data = self._work.get("servers", key, lambda: msgspec.json.encode(self._tested(ways)))
        tested = msgspec.json.decode(data, type=list[list[tuple[float, bool, bool]]])
        found: dict[str, list[ServerExit]] = {}
        certainty = 1 - (1 - CERTAINTY) / (len(ways) * len(self._drops))
        for way, rows in zip(ways, tested, strict=True):
            confidence, good, spoilt = (np.array(column) for column in zip(*rows, strict=True))
            for drop in self._drops:
                chosen = choose_threshold(confidence, spoilt, drop, certainty)
                measured = way.point.measured
                if chosen is None or chosen.rate * (measured.decode_ms + measured.tail_ms) <= way.ms:
                    continue
                metric = float(good[confidence >= chosen.confidence].mean())
                threshold = Threshold(chosen.confidence, drop, CERTAINTY, len(rows), chosen.rate, metric)
                found.setdefault(way.exit.id, []).append(ServerExit(way.point.id, threshold, round(way.ms, 4)))
        return [msgspec.structs.replace(exit, servers=tuple(found.get(exit.id, ()))) for exit in exits]

    def _ways(
        self, exits: Sequence[Exit], fitted: Sequence[FittedExit], points: Sequence[Point], samples: Sequence[Tensors]
    ) -> list[_Way]:
        """Those that take less than the point's tail."""
        graphs = {each.entry.id: self._spans.runtime.load(each.graph, {}) for each in fitted}
        ways: list[_Way] = []
        known: dict[tuple[str, int, str], tuple[Graph | None, float]] = {}
        for point in points:
            decoded = None
            for exit in exits:
                if point.end > exit.boundary:
                    continue
                assert point.tail_precision is not None, "a point that sends something has a tail"
                key = exit.id, point.end, point.tail_precision
                if key not in known:
                    span = self._spans.span(*_between(point, exit)) if point.end < exit.boundary else None
                    if decoded is None:
                        decoded = [self._decoded(point, self._crossing(point, sample)) for sample in samples]
                    ms, _ = timed(_Way(exit, point, span, graphs[exit.id], 0.0).run, decoded)
                    known[key] = span, ms
                span, ms = known[key]
                way = _Way(exit, point, span, graphs[exit.id], point.measured.decode_ms + ms)
                if way.ms < point.measured.decode_ms + point.measured.tail_ms:
                    ways.append(way)
        return ways

    def _tested(self, ways: Sequence[_Way]) -> list[list[tuple[float, bool, bool]]]:
        """Of every way and held-out input: the confidence, whether the answer is good, and whether it is spoilt."""
        rows: list[list[tuple[float, bool, bool]]] = [[] for _ in ways]
        sources, specs = self._data.held_out, self._graphs.bundle.manifest.boundaries[0].tensors
        with self._reporter.stage("testing exits for servers", len(sources)) as advance:
            for source in sources:
                loaded = load_samples([source], 1, specs, self._data.preprocessing, advance)
                if not loaded.tensors:
                    continue
                heads: dict[tuple[int, str | None], Tensors] = {}
                own: dict[str, tuple[Tensors, int]] = {}
                for way, row in zip(ways, rows, strict=True):
                    point = way.point
                    if point.id not in own:
                        head = point.start, point.precision
                        if head not in heads:
                            heads[head] = self._crossing(point, loaded.tensors[0])
                        decoded = self._decoded(point, heads[head])
                        own[point.id] = decoded, int(self._tail.graph(point).run(decoded)[0].argmax())
                    decoded, answer = own[point.id]
                    scores, confidence = way.run(decoded)
                    right = answer if source.label is None else source.label
                    good = int(scores.argmax()) == right
                    row.append((float(confidence.item()), good, not good and answer == right))
        return rows

    def _crossing(self, point: Point, sample: Tensors) -> Tensors:
        """The tensors of boundary `point.start`."""
        if not point.start:
            return sample
        assert point.precision is not None, "a point with a head has its precision"
        return self._graphs.span(0, point.start, point.precision).run(sample)

    def _decoded(self, point: Point, tensors: Tensors) -> Tensors:
        """What the server gets of them."""
        assert point.codec is not None, "local points send nothing"
        return self._tail.decode(point, self._graphs.codec(point.codec).encode(tensors, point.level))


def _between(point: Point, exit: Exit) -> tuple[int, int, str]:
    assert point.tail_precision is not None, "a point that sends something has a tail"
    return point.end, exit.boundary, point.tail_precision
