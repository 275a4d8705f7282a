"""The local prefix of a model: what can be computed for some rows without the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import onnx
from onnx import helper, numpy_helper

from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.graphs.normalise import is_channels_last
from cutpoint.calibration.slices.rows import Rows, Window
from cutpoint.codecs import Array

__all__ = ["WINDOWED", "LocalPrefix", "find_local_prefix", "window_attributes"]

#: Operators that treat every value, or every value of a channel, alone.
_UNARY = frozenset(
    {
        "Abs",
        "BatchNormalization",
        "Cast",
        "Celu",
        "Clip",
        "DequantizeLinear",
        "Elu",
        "Erf",
        "Exp",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "LRN",
        "LeakyRelu",
        "Log",
        "Mish",
        "Neg",
        "QuantizeLinear",
        "Reciprocal",
        "Relu",
        "Round",
        "Selu",
        "Sigmoid",
        "Sign",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Tanh",
        "ThresholdedRelu",
    }
)
#: Operators that combine values of the same place.
_BROADCAST = frozenset({"Add", "Div", "Max", "Mean", "Min", "Mul", "PRelu", "Pow", "Sub", "Sum"})
#: Operators with a window that moves over rows and columns.
WINDOWED = frozenset({"AveragePool", "Conv", "MaxPool"})


class _Global(Exception):
    """An operator mixes rows in a way that a slice cannot follow; the text says why."""


@dataclass(frozen=True)
class LocalPrefix:
    """What `find_local_prefix` found.

    Attributes:
        axes: tensor of the prefix → its axis of rows.
        windows: first output of a node of the prefix → how it uses the rows of its inputs.
        obstacles: first output of a node at which the prefix ends → why.
    """

    axes: Mapping[str, int]
    windows: Mapping[str, Window]
    obstacles: Mapping[str, str]

    def height(self, graph: ModelGraph, name: str) -> int:
        """Rows of a tensor of the prefix."""
        return graph.specs[name].shape[self.axes[name]]


def find_local_prefix(graph: ModelGraph) -> LocalPrefix:
    """The tensors that local operators alone compute from the inputs.

    Local are convolutions and poolings over two axes, operators on single values, normalisation with fixed statistics,
    and whatever leaves the axis of rows alone: concatenation, transposition, selection or softmax over channels,
    enlargement by repetition. The prefix ends where an operator needs all rows: global pooling, attention, flattening.
    """
    axes = {spec.name: 1 if is_channels_last(spec.shape) else 2 for spec in graph.inputs if len(spec.shape) == 4}
    constants = {value.name: value for value in graph.model.graph.initializer}
    windows: dict[str, Window] = {}
    obstacles: dict[str, str] = {}
    for node in graph.model.graph.node:
        inputs = [name for name in node.input if name in graph.activations]
        if not inputs or not all(name in axes for name in inputs):
            continue
        try:
            windows[node.output[0]], axis = _Operator(node, inputs, axes, graph, constants).rule()
        except _Global as reason:
            obstacles[node.output[0]] = f"layer {node.name!r} ({node.op_type}) {reason}"
            continue
        axes |= {name: axis for name in node.output if name in graph.specs}
    return LocalPrefix(axes, windows, obstacles)


class _Operator:
    """One node, with what its rule depends on."""

    def __init__(
        self,
        node: onnx.NodeProto,
        inputs: list[str],
        axes: Mapping[str, int],
        graph: ModelGraph,
        constants: Mapping[str, onnx.TensorProto],
    ) -> None:
        self.node = node
        self.inputs = inputs
        self.axes = {axes[name] for name in inputs}
        self.graph = graph
        self.specs = graph.specs
        self.constants = constants
        self.attributes = _attributes(node)

    def rule(self) -> tuple[Window, int]:
        """How it uses rows, and its output's axis of rows.

        Raises:
            _Global: if it is not local.
        """
        kind = self.node.op_type
        if len(self.axes) > 1:
            raise _Global("combines tensors whose rows lie on different axes")
        (axis,) = self.axes
        if any(name not in self.specs for name in (*self.inputs, self.node.output[0])):
            raise _Global("has a tensor of unknown shape")
        if kind in _UNARY:
            return self._unary(axis)
        if kind in _BROADCAST:
            return self._broadcast(axis)
        if kind in WINDOWED:
            return self._windowed(axis)
        other: Callable[[int], tuple[Window, int]] | None = getattr(self, f"_{kind.lower()}", None)
        if other is None:
            raise _Global("is no local operator")
        return other(axis)

    # -- families ------------------------------------------------------------------------------------------------

    def _unary(self, axis: int) -> tuple[Window, int]:
        if self.attributes.get("training_mode"):
            raise _Global("takes its statistics from the picture")
        if self.node.op_type.endswith("eLinear"):
            rank = len(self.specs[self.inputs[0]].shape)
            scale = self.constants.get(self.node.input[1])
            single = scale is not None and prod(scale.dims) == 1
            if scale is None or (not single and self.attributes.get("axis", 1) % rank == axis):
                raise _Global("has a scale for each row")
        return Window(), axis

    def _broadcast(self, axis: int) -> tuple[Window, int]:
        output = self.specs[self.node.output[0]].shape
        for name in self.node.input:
            shape = self.specs[name].shape if name in self.inputs else self._dims(name)
            place = axis - len(output) + len(shape)
            if name in self.inputs and (len(shape) != len(output) or shape[axis] != output[axis]):
                raise _Global("repeats one row for all")
            if name not in self.inputs and place >= 0 and shape[place] != 1:
                raise _Global("has other constants for each row")
        return Window(), axis

    def _windowed(self, axis: int) -> tuple[Window, int]:
        shape, output = self.specs[self.inputs[0]].shape, self.specs[self.node.output[0]].shape
        if len(self.inputs) != 1 or self.inputs[0] != self.node.input[0]:
            raise _Global("takes its weights from the picture")
        if len(shape) != 4 or axis != 2:
            raise _Global("is not over rows and columns")
        if sum(1 for name in self.node.output if name) > 1:
            raise _Global("gives the places of its maxima")
        if self.attributes.get("count_include_pad", 0) and self.attributes.get("ceil_mode", 0):
            raise _Global("counts some of its padding and some not")
        kernel = _kernel(self.node, self.graph)
        for place in range(2):
            window = _window(self.attributes, kernel, shape, output, place)
            last = window.needs(Rows(output[2 + place] - 1, output[2 + place]))
            if window.before >= window.size or last.start >= shape[2 + place]:
                raise _Global("has windows that lie in the padding alone")
        return _window(self.attributes, kernel, shape, output, 0), axis

    # -- operators that leave the rows where they are ------------------------------------------------------------

    def _concat(self, axis: int) -> tuple[Window, int]:
        self._elsewhere(self.attributes["axis"], axis)
        if len(self.inputs) != len(self.node.input):
            raise _Global("adds constants of all rows")
        return Window(), axis

    def _softmax(self, axis: int) -> tuple[Window, int]:
        self._elsewhere(self.attributes.get("axis", -1), axis)
        return Window(), axis

    def _split(self, axis: int) -> tuple[Window, int]:
        self._elsewhere(self.attributes.get("axis", 0), axis)
        return Window(), axis

    def _gather(self, axis: int) -> tuple[Window, int]:
        self._elsewhere(self.attributes.get("axis", 0), axis)
        if self.node.input[0] not in self.inputs or len(self._dims(self.node.input[1])) != 1:
            raise _Global("does not select channels")
        return Window(), axis

    def _slice(self, axis: int) -> tuple[Window, int]:
        rank = len(self.specs[self.inputs[0]].shape)
        if len(self.node.input) > 3 and self.node.input[3]:
            touched = [int(value) % rank for value in self._values(self.node.input[3])]
        else:
            touched = list(range(self._dims(self.node.input[1])[0]))
        if axis in touched:
            raise _Global("selects rows")
        return Window(), axis

    def _transpose(self, axis: int) -> tuple[Window, int]:
        rank = len(self.specs[self.inputs[0]].shape)
        perm = self.attributes.get("perm") or list(range(rank))[::-1]
        return Window(), list(perm).index(axis)

    def _resize(self, axis: int) -> tuple[Window, int]:
        shape, output = self.specs[self.inputs[0]].shape, self.specs[self.node.output[0]].shape
        ways = {("asymmetric", "floor"), ("half_pixel", "round_prefer_floor")}
        how = (
            self.attributes.get("coordinate_transformation_mode", b"half_pixel").decode(),
            self.attributes.get("nearest_mode", b"round_prefer_floor").decode(),
        )
        nearest = self.attributes.get("mode", b"nearest") == b"nearest" and how in ways
        if not nearest or any(after % before for before, after in zip(shape, output, strict=True)):
            raise _Global("enlarges in another way than by repeating rows")
        return Window(factor=output[axis] // shape[axis]), axis

    # -- constants -----------------------------------------------------------------------------------------------

    def _elsewhere(self, touched: int, axis: int) -> None:
        if touched % len(self.specs[self.inputs[0]].shape) == axis:
            raise _Global("works along the rows")

    def _dims(self, name: str) -> tuple[int, ...]:
        if name not in self.constants:
            raise _Global(f"takes {name!r}, whose shape is not fixed")
        return tuple(self.constants[name].dims)

    def _values(self, name: str) -> Array:
        self._dims(name)
        return numpy_helper.to_array(self.constants[name])


def window_attributes(node: onnx.NodeProto, graph: ModelGraph, rows: Rows) -> dict[str, Any]:
    """Attributes of a convolution or pooling of `graph` that computes `rows` from what they need, and all columns."""
    attributes, kernel = _attributes(node), _kernel(node, graph)
    shape, output = graph.specs[node.input[0]].shape, graph.specs[node.output[0]].shape
    top, bottom = _padding(_window(attributes, kernel, shape, output, 0), rows, shape[2])
    left, right = _padding(_window(attributes, kernel, shape, output, 1), Rows(0, output[3]), shape[3])
    attributes |= {"pads": [top, left, bottom, right]}
    attributes.pop("auto_pad", None)
    attributes.pop("ceil_mode", None)
    return attributes


def _padding(window: Window, rows: Rows, height: int) -> tuple[int, int]:
    """Rows of padding above and below what `rows` need of a tensor of `height` rows: 0 away from its edges."""
    needs = window.needs(rows)
    return max(0, -needs.start), max(0, needs.stop - height)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _kernel(node: onnx.NodeProto, graph: ModelGraph) -> tuple[int, ...]:
    """Height and width of the window of a convolution or pooling."""
    given = _attributes(node).get("kernel_shape")
    if given:
        return tuple(given)
    weights = node.input[1]
    producer = graph.producers.get(weights)
    if producer is not None and producer.op_type == "DequantizeLinear":
        weights = producer.input[0]
    for constant in graph.model.graph.initializer:
        if constant.name == weights:
            return tuple(constant.dims[2:])
    raise _Global("takes weights that are not fixed")


def _window(
    attributes: Mapping[str, Any],
    kernel: tuple[int, ...],
    shape: tuple[int, ...],
    output: tuple[int, ...],
    place: int,
) -> Window:
    """Along the rows (place 0) or the columns (1)."""
    stride = (attributes.get("strides") or [1, 1])[place]
    size = (attributes.get("dilations") or [1, 1])[place] * (kernel[place] - 1) + 1
    before = (attributes.get("pads") or [0, 0, 0, 0])[place]
    same = attributes.get("auto_pad", b"NOTSET").decode()
    if same.startswith("SAME"):
        total = max(0, (output[2 + place] - 1) * stride + size - shape[2 + place])
        before = total // 2 if same == "SAME_UPPER" else total - total // 2
    return Window(size, stride, before)
