"""What each operating point costs and gives, measured with the code that runs it later."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from statistics import median
from time import perf_counter, sleep
from typing import Any

import msgspec
import numpy as np

from cutpoint.calibration.tasks import Judge, Verdict, agreement
from cutpoint.calibration.work import WorkFolder, digest
from cutpoint.codecs import Array, Codec
from cutpoint.sdk.bundle import Measurement, Point
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.runtimes import Graph
from cutpoint.sdk.tail import Tail

__all__ = ["WORKERS", "Answer", "Bench", "Probe", "answers", "time_points", "timed", "uncut_answers"]

#: Runs of each point in a round of timing, and rounds, after one round of warming up.
_RUNS = 6
_ROUNDS = 3
#: The longest pause before each machine's part of a run, seconds.
_PAUSE = 0.005

#: Samples that are judged side by side.
WORKERS = min(4, os.cpu_count() or 1)

Tensors = tuple[Array, ...]


def _parallel(work: Callable[[int], Any], count: int) -> Generator[Any, None, None]:
    """Results of `work` for 0 … count - 1, in order; the runtimes release the interpreter while they compute.

    Close it (`contextlib.closing`), so that after an interruption what has not begun is dropped rather than done.
    """
    pool = ThreadPoolExecutor(max_workers=WORKERS)
    try:
        yield from pool.map(work, range(count))
    finally:
        pool.shutdown(cancel_futures=True)


def uncut_answers(model: Graph, samples: Sequence[Tensors], advance: Callable[[], None]) -> list[Tensors]:
    """The outputs of the uncut fp32 model for every sample."""
    outputs = []
    with closing(_parallel(lambda number: model.run(samples[number]), len(samples))) as results:
        for output in results:
            outputs.append(output)
            advance()
    return outputs


def answers(graphs: BundleGraphs, points: Sequence[Point], sample: Tensors) -> Iterator[tuple[Point, Tensors, int]]:
    """What each of several points answers to one sample, and the size of its payload in bytes.

    Args:
        graphs: of the whole bundle.
        points: with one head in common, which is run once.
        sample: tensors of boundary 0.
    """
    tail = Tail(graphs)
    first = points[0]
    crossing = sample
    if first.start > 0:
        assert first.precision is not None, "a point with a head has its precision"
        crossing = graphs.span(0, first.start, first.precision).run(sample)
    for point in points:
        if point.codec is None:
            yield point, crossing, 0
        else:
            payload = graphs.codec(point.codec).encode(crossing, point.level)
            yield point, tail.run(point, payload).outputs, len(payload)


class Probe(msgspec.Struct, frozen=True):
    """A first look at a point, on few samples.

    Attributes:
        bytes_mean: payload size.
        distortion: squared error of the decoded boundary as a share of its energy, against the fp32 model's; None for a
            local point.
        times: in milliseconds, each the median over the samples.
    """

    bytes_mean: float
    distortion: float | None
    times: Measurement


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """What one answer was worth, and how many bytes it took."""

    verdict: Verdict
    size: int


class Bench:
    """Measures the points of a bundle, piece by piece. What was measured is kept in the work folder.

    Args:
        graphs: of the whole bundle, on runtimes with the number of threads that is to be measured.
        samples: tensors of boundary 0.
        judge: judges the answers.
        work: for what was measured.
        key: of the bundle and the samples.
    """

    def __init__(
        self, graphs: BundleGraphs, samples: Sequence[Tensors], judge: Judge, work: WorkFolder, key: str
    ) -> None:
        self._graphs = graphs
        self._samples = samples
        self._judge = judge
        self._work = work
        self._key = key

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self._samples)

    def probe(self, points: Sequence[Point], samples: int) -> dict[str, Probe]:
        """A first look at points with one head in common, on the first `samples`.

        Returns:
            Point id → what was seen.
        """

        def make() -> dict[str, Probe]:
            return _probe(self._graphs, points, self._samples[:samples])

        found: dict[str, Probe] = self._kept("probe", points, str(samples), make, dict[str, Probe])
        return found

    def judge(
        self, points: Sequence[Point], start: int, stop: int, advance: Callable[[], None] = lambda: None
    ) -> dict[str, list[Answer]]:
        """Answers of points with one head in common to the samples from `start` to before `stop`.

        Returns:
            Point id → an entry for each sample.
        """

        def run(number: int) -> list[tuple[str, Answer]]:
            sample = start + number
            return [
                (point.id, Answer(self._judge.judge(sample, answer), size))
                for point, answer, size in answers(self._graphs, points, self._samples[sample])
            ]

        def make() -> dict[str, list[Answer]]:
            found: dict[str, list[Answer]] = {point.id: [] for point in points}
            with closing(_parallel(run, stop - start)) as results:
                for result in results:
                    for key, answer in result:
                        found[key].append(answer)
                    advance()
            return found

        made: dict[str, list[Answer]] = self._kept("answers", points, f"{start}-{stop}", make, dict[str, list[Answer]])
        return made

    def score(self, verdicts: Mapping[int, Verdict]) -> float:
        """The task's metric, over sample number → verdict."""
        return self._judge.score(verdicts)

    def times(self, points: Sequence[Point]) -> dict[str, Measurement]:
        """Times of points with one head in common: single runs one after the other."""

        def make() -> dict[str, Measurement]:
            return time_points(self._graphs, points, self._samples)

        found: dict[str, Measurement] = self._kept("times", points, "", make, dict[str, Measurement])
        return found

    def _kept(self, kind: str, points: Sequence[Point], what: str, make: Callable[[], Any], type_: Any) -> Any:
        key = digest(self._key, what, ",".join(point.id for point in points))
        return msgspec.msgpack.decode(self._work.get(kind, key, lambda: msgspec.msgpack.encode(make())), type=type_)


def _probe(graphs: BundleGraphs, points: Sequence[Point], samples: Sequence[Tensors]) -> dict[str, Probe]:
    first = points[0]
    crossings: list[Tensors] = list(samples)
    device_ms = 0.0
    if first.start > 0:
        assert first.precision is not None, "a point with a head has its precision"
        device_ms, crossings = _once(graphs.span(0, first.start, first.precision).run, samples)
    exact: dict[int, list[Tensors]] = {0: list(samples)}
    tails: dict[tuple[int, str], float] = {}
    found = {}
    for point in points:
        if point.codec is None or point.tail_precision is None:
            found[point.id] = Probe(0.0, None, Measurement(0.0, 0.0, 0.0, device_ms))
            continue
        codec = graphs.codec(point.codec)
        encode_ms, payloads = _once(partial(_encode, codec, point.level), crossings)
        decode_ms, decoded = _once(partial(_decode, codec, point.level), payloads)
        if point.end not in exact:
            exact[point.end] = [graphs.span(0, point.end, "fp32").run(sample) for sample in samples]
        tail = point.end, point.tail_precision
        if tail not in tails:
            span = graphs.span(point.end, graphs.bundle.manifest.last, point.tail_precision)
            tails[tail], _ = _once(span.run, decoded)
        lost = [1.0 - agreement(given, wanted) for given, wanted in zip(decoded, exact[point.end], strict=True)]
        times = Measurement(0.0, 0.0, 0.0, device_ms, encode_ms, decode_ms, tails[tail])
        found[point.id] = Probe(float(np.mean([len(p) for p in payloads])), float(np.mean(lost)), times)
    return found


def _once(run: Callable[[Any], Any], inputs: Sequence[Any]) -> tuple[float, list[Any]]:
    """The median time of a call in milliseconds, and what the calls returned. The first one warms up."""
    run(inputs[0])
    times, results = [], []
    for value in inputs:
        started = perf_counter()
        results.append(run(value))
        times.append((perf_counter() - started) * 1e3)
    return round(median(times), 4), results


def time_points(graphs: BundleGraphs, points: Sequence[Point], samples: Sequence[Tensors]) -> dict[str, Measurement]:
    """Times of points with one head in common, in milliseconds.

    Each run is a request as it comes to machines that had nothing to do: a pause, head and encoder, a pause, decoder
    and tail. A codec alone over and over takes half the time, because nothing else fills the caches; and who computes
    without a pause is interrupted for the other programs on the machine. As these can only make a round slower, a
    time is the least of the medians of several rounds.
    """
    inputs = [samples[number % len(samples)] for number in range(_RUNS)]
    medians: dict[tuple[object, ...], list[float]] = defaultdict(list)
    for number in range(_ROUNDS + 1):
        times: dict[tuple[object, ...], list[float]] = defaultdict(list)
        for point in points:
            for sample in inputs:
                for step, milliseconds in _request(graphs, point, sample):
                    times[step].append(milliseconds)
        if number:  # The first round warms up.
            for step, values in times.items():
                medians[step].append(median(values))
    least = {step: round(min(values), 4) for step, values in medians.items()}
    return {point.id: Measurement(0.0, 0.0, 0.0, *(least.get(step, 0.0) for step in _steps(point))) for point in points}


def _steps(point: Point) -> tuple[tuple[object, ...], ...]:
    """Names of head, encoder, decoder and tail. Points share the times of a head and a tail, not those of a level."""
    tail = "tail", point.end, point.tail_precision
    return ("head", point.start, point.precision), ("encode", point.id), ("decode", point.id), tail


def _request(graphs: BundleGraphs, point: Point, sample: Tensors) -> Iterator[tuple[tuple[object, ...], float]]:
    """The steps of one request, and the milliseconds that each took."""
    head, encode, decode, tail = _steps(point)
    value: Any = sample
    work: list[tuple[tuple[object, ...], Callable[[Any], Any]]] = []
    if point.start:
        assert point.precision is not None, "a point with a head has its precision"
        work.append((head, graphs.span(0, point.start, point.precision).run))
    if point.codec is not None and point.tail_precision is not None:
        codec = graphs.codec(point.codec)
        work.append((encode, partial(_encode, codec, point.level)))
        work.append((decode, partial(_decode, codec, point.level)))
        work.append((tail, graphs.span(point.end, graphs.bundle.manifest.last, point.tail_precision).run))
    spent = 0.0
    for step, run in work:
        if step == decode:
            sleep(min(_PAUSE, spent))
        started = perf_counter()
        value = run(value)
        taken = perf_counter() - started
        spent += taken
        yield step, taken * 1e3
    sleep(min(_PAUSE, spent))


def _encode(codec: Codec, level: int, tensors: Tensors) -> bytes:
    return codec.encode(tensors, level)


def _decode(codec: Codec, level: int, payload: bytes) -> Tensors:
    return codec.decode(payload, level)


def timed(run: Callable[[Any], Any], inputs: Sequence[Any]) -> tuple[float, list[Any]]:
    """Milliseconds of a call, and what the calls returned. For a handful of inputs; with pauses, as `time_points`."""
    results = [run(value) for value in inputs]
    medians = []
    for _ in range(_ROUNDS):
        times = []
        for value in inputs:
            started = perf_counter()
            run(value)
            taken = perf_counter() - started
            times.append(taken * 1e3)
            sleep(min(_PAUSE, taken))
        medians.append(median(times))
    return round(min(medians), 4), results
