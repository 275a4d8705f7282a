"""A slice of a span as a graph of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.graphs.spans import extract_span
from cutpoint.calibration.slices.halo import Halo, node_needs, trace_halo
from cutpoint.calibration.slices.local import WINDOWED, LocalPrefix, find_local_prefix, window_attributes
from cutpoint.calibration.slices.rows import Rows
from cutpoint.codecs import TensorSpec

__all__ = ["SpanSlice", "slice_span"]


@dataclass(frozen=True)
class SpanSlice:
    """Some rows of a span's end.

    Attributes:
        model: takes the rows `needs` of the span's start, gives the rows `rows` of its end. Slices of one height away
            from the picture's edges are the same graph, byte for byte.
        rows: of each tensor of the end.
        needs: of each tensor of the start: those that `rows` depend on, and what lies between; where a dilated window
            begins or ends in the padding, a few more.
        macs: multiply-accumulates, batch 1; those of the rows that several slices compute are in each of them.
    """

    model: onnx.ModelProto
    rows: Rows
    needs: tuple[Rows, ...]
    macs: int


def slice_span(
    graph: ModelGraph,
    start: Sequence[TensorSpec],
    end: Sequence[TensorSpec],
    rows: Rows,
    prefix: LocalPrefix | None = None,
) -> SpanSlice:
    """The part of a span that computes `rows` of its end.

    Weights keep their names and values, so that `share_weights` stores them once for all slices and the whole span.

    Args:
        graph: the whole model.
        start: tensors of the boundary where the span begins.
        end: tensors of the boundary where it ends, of one height.
        rows: of `end`, at least one.
        prefix: of the graph; None: it is looked for.

    Raises:
        CalibrationError: if the span is not local, its end has tensors of several heights or not as many rows, or `end`
            needs more than `start`.
    """
    prefix = find_local_prefix(graph) if prefix is None else prefix
    trace_halo(graph, prefix, [spec.name for spec in start], [spec.name for spec in end], rows)
    span = extract_span(graph.model, start, end, graph.batch)
    # An int8 span ends behind the quantisation of its end; one that passes an input through ends in a new name.
    ends = [v.name if v.name in prefix.axes else s.name for v, s in zip(span.graph.output, end, strict=True)]
    halo = trace_halo(graph, prefix, [spec.name for spec in start], ends, rows)
    return _Slicer(graph, prefix, span, halo, rows).slice(start, end, ends)


class _Slicer:
    """Writes the nodes that compute the rows of a halo."""

    def __init__(self, graph: ModelGraph, prefix: LocalPrefix, span: onnx.ModelProto, halo: Halo, rows: Rows) -> None:
        self._graph = graph
        self._prefix = prefix
        self._span = span
        self._rows = rows
        self._halo = halo
        self._needed = halo.rows
        self._nodes: list[onnx.NodeProto] = []
        self._crops: set[str] = set()
        self._constants: dict[str, onnx.TensorProto] = {value.name: value for value in span.graph.initializer}

    def slice(self, start: Sequence[TensorSpec], end: Sequence[TensorSpec], ends: Sequence[str]) -> SpanSlice:
        """The slice, for the tensors of the span's boundaries; `ends` are the names that the graph has for `end`."""
        inputs = {spec.name for spec in start}
        passed = {value.name for value in self._span.graph.output}.difference(ends)
        for node in self._span.graph.node:
            if node.output[0] in self._needed:
                self._add(node)
            elif node.output[0] not in passed:
                self._nodes.append(node)  # It makes a constant.
        outputs = []
        for source, spec in zip(ends, end, strict=True):
            name = self._crop(source, self._needed[source], self._rows)
            if name in inputs:
                self._nodes.append(helper.make_node("Identity", [name], [f"{name}/out"], name=f"{name}/out"))
                name = f"{name}/out"
            outputs.append(self._value(name, spec, self._rows))
        used = {name for node in self._nodes for name in node.input}
        graph = helper.make_graph(
            self._nodes,
            "slice",
            [self._value(spec.name, spec, self._needed[spec.name]) for spec in start],
            outputs,
            [value for name, value in self._constants.items() if name in used],
        )
        model = helper.make_model(graph, opset_imports=self._span.opset_import, functions=self._span.functions)
        model.ir_version = self._span.ir_version
        model.producer_name = self._span.producer_name
        return SpanSlice(model, self._rows, tuple(self._needed[spec.name] for spec in start), self._halo.macs)

    def _add(self, node: onnx.NodeProto) -> None:
        """The node for the rows that are needed of its output."""
        rows = self._needed[node.output[0]]
        window = self._prefix.windows[node.output[0]]
        result = onnx.NodeProto()
        result.CopyFrom(node)
        for number, name in enumerate(node.input):
            if name in self._prefix.axes:
                needs = node_needs(self._graph, self._prefix, node, name, rows)
                result.input[number] = self._crop(name, self._needed[name], needs)
        if node.op_type in WINDOWED:
            attributes = window_attributes(node, self._graph, rows)
            del result.attribute[:]
            result.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        elif node.op_type == "Resize":
            before, after = (self._graph.specs[name].shape for name in (node.input[0], node.output[0]))
            factors = np.array([b // a for a, b in zip(before, after, strict=True)], np.float32)
            scales = self._constant(f"{node.name}/scales", factors)
            del result.input[1:]
            result.input.extend(["", scales])
        self._nodes.append(result)
        given = window.gives(rows)
        if given != rows:
            whole = f"{node.output[0]}/repeated"
            result.output[0] = whole
            self._nodes.append(self._cropping(whole, node.output[0], self._prefix.axes[node.output[0]], given, rows))

    def _crop(self, name: str, have: Rows, want: Rows) -> str:
        """The tensor that holds the rows `want` of `name`, of which there are the rows `have`."""
        if have == want:
            return name
        place = want.after(have.start)
        key = f"{name}/{place.start}:{place.stop}"
        if key not in self._crops:
            self._crops.add(key)
            self._nodes.append(self._cropping(name, key, self._prefix.axes[name], have, want))
        return key

    def _cropping(self, name: str, output: str, axis: int, have: Rows, want: Rows) -> onnx.NodeProto:
        place = want.after(have.start)
        constants = [self._constant(f"rows/{number}", np.array([number])) for number in (place.start, place.stop, axis)]
        return helper.make_node("Slice", [name, *constants], [output], name=output)

    def _constant(self, name: str, values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> str:
        self._constants[name] = numpy_helper.from_array(values, name)
        return name

    def _cut(self, spec: TensorSpec, rows: Rows) -> tuple[int, ...]:
        axis = self._prefix.axes[spec.name]
        return (*spec.shape[:axis], len(rows), *spec.shape[axis + 1 :])

    def _value(self, name: str, spec: TensorSpec, rows: Rows) -> onnx.ValueInfoProto:
        front: str | int = "N" if self._graph.batch else 1
        element = helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
        return helper.make_tensor_value_info(name, element, [front, *self._cut(spec, rows)[1:]])
