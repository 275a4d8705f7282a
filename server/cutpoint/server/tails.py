"""The server's share of several requests at a time. Blocking: for worker threads."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal, Protocol

import msgspec
import numpy as np

from cutpoint.codecs import Array, SymbolMemory, TensorSpec
from cutpoint.sdk.bundle import Bundle, Exit, Point
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
        """What `tail` names: it runs on them, and on those of other samples for it. Raises as `Tail.span`."""
        ...

    def encode(self, tail: Tail, outputs: tuple[Array, ...]) -> bytes | None:
        """What a further server gets of the outputs; None if they are the answer. Raises as `Tail.encode`."""
        ...


class Encoded(msgspec.Struct, frozen=True):
    """What a device sent.

    Attributes:
        point: its point, which is not local.
        payload: what the client's codec wrote.
        memory: earlier frames of the client's stream.
        stop: boundary whose tensors are wanted; 0: the outputs.
        onward: the point, starting there, at which they go to a further server; None: nowhere.
        exit: that is asked instead of the tail; its confidence is the last output. None: the tail.
    """

    point: Point
    payload: bytes
    memory: SymbolMemory = msgspec.field(default_factory=SymbolMemory)
    stop: int = 0
    onward: Point | None = None
    exit: Exit | None = None

    @property
    def tail(self) -> tuple[int, int, str]:
        assert self.point.tail_precision is not None, "the protocol lets no local point through"
        if self.exit is not None:
            return self.point.end, self.exit.boundary, f"{self.point.tail_precision}+{self.exit.id}"
        return self.point.end, self.stop, self.point.tail_precision

    def decode(self, tail: Tail) -> tuple[Array, ...]:
        return tail.decode(self.point, self.payload, self.memory)

    def graph(self, tail: Tail) -> Graph:
        if self.exit is not None:
            return tail.exit(self.point, self.exit)
        start, stop, precision = self.tail
        return tail.span(start, precision, stop)

    def encode(self, tail: Tail, outputs: tuple[Array, ...]) -> bytes | None:
        return tail.encode(self.onward, outputs) if self.onward is not None else None


class Tensors(msgspec.Struct, frozen=True):
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
        exits: that are asked where there is no room for a tail, by `Sample.tail`.
        encoders: ids of codecs that can be written here, too.
        scale: how many times slower than in calibration the tails are here.
        max_parts: most bytes of each part of the payload, by the number of a sliced point.
        slices: seconds of the slices of sliced points, named as spans whose precision names their rows.
        shared: seconds of a worker, as they would be in calibration, for the slices that nodes may share, by number.
    """

    tails: Mapping[tuple[int, str], LoadedTail]
    max_payloads: tuple[int | None, ...]
    spans: Mapping[tuple[int, int, str], LoadedTail] = field(default_factory=dict)
    exits: Mapping[tuple[int, int, str], LoadedTail] = field(default_factory=dict)
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
    exits, scale = _exits(bundle, tail), _scale(tail, points, bundle)
    shared = time_slices(bundle, tail, runtime.format, scale) if middle else {}
    slices = slice_seconds(bundle.points)
    return tail, LoadedTails(tails, payloads, spans, exits, encoders, scale, parts, slices, shared)


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


def _exits(bundle: Bundle, tail: Tail) -> dict[tuple[int, int, str], LoadedTail]:
    """The ways to exits that servers may ask, loaded."""
    samples: dict[tuple[int, int, str], list[tuple[Encoded, float]]] = {}
    for point in bundle.points:
        for exit, use in bundle.server_exits(point):
            sample = Encoded(point, b"", exit=exit)
            samples.setdefault(sample.tail, []).append((sample, use.ms))
    loaded = {}
    for key, its in samples.items():
        batches = takes_batches(its[0][0].graph(tail), bundle.manifest.boundaries[key[0]].tensors)
        loaded[key] = LoadedTail(sum(ms for _, ms in its) / len(its) / 1e3, batches)
    return loaded


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
    """Decodes the samples, those of one codec and level together, then runs the tail of all.

    Args:
        tail: decoders and tails of the bundle.
        samples: for the same tail; one, or as many as a tail takes that `takes_batches`.

    Returns:
        For each sample its output, or what went wrong with it alone: the others are not concerned. `tail_ms` is the
        whole batch's, and `decode_ms` that of all decoded together: that is how long each of them waited for it.
    """
    outcomes: dict[int, TailOutput | Exception] = {}
    decode_ms: dict[int, float] = {}
    decoded: list[int] = []
    groups: list[tuple[Array, ...]] = []
    for numbers in _decoded_together(samples):
        began = perf_counter()
        tensors, failed = _decode(tail, [samples[i] for i in numbers])
        decode_ms |= dict.fromkeys(numbers, (perf_counter() - began) * 1e3)
        outcomes |= {numbers[place]: error for place, error in failed.items()}
        decoded += [i for place, i in enumerate(numbers) if place not in failed]
        if tensors:
            groups.append(tensors)
    if decoded:
        together = groups[0] if len(groups) == 1 else tuple(map(np.concatenate, zip(*groups, strict=True)))
        outcomes |= _run(samples[0].graph(tail), decoded, together, decode_ms)
    return [_encode(tail, sample, outcomes[i]) for i, sample in enumerate(samples)]


def _decoded_together(samples: Sequence[Sample]) -> Iterable[list[int]]:
    """The numbers of those that have one codec and level; others are by themselves."""
    groups: dict[Hashable, list[int]] = {}
    for i, sample in enumerate(samples):
        alike = (sample.point.codec, sample.point.level) if isinstance(sample, Encoded) else i
        groups.setdefault(alike, []).append(i)
    return groups.values()


def _decode(tail: Tail, samples: Sequence[Sample]) -> tuple[tuple[Array, ...], dict[int, Exception]]:
    """The tensors of samples with one codec and level, or of a single one, and by place what is wrong with the others.

    Whatever it is that goes wrong with a sample, its connection reports it.
    """
    encoded = [sample for sample in samples if isinstance(sample, Encoded)]
    try:
        if encoded:
            return tail.decode_together(encoded[0].point, [(sample.payload, sample.memory) for sample in encoded])
        return samples[0].decode(tail), {}
    except Exception as error:
        if len(samples) == 1:
            return (), {0: error}
    alone = [_decode(tail, [sample]) for sample in samples]
    failed = {place: errors[0] for place, (_, errors) in enumerate(alone) if errors}
    whole = [tensors for tensors, errors in alone if not errors]
    return tuple(map(np.concatenate, zip(*whole, strict=True))), failed


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
    return msgspec.structs.replace(outcome, payload=payload, encode_ms=(perf_counter() - began) * 1e3)


def _run(
    graph: Graph, numbers: Sequence[int], tensors: tuple[Array, ...], decode_ms: Mapping[int, float]
) -> dict[int, TailOutput | Exception]:
    """The tail of those that could be decoded; one by one if it fails for all of them together."""
    began = perf_counter()
    try:
        outputs = graph.run(tensors)
    except Exception as error:
        if len(numbers) == 1:
            return dict.fromkeys(numbers, error)
        alone = (_run(graph, [i], _row(tensors, row), decode_ms) for row, i in enumerate(numbers))
        return {i: outcome for outcomes in alone for i, outcome in outcomes.items()}
    tail_ms = (perf_counter() - began) * 1e3
    if len(numbers) == 1:
        return {numbers[0]: TailOutput(outputs, decode_ms[numbers[0]], tail_ms)}
    return {i: TailOutput(_row(outputs, row), decode_ms[i], tail_ms) for row, i in enumerate(numbers)}


def _row(tensors: tuple[Array, ...], row: int) -> tuple[Array, ...]:
    """One sample of a batch."""
    return tuple(tensor[row : row + 1] for tensor in tensors)
