"""The server's share of several requests at a time. Blocking: for worker threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from cutpoint.codecs import Array, SymbolMemory, TensorSpec
from cutpoint.sdk.bundle import Point
from cutpoint.sdk.errors import GraphError
from cutpoint.sdk.runtimes import Graph
from cutpoint.sdk.tail import Tail, TailOutput

__all__ = ["Sample", "run_together", "takes_batches"]


@dataclass(frozen=True, slots=True)
class Sample:
    """What a worker needs of a request.

    Attributes:
        point: its point.
        payload: what the client's codec wrote.
        memory: earlier frames of the client's stream.
    """

    point: Point
    payload: bytes
    memory: SymbolMemory


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
            decoded[i] = tail.decode(sample.point, sample.payload, sample.memory)
        except Exception as error:  # It is the sample's, whatever it is, and its connection reports it.
            outcomes[i] = error
        decode_ms[i] = (perf_counter() - began) * 1e3
    if decoded:
        outcomes |= _run(tail, samples[0].point, decoded, decode_ms)
    return [outcomes[i] for i in range(len(samples))]


def _run(
    tail: Tail, point: Point, decoded: Mapping[int, tuple[Array, ...]], decode_ms: Mapping[int, float]
) -> dict[int, TailOutput | Exception]:
    """The tail of those that could be decoded; one by one if it fails for all of them together."""
    began = perf_counter()
    try:
        columns = zip(*decoded.values(), strict=True)
        together = [np.concatenate(column) if len(column) > 1 else column[0] for column in columns]
        outputs = tail.graph(point).run(together)
    except Exception as error:
        if len(decoded) == 1:
            return dict.fromkeys(decoded, error)
        alone = (_run(tail, point, {i: tensors}, decode_ms) for i, tensors in decoded.items())
        return {i: outcome for outcomes in alone for i, outcome in outcomes.items()}
    tail_ms = (perf_counter() - began) * 1e3
    if len(decoded) == 1:
        return {i: TailOutput(outputs, decode_ms[i], tail_ms) for i in decoded}
    return {
        i: TailOutput(tuple(output[row : row + 1] for output in outputs), decode_ms[i], tail_ms)
        for row, i in enumerate(decoded)
    }
