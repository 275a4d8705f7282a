"""Random networks of local operators, as hypothesis draws them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

__all__ = ["CHANNELS", "local_nets"]

CHANNELS = 4


class _Draft:
    """A graph that grows at its end, with the height and width of every tensor. Weights are positive."""

    def __init__(self, height: int, width: int, seed: int) -> None:
        self.sides = {"x": (height, width)}
        self.last = "x"
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._rng = np.random.default_rng(seed)

    def add(self, op_type: str, inputs: list[str], sides: tuple[int, int], **attributes: object) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], name=f"n{len(self.nodes)}", **attributes))
        self.sides[name] = sides
        self.last = name
        return name

    def weight(self, shape: tuple[int, ...]) -> str:
        name = f"w{len(self.weights)}"
        values = self._rng.uniform(0.1, 1, shape) / np.prod(shape[1:])
        self.weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def constant(self, values: list[float], dtype: type) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.array(values, dtype), name))
        return name

    def model(self) -> onnx.ModelProto:
        height, width = self.sides["x"]
        graph = helper.make_graph(
            self.nodes,
            "local",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", CHANNELS, height, width])],
            [helper.make_tensor_value_info(self.last, TensorProto.FLOAT, None)],
            self.weights,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def _windowed(draft: _Draft, draw: Callable[[st.SearchStrategy[int]], int], kind: str, same_size: bool) -> bool:
    """Adds a convolution or pooling where one fits; the top and bottom, left and right paddings differ."""
    sides = draft.sides[draft.last]
    kernel = [draw(st.sampled_from([1, 2, 3, 5])) for _ in range(2)]
    dilation = [draw(st.integers(1, 2)) if kind != "AveragePool" else 1 for _ in range(2)]
    if any(d > n for d, n in zip(dilation, sides, strict=True)):
        return False  # Its windows would see nothing but padding.
    size = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    if same_size:
        stride = [1, 1]
        begin = [draw(st.integers(0, s - 1)) for s in size]
        end = [s - 1 - b for s, b in zip(size, begin, strict=True)]
    else:
        stride = [draw(st.integers(1, 3)) for _ in range(2)]
        # Poolings may not be padded by their kernel or more.
        begin, end = ([draw(st.integers(0, k - 1)) for k in kernel] for _ in range(2))
    if kind != "Conv" and any(p >= k for p, k in zip((*begin, *end), (*kernel, *kernel), strict=True)):
        return False
    after = tuple((n + b + e - s) // t + 1 for n, b, e, s, t in zip(sides, begin, end, size, stride, strict=True))
    if min(n + b + e - s for n, b, e, s in zip(sides, begin, end, size, strict=True)) < 0 or min(after) < 1:
        return False
    attributes: dict[str, object] = {"strides": stride, "pads": [*begin, *end]}
    if kind != "AveragePool":
        attributes["dilations"] = dilation
    if kind == "Conv":
        groups = draw(st.sampled_from([1, 2, CHANNELS]))
        weight = draft.weight((CHANNELS, CHANNELS // groups, *kernel))
        draft.add("Conv", [draft.last, weight], after, group=groups, **attributes)
    else:
        if kind == "AveragePool":
            attributes["count_include_pad"] = draw(st.integers(0, 1))
        draft.add(kind, [draft.last], after, kernel_shape=kernel, **attributes)
    return True


@st.composite
def local_nets(draw: Callable[[st.SearchStrategy[int]], int]) -> onnx.ModelProto:
    """A model of one input "x", float (N, `CHANNELS`, height, width), whose output grows with each value of it."""
    draft = _Draft(draw(st.integers(6, 24)), draw(st.integers(4, 8)), draw(st.integers(0, 99)))
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["Conv", "Conv", "MaxPool", "AveragePool", "Relu", "residual", "concat", "Resize"]))
        sides = draft.sides[draft.last]
        if kind in ("Conv", "MaxPool", "AveragePool"):
            _windowed(draft, draw, kind, same_size=False)
        elif kind == "Relu":
            draft.add("Relu", [draft.last], sides)
        elif kind == "Resize" and max(sides) <= 12:
            scales = draft.constant([1, 1, 2, 1], np.float32)
            draft.add(
                "Resize",
                [draft.last, "", scales],
                (2 * sides[0], sides[1]),
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
        elif kind in ("residual", "concat"):
            before = draft.last
            if not _windowed(draft, draw, "Conv", same_size=True):
                continue
            if kind == "residual":
                draft.add("Add", [draft.last, before], sides)
            else:
                both = draft.add("Concat", [draft.last, before], sides, axis=1)
                draft.add("Conv", [both, draft.weight((CHANNELS, 2 * CHANNELS, 1, 1))], sides)
    if draft.last == "x":
        draft.add("Relu", ["x"], draft.sides["x"])
    return draft.model()
