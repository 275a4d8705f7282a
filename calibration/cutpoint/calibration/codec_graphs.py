"""Building the graph halves of a codec node by node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cutpoint.codecs import Array, TensorSpec

__all__ = ["GraphBuilder"]

#: Version of the operators the codec graphs use: old enough for every onnxruntime, new enough for Clip with inputs.
_OPSET = 13


class GraphBuilder:
    """Nodes and constants of a codec graph; `level` is its last input."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, op_type: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """One node with one output, whose name is returned."""
        self.nodes.append(helper.make_node(op_type, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, name: str, values: Array) -> str:
        """A constant, whose name is returned."""
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def reshape(self, value: str, shape: Sequence[int], output: str) -> str:
        """`value` with another shape."""
        return self.add("Reshape", [value, self.constant(f"{output}/shape", np.array(shape, np.int64))], output)

    def row(self, name: str, table: Array, shape: Sequence[int]) -> str:
        """The row of `table` (levels, …) that `level` picks, with the shape `shape`."""
        rows = self.constant(f"{name}/table", table.reshape(len(table), *shape))
        return self.add("Gather", [rows, "level"], name, axis=0)

    def model(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> onnx.ModelProto:
        """The finished, checked graph."""

        def value(spec: TensorSpec) -> onnx.ValueInfoProto:
            dtype = helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
            return helper.make_tensor_value_info(spec.name, dtype, list(spec.shape))

        level = helper.make_tensor_value_info("level", TensorProto.INT64, [])
        graph = helper.make_graph(
            self.nodes, "codec", [*map(value, inputs), level], list(map(value, outputs)), self.constants
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8, producer_name="cutpoint"
        )
        onnx.checker.check_model(model)
        return model
