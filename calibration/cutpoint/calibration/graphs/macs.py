"""Multiply-accumulates of a node. Only what multiplies matrices or convolves counts; the rest is small beside it."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import onnx

__all__ = ["node_macs"]


def node_macs(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Multiply-accumulates of one run of `node`.

    Args:
        node: any node; types that do not multiply matrices count 0.
        shapes: of its inputs and outputs.
    """
    known = all(name in shapes for name in (*node.input[:2], node.output[0]))
    if not known:
        return 0
    output = prod(shapes[node.output[0]])
    if node.op_type == "Conv":
        # Weights (out, in / groups, *kernel): each output value is a sum over one filter.
        return output * prod(shapes[node.input[1]][1:])
    if node.op_type == "ConvTranspose":
        # Weights (in, out / groups, *kernel): each input value is spread over one filter.
        return prod(shapes[node.input[0]]) * prod(shapes[node.input[1]][1:])
    if node.op_type == "MatMul":
        return output * shapes[node.input[0]][-1]
    if node.op_type == "Gemm":
        transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return output * shapes[node.input[0]][0 if transposed else -1]
    return 0
