"""What onnxruntime answers, kept for a client whose JVM has no runtime of its own.

For a graph, ``HASH.names`` has the names of its inputs, one a line, and ``HASH-HASH`` the outputs for inputs of that
hash: for each tensor its code, its number of sides (a byte each), the sides (u32, little endian), and the values.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cutpoint.codecs import DTYPES, Array
from cutpoint.sdk.runtimes import Graph, create_runtime


class RecordingRuntime:
    """onnxruntime, whose answers are written to a folder."""

    name = "onnxruntime"
    format = "onnx"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runtime = create_runtime("onnx", 1)

    def load(self, graph: bytes, weights: Mapping[str, bytes]) -> Graph:
        return _RecordingGraph(self._runtime.load(graph, weights), hashlib.sha256(graph).hexdigest(), self._folder)


class _RecordingGraph:
    def __init__(self, graph: Graph, name: str, folder: Path) -> None:
        self._graph = graph
        self._name = name
        self._folder = folder
        self.input_names = graph.input_names
        self.batches = graph.batches
        self.output_names = graph.output_names
        (folder / f"{name}.names").write_text("\n".join(graph.input_names))

    def run(self, inputs: Sequence[Array], *rest: Any) -> tuple[Array, ...]:
        outputs = self._graph.run(inputs, *rest)
        values = hashlib.sha256(b"".join(np.ascontiguousarray(tensor).tobytes() for tensor in inputs))
        parts = []
        for tensor in outputs:
            parts.append(struct.pack("BB", DTYPES.index(tensor.dtype.name), tensor.ndim))
            parts.append(struct.pack(f"<{tensor.ndim}I", *tensor.shape))
            parts.append(np.ascontiguousarray(tensor).tobytes())
        (self._folder / f"{self._name}-{values.hexdigest()}").write_bytes(b"".join(parts))
        return outputs
