"""What a runtime is: something that loads graph files of one format and runs them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from cutpoint.codecs import Array

__all__ = ["Graph", "Runtime", "Stop"]


class Stop:
    """Ends a computation before its time, from another thread.

    Who computes asks it now and then, or hands it a call that ends what runs.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._end: Callable[[], None] | None = None

    def __bool__(self) -> bool:
        """Whether to stop."""
        return self._event.is_set()

    def set(self) -> None:
        """Stops the computation; it may already have ended."""
        self._event.set()
        end = self._end
        if end is not None:
            end()

    def wait(self, seconds: float) -> None:
        """Waits, but no longer than until it is set."""
        self._event.wait(seconds)

    def ends_with(self, end: Callable[[], None] | None) -> None:
        """Names what ends the call that runs now; None when it has returned."""
        self._end = end
        if end is not None and self._event.is_set():
            end()


class Graph(Protocol):
    """A loaded graph. May be called from several threads.

    Attributes:
        input_names: in the order in which `run` takes its tensors.
        output_names: in the order in which `run` gives its tensors.
        batches: whether the graph declares that it takes any number of samples at once, along the first dimension of
            every input that is not a scalar.
    """

    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    batches: bool

    def run(self, inputs: Sequence[Array], stop: Stop | None = None) -> tuple[Array, ...]:
        """Runs the graph once.

        Args:
            inputs: in the order of `input_names`.
            stop: a runtime that can end a run half-way does so when this is set, with a `GraphError`.

        Raises:
            GraphError: if the runtime fails, for instance on an input of another shape.
        """
        ...


class Runtime(Protocol):
    """Loads graphs.

    Attributes:
        name: ``onnxruntime``, ``litert`` or ``tflite-runtime``.
        format: the file format it reads, as in `GraphFile.format`.
    """

    name: str
    format: str

    def load(self, graph: bytes, weights: Mapping[str, bytes]) -> Graph:
        """Loads a graph from memory.

        Args:
            graph: content of the graph file.
            weights: content of the files that `GraphFile.weights` lists, by name and in that order.

        Raises:
            GraphError: if the runtime refuses the file.
        """
        ...
