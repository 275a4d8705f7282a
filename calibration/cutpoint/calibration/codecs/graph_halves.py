"""Building the graph halves of a codec node by node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from cutpoint.codecs import Array, TensorSpec

__all__ = ["GraphBuilder", "half_precision"]

#: Version of the operators the codec graphs use: old enough for every onnxruntime, new enough for Clip with inputs.
_OPSET = 13
_IR_VERSION = 8
#: Name of the first dimension where it is free.
_BATCH = "batch"
#: Smaller constants, in bytes, are not worth halving.
_LEAST = 1024


def half_precision(values: Array) -> Array:
    """float32 values rounded to what float16 holds; as they are where one of them is too large for it."""
    if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
        return values
    return values.astype(np.float16).astype(np.float32)


class GraphBuilder:
    """Nodes and constants of a codec graph; `level` is its last input."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.functions: list[onnx.FunctionProto] = []
        self.opsets = {"": _OPSET}
        self.ir_version = _IR_VERSION

    def add(self, op_type: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """One node with one output, whose name is returned."""
        self.nodes.append(helper.make_node(op_type, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, name: str, values: Array) -> str:
        """A constant, whose name is returned."""
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def halved(self, name: str, values: Array) -> str:
        """A float32 constant that the file holds as float16, where that saves anything; its name is returned.

        Runtimes widen it when they load the graph. `half_precision` makes values that lose nothing by it.
        """
        if values.nbytes < _LEAST or not np.array_equal(half_precision(values), values):
            return self.constant(name, values)
        stored = self.constant(f"{name}/fp16", values.astype(np.float16))
        return self.add("Cast", [stored], name, to=TensorProto.FLOAT)

    def reshape(self, value: str, shape: Sequence[int], output: str) -> str:
        """`value` with another shape."""
        return self.add("Reshape", [value, self.constant(f"{output}/shape", np.array(shape, np.int64))], output)

    def row(self, name: str, table: Array, shape: Sequence[int]) -> str:
        """The row of `table` (levels, …) that `level` picks, with the shape `shape`."""
        rows = self.constant(f"{name}/table", table.reshape(len(table), *shape))
        return self.add("Gather", [rows, "level"], name, axis=0)

    def branch(self, condition: str, then: GraphBuilder, otherwise: GraphBuilder, output: str) -> str:
        """One of two graphs, which see the names of this one. The last node of each gives the value."""

        def body(builder: GraphBuilder, name: str) -> onnx.GraphProto:
            value = helper.make_tensor_value_info(builder.nodes[-1].output[0], TensorProto.FLOAT, None)
            return helper.make_graph(builder.nodes, name, [], [value], builder.constants)

        branches = {"then_branch": body(then, "then"), "else_branch": body(otherwise, "else")}
        return self.add("If", [condition], output, **branches)

    def embed(self, model: onnx.ModelProto, inputs: Sequence[str], outputs: Sequence[str], prefix: str) -> None:
        """All of another graph.

        Args:
            model: whose inner names get `prefix` in front.
            inputs: tensors that it takes.
            outputs: names for what it gives.
        """
        copy = compose.add_prefix(model, prefix)
        names = dict(zip((value.name for value in copy.graph.input), inputs, strict=True))
        names |= dict(zip((value.name for value in copy.graph.output), outputs, strict=True))
        for node in copy.graph.node:
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]
            self.nodes.append(node)
        self.constants += copy.graph.initializer
        self.functions += copy.functions
        for opset in copy.opset_import:
            self.opsets[opset.domain] = max(opset.version, self.opsets.get(opset.domain, 0))
        self.ir_version = max(self.ir_version, copy.ir_version)

    def model(
        self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], batch: bool = False
    ) -> onnx.ModelProto:
        """The finished, checked graph.

        Args:
            inputs, outputs: batch 1.
            batch: whether it takes several samples of one level at once: their number is a dimension without a value.
        """

        def value(spec: TensorSpec) -> onnx.ValueInfoProto:
            dtype = helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
            front = _BATCH if batch else spec.shape[0]
            return helper.make_tensor_value_info(spec.name, dtype, [front, *spec.shape[1:]])

        level = helper.make_tensor_value_info("level", TensorProto.INT64, [])
        graph = helper.make_graph(
            self.nodes, "codec", [*map(value, inputs), level], list(map(value, outputs)), self.constants
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(domain, version) for domain, version in self.opsets.items()],
            functions=self.functions,
            ir_version=self.ir_version,
            producer_name="cutpoint",
        )
        onnx.checker.check_model(model)
        return model
