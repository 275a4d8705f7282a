"""What each operating point costs and gives, measured with the code that runs it later."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import msgspec
import numpy as np

from cutpoint.calibration.tasks import Judge
from cutpoint.codecs import Array, Codec
from cutpoint.sdk.bundle import Measurement, Point
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.tail import Tail

__all__ = ["answers", "measure_points", "uncut_answers"]

#: Runs in each round of timing, after one round of warming up, and rounds.
_RUNS = 8
_ROUNDS = 3

Tensors = tuple[Array, ...]


def _parallel(work: Callable[[int], Any], count: int) -> Generator[Any, None, None]:
    """Results of `work` for 0 … count - 1, in order; the runtimes release the interpreter while they compute.

    Close it (`contextlib.closing`), so that after an interruption what has not begun is dropped rather than done.
    """
    pool = ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1))
    try:
        yield from pool.map(work, range(count))
    finally:
        pool.shutdown(cancel_futures=True)


def uncut_answers(graphs: BundleGraphs, samples: Sequence[Tensors], advance: Callable[[], None]) -> list[Tensors]:
    """The fp32 model's outputs for every sample."""
    span = graphs.span(0, graphs.bundle.manifest.last, "fp32")
    outputs = []
    with closing(_parallel(lambda number: span.run(samples[number]), len(samples))) as results:
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


def measure_points(
    graphs: BundleGraphs,
    points: Sequence[Point],
    samples: Sequence[Tensors],
    judge: Judge,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Measurement]:
    """Metric and bytes over all samples, and times of single runs one after the other.

    Args:
        graphs: of the whole bundle, on runtimes with the number of threads that is to be measured.
        points: with one head in common.
        samples: tensors of boundary 0.
        judge: scores the answers.
        advance: called for each sample.

    Returns:
        Point id → measurement.
    """

    def run(number: int) -> list[tuple[str, float, int]]:
        return [
            (point.id, judge.score(number, answer), size)
            for point, answer, size in answers(graphs, points, samples[number])
        ]

    scores: dict[str, list[float]] = {point.id: [] for point in points}
    sizes: dict[str, list[int]] = {point.id: [] for point in points}
    with closing(_parallel(run, len(samples))) as results:
        for result in results:
            for key, score, size in result:
                scores[key].append(score)
                sizes[key].append(size)
            advance()
    times = _times(graphs, points, samples)
    return {
        point.id: msgspec.structs.replace(
            times[point.id],
            metric=float(np.mean(scores[point.id])),
            bytes_mean=float(np.mean(sizes[point.id])),
            bytes_p95=float(np.percentile(sizes[point.id], 95)),
        )
        for point in points
    }


def _times(graphs: BundleGraphs, points: Sequence[Point], samples: Sequence[Tensors]) -> dict[str, Measurement]:
    first = points[0]
    inputs = [samples[number % len(samples)] for number in range(_RUNS)]
    crossings: list[Tensors] = inputs
    device_ms = 0.0
    if first.start > 0:
        assert first.precision is not None, "a point with a head has its precision"
        device_ms, crossings = _timed(graphs.span(0, first.start, first.precision).run, inputs)
    last = graphs.bundle.manifest.last
    tails: dict[tuple[int, str], float] = {}
    found = {}
    for point in points:
        if point.codec is None or point.tail_precision is None:
            found[point.id] = Measurement(0.0, 0.0, 0.0, device_ms)
            continue
        codec = graphs.codec(point.codec)
        encode_ms, payloads = _timed(partial(_encode, codec, point.level), crossings)
        decode_ms, decoded = _timed(partial(_decode, codec, point.level), payloads)
        tail = point.end, point.tail_precision
        if tail not in tails:  # What it is fed changes the answer of a tail, not its time.
            tails[tail], _ = _timed(graphs.span(point.end, last, point.tail_precision).run, decoded)
        found[point.id] = Measurement(0.0, 0.0, 0.0, device_ms, encode_ms, decode_ms, tails[tail])
    return found


def _encode(codec: Codec, level: int, tensors: Tensors) -> bytes:
    return codec.encode(tensors, level)


def _decode(codec: Codec, level: int, payload: bytes) -> Tensors:
    return codec.decode(payload, level)


def _timed(run: Callable[[Any], Any], inputs: Sequence[Any]) -> tuple[float, list[Any]]:
    """Milliseconds of a call, and what the calls returned.

    The least of the medians of several rounds: other programs on the machine can only make a round slower.
    """
    results = [run(value) for value in inputs]
    medians = []
    for _ in range(_ROUNDS):
        times = []
        for value in inputs:
            started = perf_counter()
            run(value)
            times.append((perf_counter() - started) * 1e3)
        medians.append(median(times))
    return round(min(medians), 4), results
