"""Small `.tflite` graphs, written by hand. Tests with them are skipped where LiteRT is not installed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
import pytest

from cutpoint.codecs import Array

__all__ = ["adding_net", "packed", "schema"]

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")


def adding_net(constants: Sequence[Array]) -> bytes:
    """A graph that adds one constant after the other to its input, float32 of their shape."""
    model = schema.ModelT()
    model.version = 3
    model.buffers = [schema.BufferT()]
    graph = schema.SubGraphT()
    graph.name = b"main"
    graph.tensors, graph.operators = [], []

    def tensor(name: str, values: Array | None = None) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.type = name.encode(), list(constants[0].shape), schema.TensorType.FLOAT32
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(values.astype(np.float32).tobytes(), np.uint8)
            made.buffer = len(model.buffers)
            model.buffers.append(buffer)
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    code = schema.OperatorCodeT()
    code.deprecatedBuiltinCode = code.builtinCode = schema.BuiltinOperator.ADD
    code.version = 1
    model.operatorCodes = [code]
    last = first = tensor("x")
    for number, values in enumerate(constants):
        operator = schema.OperatorT()
        operator.inputs = [last, tensor(f"c{number}", values)]
        last = tensor(f"y{number}")
        operator.outputs = [last]
        operator.builtinOptionsType = schema.BuiltinOptions.AddOptions
        operator.builtinOptions = schema.AddOptionsT()
        graph.operators.append(operator)
    graph.inputs, graph.outputs = [first], [last]
    model.subgraphs = [graph]
    signature = schema.SignatureDefT()
    signature.signatureKey = b"serving_default"
    signature.inputs, signature.outputs = [_mapped("args_0", first)], [_mapped("output_0", last)]
    model.signatureDefs = [signature]
    return packed(model)


def _mapped(name: str, tensor: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), tensor
    return entry


def packed(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())
