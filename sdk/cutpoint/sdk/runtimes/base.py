"""What a runtime is: something that loads graph files of one format and runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from cutpoint.codecs import Array

__all__ = ["Graph", "Runtime"]


class Graph(Protocol):
    """A loaded graph. May be called from several threads.

    Attributes:
        input_names: in the order in which `run` takes its tensors.
        output_names: in the order in which `run` gives its tensors.
    """

    input_names: tuple[str, ...]
    output_names: tuple[str, ...]

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """Runs the graph once.

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
            weights: content of its external data files, by the name under which the graph refers to them.

        Raises:
            GraphError: if the runtime refuses the file.
        """
        ...
