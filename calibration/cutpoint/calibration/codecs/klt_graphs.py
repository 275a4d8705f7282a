"""The graph halves of the `klt` codec."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from cutpoint.calibration.codecs.graph_halves import GraphBuilder
from cutpoint.calibration.codecs.plane_code import PlaneCode
from cutpoint.calibration.codecs.planes import Plane
from cutpoint.codecs import Array, TensorSpec

__all__ = ["PlaneHalf", "build_klt", "cast_to", "in_range", "join_parts"]


def build_klt(
    specs: Sequence[TensorSpec],
    planes: Sequence[Sequence[int]],
    codes: Sequence[PlaneCode],
    symbols: Sequence[TensorSpec],
    steps: Sequence[float],
    dead_zones: Sequence[Array],
) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Encoder and decoder graph of a boundary.

    Args:
        specs: the boundary's tensors.
        planes: numbers of the planes of each tensor.
        codes: the transform of each plane.
        symbols: the symbol tensor of each plane.
        steps: of each level.
        dead_zones: of each plane, float32 (levels, contexts).
    """
    encoder, decoder = GraphBuilder(), GraphBuilder()
    for spec, numbers in zip(specs, planes, strict=True):
        parts = []
        for number in numbers:
            code, symbol = codes[number], symbols[number]
            _Encoder(encoder, f"p{number}", code, steps, dead_zones[number]).build(spec, symbol)
            parts.append(_Decoder(decoder, f"p{number}", code, steps, dead_zones[number]).build(spec, symbol))
        cast_to(decoder, spec, join_parts(decoder, spec, parts))
    return encoder.model(specs, symbols), decoder.model(symbols, specs, batch=True)


def join_parts(graph: GraphBuilder, spec: TensorSpec, parts: Sequence[str]) -> str:
    """Planes, as tensors, to the boundary's tensor, float32."""
    return graph.add("Concat", parts, f"{spec.name}/joined", axis=1) if len(parts) > 1 else parts[0]


def in_range(graph: GraphBuilder, spec: TensorSpec, value: str) -> str:
    """A picture's values, none below 0 or above 255."""
    borders = [graph.constant(f"{spec.name}/{n}", np.array(v, np.float32)) for n, v in (("low", 0), ("high", 255))]
    return graph.add("Clip", [value, *borders], f"{spec.name}/clipped")


def cast_to(graph: GraphBuilder, spec: TensorSpec, value: str) -> None:
    """The boundary's tensor in its own element type."""
    if spec.dtype == "uint8":
        value = graph.add("Round", [in_range(graph, spec, value)], f"{spec.name}/rounded")
    graph.add("Cast", [value], spec.name, to=helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype)))


class PlaneHalf:
    """What both directions have in common."""

    def __init__(
        self, graph: GraphBuilder, key: str, code: PlaneCode, steps: Sequence[float], dead_zones: Array
    ) -> None:
        self.graph = graph
        self.key = key
        self.code = code
        self.steps = np.array(steps, np.float32)
        self.dead_zones = dead_zones

    @property
    def plane(self) -> Plane:
        return self.code.plane

    def constant(self, name: str, values: Array) -> str:
        """A large constant of the transform."""
        return self.graph.constant(name, values)

    def spread(self, name: str, values: Array) -> str:
        """The constant (…, row period, column period) for every place, (…, height, width).

        Runtimes fold it when they load the graph; the file holds one period.
        """
        *front, height, width = values.shape
        if height == width == 1:
            return self.constant(name, values)
        rows, columns = self.plane.rows.side // height, self.plane.columns.side // width
        if rows == columns == 1:
            return self.constant(name, values)
        part = self.constant(f"{name}/period", values.reshape(*front, 1, height, 1, width))
        whole = self.graph.constant(f"{name}/whole", np.array([*front, rows, height, columns, width], np.int64))
        part = self.graph.add("Expand", [part, whole], f"{name}/expanded")
        return self.graph.reshape(part, [*front, rows * height, columns * width], name)

    def dead_zone(self) -> str:
        """The dead zone of every coefficient at this level, in steps."""
        if self.code.contexts[0].size == 1:
            each = self.dead_zones[:, self.code.contexts.ravel()]
            return self.graph.row(f"{self.key}/dead-zone", each, (self.code.components, 1, 1))
        row = self.graph.row(f"{self.key}/dead-zones", self.dead_zones, self.dead_zones.shape[1:])
        contexts = self.spread(f"{self.key}/contexts", self.code.contexts)
        contexts = self.graph.add("Cast", [contexts], f"{self.key}/indices", to=TensorProto.INT32)
        return self.graph.add("Gather", [row, contexts], f"{self.key}/dead-zone", axis=0)

    def transform(self, value: str, inverse: bool) -> str:
        """The spatial transform of the planes of all samples that there are."""
        components, (height, width) = self.code.components, self.plane.shape[1:]
        for axis, along in ((self.plane.columns, "columns"), (self.plane.rows, "rows")):
            if axis.period == 1:
                continue
            name = f"{self.key}/{along}"
            matrix = axis.matrix.T if inverse else axis.matrix
            if along == "columns":
                value = self.graph.reshape(value, [-1, axis.period], f"{name}/in")
                value = self.graph.add("MatMul", [value, self.graph.constant(f"{name}/dct", matrix.T.copy())], name)
            else:
                value = self.graph.reshape(value, [-1, axis.period, width], f"{name}/in")
                value = self.graph.add("MatMul", [self.graph.constant(f"{name}/dct", matrix.copy()), value], name)
            value = self.graph.reshape(value, [-1, components, height, width], f"{name}/out")
        return value

    def mix(self, value: str, matrix: Array, bias: Array, output: str) -> str:
        """Channels to components or back: a 1×1 convolution, or a factor for each where there is nothing to mix.

        Of a long vector there are fewer samples than it has channels, and its basis is that of single channels: as a
        matrix it would be nothing but zeros, of which 1280 channels make six megabytes.
        """
        if (np.count_nonzero(matrix, axis=1) <= 1).all():
            source = np.abs(matrix).argmax(axis=1)
            factor = np.take_along_axis(matrix, source[:, None], 1)[:, :, None]
            value = self.graph.add(
                "Gather", [value, self.graph.constant(f"{output}/source", source)], f"{output}/chosen", axis=1
            )
            value = self.graph.add("Mul", [value, self.graph.constant(f"{output}/factor", factor)], f"{output}/scaled")
            return self.graph.add("Add", [value, self.graph.constant(f"{output}/bias", bias[:, None, None])], output)
        weights = self.constant(f"{output}/weights", np.ascontiguousarray(matrix)[:, :, None, None])
        return self.graph.add("Conv", [value, weights, self.graph.constant(f"{output}/bias", bias)], output)

    def plane_of(self, spec: TensorSpec) -> str:
        """The plane of one sample as (1, channels, height, width)."""
        graph, key = self.graph, self.key
        value = spec.name
        if patch := self.plane.patch:
            channels, height, width = self.plane.shape
            # First the rows of a patch, whole: transposing single pixels at once takes ten times as long.
            value = graph.reshape(value, [height, patch, width, patch * spec.shape[3]], f"{key}/grid")
            value = graph.add("Transpose", [value], f"{key}/patches", perm=[0, 2, 1, 3])
            value = graph.reshape(value, [height * width, channels], f"{key}/rows")
            value = graph.add("Cast", [value], f"{key}/float", to=TensorProto.FLOAT)
            value = graph.add("Transpose", [value], f"{key}/pixels", perm=[1, 0])
            return graph.reshape(value, [1, channels, height, width], f"{key}/plane")
        if spec.dtype != "float32":
            value = graph.add("Cast", [value], f"{key}/float", to=TensorProto.FLOAT)
        if self.plane.tokens is not None:
            if self.plane.tokens != (0, spec.shape[1]):
                borders = [
                    graph.constant(f"{key}/{name}", np.array([number], np.int64))
                    for name, number in zip(("from", "to", "axis"), (*self.plane.tokens, 1), strict=True)
                ]
                value = graph.add("Slice", [value, *borders], f"{key}/tokens")
            value = graph.add("Transpose", [value], f"{key}/transposed", perm=[0, 2, 1])
        if self.plane.tokens is not None or spec.shape != (1, *self.plane.shape):
            value = graph.reshape(value, [1, *self.plane.shape], f"{key}/plane")
        return value

    def tensor_of(self, value: str, spec: TensorSpec) -> str:
        """The opposite of `plane_of`, for any number of samples: float32, in the layout of the tensor."""
        graph, key = self.graph, self.key
        shape = [-1, *spec.shape[1:]]
        if patch := self.plane.patch:
            _, height, width = self.plane.shape
            value = graph.reshape(value, [-1, patch, patch, spec.shape[3], height, width], f"{key}/patches")
            value = graph.add("Transpose", [value], f"{key}/grid", perm=[0, 4, 1, 5, 2, 3])
            return graph.reshape(value, shape, f"{key}/tensor")
        if self.plane.tokens is None:
            return value if spec.shape == (1, *self.plane.shape) else graph.reshape(value, shape, f"{key}/tensor")
        first, last = self.plane.tokens
        value = graph.reshape(value, [-1, self.plane.channels, last - first], f"{key}/sequence")
        return graph.add("Transpose", [value], f"{key}/tokens", perm=[0, 2, 1])

    def rounded(self, value: str, symbol: TensorSpec) -> None:
        """Coefficients in steps to symbols."""
        graph, key = self.graph, self.key
        zone = self.dead_zone()
        near = graph.add("Min", [value, zone], f"{key}/near-above")
        near = graph.add("Max", [near, graph.add("Neg", [zone], f"{key}/below")], f"{key}/near")
        value = graph.add("Sub", [value, near], f"{key}/shrunk")
        value = graph.add("Round", [value], f"{key}/rounded")
        most = float(np.iinfo(symbol.dtype).max)
        low = graph.constant(f"{key}/low", np.array(-most, np.float32))
        value = graph.add(
            "Clip", [value, low, graph.constant(f"{key}/high", np.array(most, np.float32))], f"{key}/clipped"
        )
        graph.add("Cast", [value], symbol.name, to=helper.np_dtype_to_tensor_dtype(np.dtype(symbol.dtype)))

    def middles(self, symbol: TensorSpec) -> str:
        """Symbols to the middles of the intervals that became them, in steps."""
        graph, key = self.graph, self.key
        value = graph.add("Cast", [symbol.name], f"{key}/float", to=TensorProto.FLOAT)
        away = graph.add("Mul", [graph.add("Sign", [value], f"{key}/sign"), self.dead_zone()], f"{key}/away")
        return graph.add("Add", [value, away], f"{key}/middle")


class _Encoder(PlaneHalf):
    def constant(self, name: str, values: Array) -> str:
        """In half the size, because devices download it."""
        return self.graph.halved(name, values) if values.dtype == np.float32 else super().constant(name, values)

    def build(self, spec: TensorSpec, symbol: TensorSpec) -> None:
        graph, key, code = self.graph, self.key, self.code
        value = self.plane_of(spec)
        value = self.mix(value, code.analysis, -(code.analysis @ code.mean), f"{key}/components")
        value = self.transform(value, inverse=False)
        value = graph.add("Sub", [value, self.spread(f"{key}/offset", code.offset)], f"{key}/centred")
        gains = self.spread(f"{key}/gains", code.weight / self.steps[:, None, None])
        gain = graph.add("Gather", [gains, "level"], f"{key}/gain", axis=0)
        self.rounded(graph.add("Mul", [value, gain], f"{key}/scaled"), symbol)


class _Decoder(PlaneHalf):
    def build(self, spec: TensorSpec, symbol: TensorSpec) -> str:
        graph, key, code = self.graph, self.key, self.code
        value = self.middles(symbol)
        gains = self.spread(f"{key}/gains", self.steps[:, None, None] / code.weight)
        gain = graph.add("Gather", [gains, "level"], f"{key}/gain", axis=0)
        value = graph.add("Mul", [value, gain], f"{key}/scaled")
        value = graph.add("Add", [value, self.spread(f"{key}/offset", code.offset)], f"{key}/coefficients")
        value = self.transform(value, inverse=True)
        return self.tensor_of(self.mix(value, code.synthesis, code.mean, f"{key}/channels"), spec)
