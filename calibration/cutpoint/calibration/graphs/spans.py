"""Spans: the part of a graph between two boundaries, as a graph of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper

from cutpoint.calibration.errors import CalibrationError
from cutpoint.codecs import TensorSpec

__all__ = ["extract_span"]


def extract_span(
    model: onnx.ModelProto, start: Sequence[TensorSpec], end: Sequence[TensorSpec], batch: bool
) -> onnx.ModelProto:
    """The nodes that compute `end` from `start`.

    In a quantised graph a boundary's tensor may be followed by its quantisation. A span that ends there includes it and
    gives the dequantised tensor, so that the runtime still fuses the last layer into integer arithmetic.

    Args:
        model: nodes in topological order.
        start: inputs of the span, in this order.
        end: outputs of the span, in this order.
        batch: whether the batch axis is free.

    Returns:
        A model whose outputs are named after `end` wherever that name is not also an input's or an inner tensor's.

    Raises:
        CalibrationError: if `end` needs more than `start`, or the model lacks a tensor.
    """
    wanted = [_dequantised(model, spec.name) for spec in end]
    inputs = {spec.name for spec in start}
    constants = {value.name for value in model.graph.initializer}
    needed = set(wanted) - inputs
    kept: list[onnx.NodeProto] = []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(name for name in node.input if name and name not in inputs)
    kept.reverse()
    made = {name for node in kept for name in node.output}
    if missing := sorted(needed - made - constants):
        raise CalibrationError(f"the span cannot be cut out of the graph: it also needs {', '.join(missing)}")

    outputs = list(wanted)
    for number, (name, spec) in enumerate(zip(wanted, end, strict=True)):
        if name in inputs:  # An input that is an output too needs a node between.
            outputs[number] = f"{spec.name}/out"
            kept.append(helper.make_node("Identity", [name], [outputs[number]], name=outputs[number]))
    front = "N" if batch else 1
    graph = helper.make_graph(
        kept,
        "span",
        [_value(spec.name, spec, front) for spec in start],
        [_value(name, spec, front) for name, spec in zip(outputs, end, strict=True)],
        [value for value in model.graph.initializer if value.name in needed],
    )
    span = helper.make_model(graph, opset_imports=model.opset_import, functions=model.functions)
    span.ir_version = model.ir_version
    span.producer_name = "cutpoint"
    return span


def _value(name: str, spec: TensorSpec, front: str | int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype)), [front, *spec.shape[1:]]
    )


def _dequantised(model: onnx.ModelProto, name: str) -> str:
    """The tensor behind quantisation and dequantisation of `name`, or `name` itself where it is not quantised."""
    for quantise in model.graph.node:
        if quantise.op_type == "QuantizeLinear" and quantise.input[0] == name:
            for dequantise in model.graph.node:
                if dequantise.op_type == "DequantizeLinear" and dequantise.input[0] == quantise.output[0]:
                    return str(dequantise.output[0])
    return name
