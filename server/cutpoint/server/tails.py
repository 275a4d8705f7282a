"""The server's share of several requests at a time. Blocking: for worker threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Protocol

import numpy as np

from cutpoint.codecs import Array, SymbolMemory, TensorSpec
from cutpoint.sdk.bundle import Bundle, Point
from cutpoint.sdk.errors import GraphError
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.runtimes import Graph, Runtime
from cutpoint.sdk.tail import Tail, TailOutput

__all__ = ["Encoded", "LoadedTail", "LoadedTails", "Sample", "Tensors", "load_tails", "run_together", "takes_batches"]


class Sample(Protocol):
    """What a worker needs of a request."""

    @property
    def tail(self) -> tuple[int, str]:
        """Boundary and precision of the tail it is for."""
        ...

    def decode(self, tail: Tail) -> tuple[Array, ...]:
        """The tensors of that boundary. Raises as `Tail.decode`."""
        ...


@dataclass(frozen=True, slots=True)
class Encoded:
    """What a device sent.

    Attributes:
        point: its point, which is not local.
        payload: what the client's codec wrote.
        memory: earlier frames of the client's stream.
    """

    point: Point
    payload: bytes
    memory: SymbolMemory = field(default_factory=SymbolMemory)

    @property
    def tail(self) -> tuple[int, str]:
        assert self.point.tail_precision is not None, "the protocol lets no local point through"
        return self.point.end, self.point.tail_precision

    def decode(self, tail: Tail) -> tuple[Array, ...]:
        return tail.decode(self.point, self.payload, self.memory)


@dataclass(frozen=True, slots=True)
class Tensors:
    """A boundary's tensors as they are.

    Attributes:
        boundary: where the tail begins.
        precision: of the tail.
        tensors: of the boundary, as it describes them.
    """

    boundary: int
    precision: str
    tensors: tuple[Array, ...]

    @property
    def tail(self) -> tuple[int, str]:
        return self.boundary, self.precision

    def decode(self, tail: Tail) -> tuple[Array, ...]:
        return self.tensors


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
    """

    tails: Mapping[tuple[int, str], LoadedTail]
    max_payloads: tuple[int | None, ...]


def load_tails(bundle: Bundle, runtime: Runtime) -> tuple[Tail, LoadedTails]:
    """Loads every tail and decoder of `bundle`, runs each tail a few times, and says what was found.

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
        seconds = [(point.measured.decode_ms + point.measured.tail_ms) / 1e3 for point in its]
        batches = takes_batches(tail.graph(its[0]), bundle.manifest.boundaries[key[0]].tensors)
        tails[key] = LoadedTail(sum(seconds) / len(seconds), batches)
    return tail, LoadedTails(tails, tuple(None if p.local else tail.max_payload(p) for p in bundle.points))


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
        outcomes |= _run(tail.span(*samples[0].tail), decoded, decode_ms)
    return [outcomes[i] for i in range(len(samples))]


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
