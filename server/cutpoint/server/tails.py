"""The server's share of several requests at a time. Blocking: for worker threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Literal, Protocol

import numpy as np

from cutpoint.codecs import Array, SymbolMemory, TensorSpec
from cutpoint.sdk.bundle import Bundle, Point
from cutpoint.sdk.errors import GraphError
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.runtimes import Graph, Runtime
from cutpoint.sdk.tail import Tail, TailOutput
from cutpoint.server.shared_slices import time_slices
from cutpoint.server.slice_keys import slice_seconds

__all__ = [
    "Encoded",
    "LoadedTail",
    "LoadedTails",
    "Sample",
    "Tensors",
    "inner_spans",
    "load_tails",
    "run_together",
    "span_ms",
    "takes_batches",
]


#: Runs of each tail that tell how fast it is here; the fastest counts: the others shared the processor.
_TIMED = 5


class Sample(Protocol):
    """What a worker needs of a request."""

    @property
    def tail(self) -> tuple[int, int, str] | tuple[Literal["slice", "decoder"], int]:
        """What it waits for: a `TailKey` without its model."""
        ...

    def decode(self, tail: Tail) -> tuple[Array, ...]:
        """The tensors of the first boundary. Raises as `Tail.decode`."""
        ...

    def graph(self, tail: Tail) -> Graph:
        """What runs on them, and on those of other samples for the same tail. Raises as `Tail.span`."""
        ...

    def encode(self, tail: Tail, outputs: tuple[Array, ...]) -> bytes | None:
        """What a further server gets of the outputs; None if they are the answer. Raises as `Tail.encode`."""
        ...


@dataclass(frozen=True, slots=True)
class Encoded:
    """What a device sent.

    Attributes:
        point: its point, which is not local.
        payload: what the client's codec wrote.
        memory: earlier frames of the client's stream.
        stop: boundary whose tensors are wanted; 0: the outputs.
        onward: the point, starting there, at which they go to a further server; None: nowhere.
    """

    point: Point
    payload: bytes
    memory: SymbolMemory = field(default_factory=SymbolMemory)
    stop: int = 0
    onward: Point | None = None

    @property
    def tail(self) -> tuple[int, int, str]:
        assert self.point.tail_precision is not None, "the protocol lets no local point through"
        return self.point.end, self.stop, self.point.tail_precision

    def decode(self, tail: Tail) -> tuple[Array, ...]:
        return tail.decode(self.point, self.payload, self.memory)

    def graph(self, tail: Tail) -> Graph:
        return tail.span(self.point.end, self.tail[2], self.stop)

    def encode(self, tail: Tail, outputs: tuple[Array, ...]) -> bytes | None:
        return tail.encode(self.onward, outputs) if self.onward is not None else None


@dataclass(frozen=True, slots=True)
class Tensors:
    """A boundary's tensors as they are.

    Attributes:
        boundary: where the tail begins.
        precision: of the tail.
        tensors: of the boundary, as it describes them.
        stop: boundary whose tensors are wanted; 0: the outputs.
    """

    boundary: int
    precision: str
    tensors: tuple[Array, ...]
    stop: int = 0

    @property
    def tail(self) -> tuple[int, int, str]:
        return self.boundary, self.stop, self.precision

    def decode(self, tail: Tail) -> tuple[Array, ...]:
        return self.tensors

    def graph(self, tail: Tail) -> Graph:
        return tail.span(self.boundary, self.precision, self.stop)

    def encode(self, tail: Tail, outputs: tuple[Array, ...]) -> bytes | None:
        return None


@dataclass(frozen=True, slots=True)
class LoadedTail:
    """What is known of a tail once it is loaded.

    Attributes:
        seconds: of a worker for one request, decoder included, as calibration measured it.
        batches: whether it takes several samples at once; see `takes_batches`.
    """

    seconds: float
    batches: bool


@dataclass(frozen=True, slots=True)
class LoadedTails:
    """A bundle that an engine has loaded.

    Attributes:
        tails: by boundary and precision.
        max_payloads: most payload bytes of a point by its number; None for local points.
        spans: of the middle, by both boundaries and precision.
        encoders: ids of codecs that can be written here, too.
        scale: how many times slower than in calibration the tails are here.
        max_parts: most bytes of each part of the payload, by the number of a sliced point.
        slices: seconds of the slices of sliced points, named as spans whose precision names their rows.
        shared: seconds of a worker, as they would be in calibration, for the slices that nodes may share, by number.
    """

    tails: Mapping[tuple[int, str], LoadedTail]
    max_payloads: tuple[int | None, ...]
    spans: Mapping[tuple[int, int, str], LoadedTail] = field(default_factory=dict)
    encoders: frozenset[str] = frozenset()
    scale: float = 1.0
    max_parts: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    slices: Mapping[tuple[int, int, str], float] = field(default_factory=dict)
    shared: Mapping[int, float] = field(default_factory=dict)


def load_tails(bundle: Bundle, runtime: Runtime, middle: bool = False) -> tuple[Tail, LoadedTails]:
    """Loads every tail and decoder of `bundle`, runs each tail a few times, and says what was found.

    Args:
        bundle: with its server part.
        runtime: loads the graphs.
        middle: whether to load the spans of the middle, too; see `inner_spans`.

    Raises:
        BundleError, GraphError, CodecError: if something of it does not work here.
    """
    tail = Tail(BundleGraphs(bundle, [runtime]))
    tail.warm_up(bundle.points)
    points: dict[tuple[int, str], list[Point]] = {}
    for point in bundle.points:
        if point.tail_precision is not None:
            points.setdefault((point.end, point.tail_precision), []).append(point)
    tails = {}
    for key, its in points.items():
        # What the server does for slices comes before the tail.
        decoders = [0.0 if point.slicing is not None else point.measured.decode_ms for point in its]
        seconds = [(ms + point.measured.tail_ms) / 1e3 for ms, point in zip(decoders, its, strict=True)]
        batches = takes_batches(tail.graph(its[0]), bundle.manifest.boundaries[key[0]].tensors)
        tails[key] = LoadedTail(sum(seconds) / len(seconds), batches)
    spans = {}
    for start, stop, precision in inner_spans(bundle, runtime.format) if middle else ():
        batches = takes_batches(tail.span(start, precision, stop), bundle.manifest.boundaries[start].tensors)
        spans[start, stop, precision] = LoadedTail(span_ms(bundle, start, stop) / 1e3, batches)
    payloads = tuple(None if point.local else tail.max_payload(point) for point in bundle.points)
    encoders = _encoders(bundle) if middle else frozenset[str]()
    parts = {number: tail.slices.max_parts(point) for number, point in enumerate(bundle.points) if point.slicing}
    scale = _scale(tail, points, bundle)
    shared = time_slices(bundle, tail, runtime.format, scale) if middle else {}
    return tail, LoadedTails(tails, payloads, spans, encoders, scale, parts, slice_seconds(bundle.points), shared)


def _scale(tail: Tail, points: Mapping[tuple[int, str], Sequence[Point]], bundle: Bundle) -> float:
    """The median over all tails of their time here, as a share of what calibration measured."""
    ratios = []
    for (end, precision), its in points.items():
        measured = sum(point.measured.tail_ms for point in its) / len(its)
        zeros = [np.zeros(spec.shape, spec.dtype) for spec in bundle.manifest.boundaries[end].tensors]
        times = []
        for _ in range(_TIMED):
            began = perf_counter()
            tail.span(end, precision).run(zeros)
            times.append((perf_counter() - began) * 1e3)
        if measured > 0:
            ratios.append(min(times) / measured)
    return float(np.median(ratios)) if ratios else 1.0


def _encoders(bundle: Bundle) -> frozenset[str]:
    return frozenset(
        codec.id
        for codec in bundle.manifest.codecs
        if not codec.encoder or any(graph.file in bundle for graph in codec.encoder)
    )


def inner_spans(bundle: Bundle, graph_format: str) -> tuple[tuple[int, int, str], ...]:
    """The spans that a server in the middle can run, both boundaries and precision.

    They begin where the decoder of a point ends, at the precision of its tail, and end before the outputs.
    """
    begin = {(point.end, point.tail_precision) for point in bundle.points if not point.local}
    return tuple(
        span.key
        for span in bundle.manifest.spans
        if span.end < bundle.manifest.last
        and (span.start, span.precision) in begin
        and any(graph.format == graph_format and graph.file in bundle for graph in span.graphs)
    )


def span_ms(bundle: Bundle, start: int, stop: int) -> float:
    """Milliseconds of a span of the middle: what tails from its beginning took in calibration more than from its end.

    Where no point ends at `stop`, its share of the multiply-accumulates behind `start`.
    """
    times: dict[int, list[float]] = {}
    for point in bundle.points:
        if not point.local:
            times.setdefault(point.end, []).append(point.measured.tail_ms)
    tails = {end: sum(its) / len(its) for end, its in times.items()}
    if stop in tails:
        return max(0.0, tails[start] - tails[stop])
    macs = [boundary.macs for boundary in bundle.manifest.boundaries]
    return tails[start] * (macs[stop] - macs[start]) / max(1, macs[-1] - macs[start])


def takes_batches(graph: Graph, inputs: Sequence[TensorSpec]) -> bool:
    """Whether `graph` takes several samples at once and gives for each what it gives for it alone.

    Args:
        graph: a tail.
        inputs: what it takes, batch 1.
    """
    rng = np.random.default_rng(0)
    pair = [rng.integers(0, 2, (2, *spec.shape[1:])).astype(spec.dtype) for spec in inputs]
    try:
        together = graph.run(pair)
    except GraphError:
        return False
    for i in range(2):
        alone = graph.run([tensor[i : i + 1] for tensor in pair])
        for both, one in zip(together, alone, strict=True):
            same_shape = both.shape == (2, *one.shape[1:])
            if not same_shape or not np.allclose(both[i : i + 1], one, rtol=1e-3, atol=1e-3, equal_nan=True):
                return False
    return True


def run_together(tail: Tail, samples: Sequence[Sample]) -> list[TailOutput | Exception]:
    """Decodes each sample, then runs the tail of all.

    Args:
        tail: decoders and tails of the bundle.
        samples: for the same tail; one, or as many as a tail takes that `takes_batches`.

    Returns:
        For each sample its output, or what went wrong with it alone: the others are not concerned. `tail_ms` is the
        whole batch's: that is how long each of them waited for it.
    """
    outcomes: dict[int, TailOutput | Exception] = {}
    decoded: dict[int, tuple[Array, ...]] = {}
    decode_ms: dict[int, float] = {}
    for i, sample in enumerate(samples):
        began = perf_counter()
        try:
            decoded[i] = sample.decode(tail)
        except Exception as error:  # It is the sample's, whatever it is, and its connection reports it.
            outcomes[i] = error
        decode_ms[i] = (perf_counter() - began) * 1e3
    if decoded:
        outcomes |= _run(samples[0].graph(tail), decoded, decode_ms)
    return [_encode(tail, sample, outcomes[i]) for i, sample in enumerate(samples)]


def _encode(tail: Tail, sample: Sample, outcome: TailOutput | Exception) -> TailOutput | Exception:
    if isinstance(outcome, Exception):
        return outcome
    began = perf_counter()
    try:
        payload = sample.encode(tail, outcome.outputs)
    except Exception as error:  # As with a decoder.
        return error
    if payload is None:
        return outcome
    return replace(outcome, payload=payload, encode_ms=(perf_counter() - began) * 1e3)


def _run(
    graph: Graph, decoded: Mapping[int, tuple[Array, ...]], decode_ms: Mapping[int, float]
) -> dict[int, TailOutput | Exception]:
    """The tail of those that could be decoded; one by one if it fails for all of them together."""
    began = perf_counter()
    try:
        columns = zip(*decoded.values(), strict=True)
        together = [np.concatenate(column) if len(column) > 1 else column[0] for column in columns]
        outputs = graph.run(together)
    except Exception as error:
        if len(decoded) == 1:
            return dict.fromkeys(decoded, error)
        alone = (_run(graph, {i: tensors}, decode_ms) for i, tensors in decoded.items())
        return {i: outcome for outcomes in alone for i, outcome in outcomes.items()}
    tail_ms = (perf_counter() - began) * 1e3
    if len(decoded) == 1:
        return {i: TailOutput(outputs, decode_ms[i], tail_ms) for i in decoded}
    return {
        i: TailOutput(tuple(output[row : row + 1] for output in outputs), decode_ms[i], tail_ms)
        for row, i in enumerate(decoded)
    }
