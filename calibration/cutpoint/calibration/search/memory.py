"""How much memory a device needs for a point, estimated from the graphs."""

from __future__ import annotations

from functools import cache

import onnx

from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.sdk.bundle import Bundle, GraphFile, Point

__all__ = ["DeviceMemory"]

#: Bytes of an activation, as a share of its size in fp32.
_WIDTH = {"int8": 0.25}
#: Bytes of weights when they are loaded, as a multiple of those in the file: fp16 becomes fp32.
_LOADED = {"fp16": 2}


class DeviceMemory:
    """Bytes for a point: weights of head and encoder, and the most activations that are alive at once.

    The runtime's own memory is not in it, nor what it keeps packed a second time.

    Args:
        bundle: with the graphs of the points.
        graph: the fp32 model, where activations are counted.
    """

    def __init__(self, bundle: Bundle, graph: ModelGraph) -> None:
        self._bundle = bundle
        self._graph = graph
        self._head = cache(self._measure_head)

    def __call__(self, point: Point) -> int:
        entry = self._bundle.codec(point.codec) if point.codec is not None else None
        encoder = self._size(entry.encoder) if entry is not None else 0
        return encoder + (self._head(point.start, point.precision) if point.precision is not None else 0)

    def _measure_head(self, end: int, precision: str) -> int:
        (file,) = (f for f in self._bundle.span(0, end, precision).graphs if f.format == "onnx")
        model = onnx.load_from_string(self._bundle.read(file.file))
        weights = len(self._bundle.read(file.file))
        for tensor in model.graph.initializer:
            weights += sum(int(entry.value) for entry in tensor.external_data if entry.key == "length")
        tensors = {spec.name for spec in self._bundle.manifest.boundaries[end].tensors}
        peak = 0
        for alive in self._graph.crossings:
            peak = max(peak, sum(self._graph.specs[name].nbytes for name in alive if name in self._graph.specs))
            if tensors <= set(alive):
                break
        return _LOADED.get(precision, 1) * weights + round(peak * _WIDTH.get(precision, 1.0))

    def _size(self, files: tuple[GraphFile, ...]) -> int:
        return sum(len(self._bundle.read(path)) for file in files if file.format == "onnx" for path in file.paths())
