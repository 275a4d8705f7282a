"""A runtime of a slower machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from cutpoint.codecs import Array
from cutpoint.sdk.errors import InputError
from cutpoint.sdk.laps import TypicalTimes
from cutpoint.sdk.runtimes import Graph, Runtime, Stop

__all__ = ["SlowRuntime"]


class _SlowGraph:
    def __init__(self, graph: Graph, slowdown: float, wait: Callable[[float], object]) -> None:
        self._graph = graph
        self._slowdown = slowdown
        self._wait = wait
        self._times = TypicalTimes()
        self.input_names = graph.input_names
        self.output_names = graph.output_names
        self.batches = graph.batches

    def run(self, inputs: Sequence[Array], stop: Stop | None = None) -> tuple[Array, ...]:
        processor, wall = time.thread_time(), time.perf_counter()
        outputs = self._graph.run(inputs, stop)
        spent = time.perf_counter() - wall
        # From processor time: what other processes take from this machine is not the emulated one's affair.
        typical = self._times.of(tuple(tensor.shape for tensor in inputs), time.thread_time() - processor)
        self._wait(max(0.0, typical * self._slowdown - spent))
        return outputs


class SlowRuntime:
    """Emulates a machine that is slower than this one, by waiting after each graph. The rest is not slowed.

    A graph takes the processor time that its first few runs on inputs of these shapes took, as many times as the
    machine is slower.

    Args:
        runtime: runs the graphs, each in the thread that asks for it.
        slowdown: how many times slower, 1 or more.
        wait: lets that many seconds pass.

    Raises:
        InputError: for a machine that would be faster.
    """

    def __init__(self, runtime: Runtime, slowdown: float, wait: Callable[[float], object] = time.sleep) -> None:
        if not slowdown >= 1:
            raise InputError(f"slowdown {slowdown} is below 1: a machine can only be emulated slower than it is")
        self.name = runtime.name
        self.format = runtime.format
        self._runtime = runtime
        self._slowdown = slowdown
        self._wait = wait

    def load(self, graph: bytes, weights: Mapping[str, bytes]) -> Graph:
        return _SlowGraph(self._runtime.load(graph, weights), self._slowdown, self._wait)
