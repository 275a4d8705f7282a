"""Networks and data folders small enough to calibrate in a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.graphs.precision import Quantiser
from cutpoint.codecs import Array, TensorSpec

__all__ = [
    "SIDE",
    "Network",
    "control_flow_net",
    "inspect",
    "int8_model",
    "picture_folder",
    "residual_net",
    "token_net",
    "two_scale_net",
]

SIDE = 16


class Network:
    """Collects nodes and weights of an ONNX graph; weights are drawn from a fixed seed."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def weight(self, name: str, *shape: int) -> str:
        scale = 1 / np.sqrt(np.prod(shape[1:]))
        self._weights.append(numpy_helper.from_array(self._rng.normal(0, scale, shape).astype(np.float32), name))
        return name

    def constant(self, name: str, value: Any) -> str:
        self._weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, op_type: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(op_type, inputs, [output], name=f"node_{output}", **attributes))
        return output

    def conv(self, source: str, output: str, inside: int, outside: int, kernel: int = 3, stride: int = 1) -> str:
        weight = self.weight(f"{output}_w", outside, inside, kernel, kernel)
        pads = [kernel // 2] * 4
        return self.add("Conv", [source, weight], output, strides=[stride, stride], pads=pads)

    def model(
        self, input_shape: tuple[int, ...], outputs: list[str], *, batch: bool = True, opset: int = 13
    ) -> onnx.ModelProto:
        front: str | int = "N" if batch else 1
        graph = helper.make_graph(
            self._nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [front, *input_shape[1:]])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            self._weights,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def residual_net(*, batch: bool = True, opset: int = 13, side: int = SIDE, width: int = 8) -> onnx.ModelProto:
    """conv relu | conv relu conv + skip, relu | conv/2 relu | mean, dense. Single-tensor cuts at r1, r3, r4, m."""
    net = Network()
    net.add("Relu", [net.conv("x", "c1", 3, width)], "r1")
    net.add("Relu", [net.conv("r1", "c2", width, width)], "r2")
    net.add("Add", [net.conv("r2", "c3", width, width), "r1"], "a3")
    net.add("Relu", ["a3"], "r3")
    net.add("Relu", [net.conv("r3", "c4", width, 2 * width, stride=2)], "r4")
    net.add("GlobalAveragePool", ["r4"], "m")
    net.add("Flatten", ["m"], "f")
    net.add("Gemm", ["f", net.weight("dense", 2 * width, 5), net.constant("bias", np.zeros(5, np.float32))], "scores")
    return net.model((1, 3, side, side), ["scores"], batch=batch, opset=opset)


def two_scale_net() -> onnx.ModelProto:
    """Two scales side by side for most of the computation: no single tensor crosses there."""
    net = Network()
    net.add("Relu", [net.conv("x", "c1", 3, 8, stride=2)], "s1")
    net.add("Relu", [net.conv("s1", "c2", 8, 16, stride=2)], "s2")
    net.add("Relu", [net.conv("s1", "c3", 8, 16)], "fine")
    net.add("Relu", [net.conv("s2", "c4", 16, 32)], "coarse")
    for name, channels in (("fine", 16), ("coarse", 32)):
        net.add("Relu", [net.conv(name, f"{name}_h", channels, 32)], f"{name}_r")
        net.conv(f"{name}_r", f"{name}_o", 32, 4, kernel=1)
        net.add("Reshape", [f"{name}_o", net.constant(f"{name}_s", np.array([1, 4, -1]))], f"{name}_f")
    net.add("Concat", ["fine_f", "coarse_f"], "boxes", axis=2)
    return net.model((1, 3, SIDE, SIDE), ["boxes"], batch=False)


def token_net() -> onnx.ModelProto:
    """Patches as tokens (1, 16, 12), one attention block, the mean token's scores."""
    net = Network()
    net.add("Reshape", [net.conv("x", "p", 3, 12, 1, 4), net.constant("ps", np.array([0, 12, -1]))], "pr")
    net.add("Transpose", ["pr"], "tokens", perm=[0, 2, 1])
    net.add("MatMul", ["tokens", net.weight("wq", 12, 12)], "q")
    net.add("MatMul", ["tokens", net.weight("wk", 12, 12)], "k")
    net.add("Transpose", ["k"], "kt", perm=[0, 2, 1])
    net.add("Softmax", [net.add("MatMul", ["q", "kt"], "qk")], "attention", axis=-1)
    net.add("MatMul", [net.add("MatMul", ["attention", "tokens"], "mixed"), net.weight("wo", 12, 12)], "o")
    net.add("Add", ["o", "tokens"], "block")
    net.add("MatMul", ["block", net.weight("wm", 12, 12)], "mlp")
    net.add("ReduceMean", ["mlp"], "mean", axes=[1], keepdims=0)
    net.add("MatMul", ["mean", net.weight("head", 12, 5)], "scores")
    return net.model((1, 3, SIDE, SIDE), ["scores"])


def control_flow_net() -> onnx.ModelProto:
    """Takes one of two ways, depending on the values."""

    def branch(op_type: str, name: str) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        return helper.make_graph([helper.make_node(op_type, ["c"], [name])], name, [], [out])

    net = Network()
    net.conv("x", "c", 3, 4)
    net.add("ReduceSum", ["c"], "sum", keepdims=0)
    net.add("Greater", ["sum", net.constant("zero", np.float32(0))], "positive")
    net.add("If", ["positive"], "out", then_branch=branch("Relu", "a"), else_branch=branch("Neg", "b"))
    return net.model((1, 3, SIDE, SIDE), ["out"])


def int8_model(
    graph: ModelGraph, samples: Sequence[Sequence[Array]], advance: Callable[[], None] = lambda: None
) -> onnx.ModelProto:
    """All of a model in int8."""
    with Quantiser(graph, samples, advance) as quantiser:
        return quantiser()


def inspect(model: onnx.ModelProto) -> ModelGraph:
    """The graph of a network from here."""
    shape = tuple(dim.dim_value or 1 for dim in model.graph.input[0].type.tensor_type.shape.dim)
    return ModelGraph.inspect(model, [TensorSpec("x", shape, "float32")])


def picture_folder(folder: Path, count: int, *, side: int = SIDE, classes: int = 0) -> Path:
    """Noise pictures, in one folder or in one per class."""
    rng = np.random.default_rng(1)
    for number in range(count):
        place = folder / f"class{number % classes}" if classes else folder
        place.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        coarse.resize((side, side), Image.Resampling.BILINEAR).save(place / f"{number:03}.png")
    return folder


def net_with_one_bad_layer() -> ModelGraph:
    """The channels of its middle layer differ in size by a thousand, and the small ones carry the answer."""
    net = Network()
    net.add("Relu", [net.conv("x", "good", 3, 8)], "r1")
    weight = np.random.default_rng(1).normal(0, 0.2, (8, 8, 1, 1)).astype(np.float32)
    weight[0] *= 1000
    net.add("Conv", ["r1", net.constant("bad_w", weight)], "bad")
    undo = np.random.default_rng(2).normal(0, 0.2, (8, 8, 1, 1)).astype(np.float32)
    undo[:, 0] = 0
    net.add("Conv", ["bad", net.constant("undo_w", undo)], "undo")
    net.add("Relu", ["undo"], "r2")
    net.conv("r2", "out", 8, 4)
    return inspect(net.model((1, 3, SIDE, SIDE), ["out"], batch=False))
