"""What an exit computes: a short way from a boundary to the model's outputs, and how sure it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cutpoint.calibration.graphs.graph import remove_dead_nodes
from cutpoint.codecs import TensorSpec

__all__ = ["CONFIDENCE", "pooled_early", "pooled_head", "shortened", "with_confidence"]

#: Name of the output that says how sure the exit is.
CONFIDENCE = "confidence"
#: Width of the hidden layer of a pooled head, in widths of what goes in, and at the most.
_HIDDEN, _WIDEST = 2, 1024
#: Probabilities below this are taken as this.
_LEAST = 1e-12
#: What is computed of every value alone.
_ACTIVATIONS = frozenset(
    {"Clip", "Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "Relu", "Sigmoid", "Softplus", "Tanh"}
)


def shortened(tail: onnx.ModelProto) -> onnx.ModelProto | None:
    """The tail without its residual blocks, which carry on much the same with what goes around them.

    A residual block is a sum of which one summand is computed from the other (He et al., arXiv 1512.03385); networks
    lose little with one block less (Veit et al., arXiv 1605.06431), and what they lose by several, training gives back
    in part.

    Args:
        tail: from a boundary to the outputs.

    Returns:
        The shorter graph, with the weights of the tail; None if the tail has no such block.
    """
    short = onnx.ModelProto()
    short.CopyFrom(tail)
    nodes = list(short.graph.node)
    constants = {value.name for value in short.graph.initializer}
    makers = {name: node for node in nodes for name in node.output}
    around: dict[str, str] = {}

    def ancestors(name: str) -> set[str]:
        found: set[str] = set()
        open_ = [name]
        while open_:
            node = makers.get(open_.pop())
            for origin in node.input if node is not None else ():
                origin = around.get(origin, origin)
                if origin and origin not in found:
                    found.add(origin)
                    open_.append(origin)
        return found

    for node in nodes:
        if node.op_type != "Add" or constants.intersection(node.input):
            continue
        first, second = (around.get(name, name) for name in node.input)
        shortcut = first if first in ancestors(second) else second if second in ancestors(first) else None
        if shortcut is not None:
            around[node.output[0]] = shortcut
    outputs = {value.name for value in short.graph.output}
    if not around or outputs & around.keys():
        return None
    for node in nodes:
        node.input[:] = [around.get(name, name) for name in node.input]
    remove_dead_nodes(short)
    return short


def pooled_early(tail: onnx.ModelProto) -> onnx.ModelProto | None:
    """The tail with the mean over all places taken in front of the 1×1 convolutions that lead to it.

    These then compute one place instead of all. Where no activation lies between it is the same; otherwise training
    makes up for the difference.

    Args:
        tail: from a boundary to the outputs.

    Returns:
        The cheaper graph, with the weights of the tail; None if there is no such mean or no such convolution.
    """
    model = onnx.ModelProto()
    model.CopyFrom(tail)
    nodes = list(model.graph.node)
    makers = {name: node for node in nodes for name in node.output}
    readers = Counter(name for node in nodes for name in node.input)
    weights = {value.name: list(value.dims) for value in model.graph.initializer}
    pools = [node for node in nodes if node.op_type == "GlobalAveragePool"]
    if len(pools) != 1:
        return None
    (pool,) = pools
    first, name = None, pool.input[0]
    while (node := makers.get(name)) is not None and readers[name] == 1:
        if _is_pointwise(node, weights):
            first = node
        elif node.op_type not in _ACTIVATIONS:
            break
        name = node.input[0]
    if first is None:
        return None
    # What read the mean reads what it was taken of, and the first convolution reads the mean.
    before, after = pool.input[0], pool.output[0]
    for node in nodes:
        node.input[:] = [before if name == after else name for name in node.input]
    nodes.remove(pool)
    pool.input[0], first.input[0] = first.input[0], after
    nodes.insert(nodes.index(first), pool)
    moved = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(moved)
    return model


def _is_pointwise(node: onnx.NodeProto, weights: Mapping[str, list[int]]) -> bool:
    """Whether `node` is a convolution that computes every place from that place alone."""
    if node.op_type != "Conv":
        return False
    given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    kernel = weights.get(node.input[1], [])[2:]
    around = [*given.get("strides", ()), *(pad + 1 for pad in given.get("pads", ()))]
    return bool(kernel) and set(kernel) == {1} and set(around) <= {1}


def pooled_head(start: Sequence[TensorSpec], output: TensorSpec, opset: int, batch: bool, seed: int) -> onnx.ModelProto:
    """A hidden layer and a linear one behind the means of the boundary's tensors, with weights to begin a training.

    Of maps (1, channels, …) the means over all places are taken; of tokens (1, tokens, channels) the first one, which
    in transformers stands for the whole, and the mean; vectors as they are.

    Args:
        start: tensors of the boundary.
        output: the model's only one, (1, classes).
        opset: version of the operators.
        batch: whether the batch axis is free.
        seed: of the weights.
    """
    nodes, parts, width = [], [], 0
    for number, spec in enumerate(start):
        if len(spec.shape) == 3:
            nodes.append(helper.make_node("Gather", [spec.name, "first"], [f"token/{number}"], axis=1))
            nodes.append(helper.make_node("ReduceMean", [spec.name], [f"mean/{number}"], axes=[1], keepdims=0))
            parts += [f"token/{number}", f"mean/{number}"]
            width += 2 * spec.shape[2]
            continue
        source = spec.name
        if len(spec.shape) > 3:
            source = f"pooled/{number}"
            nodes.append(helper.make_node("GlobalAveragePool", [spec.name], [source]))
        nodes.append(helper.make_node("Flatten", [source], [f"mean/{number}"]))
        parts.append(f"mean/{number}")
        width += spec.shape[1]
    hidden, classes = min(_HIDDEN * width, _WIDEST), output.shape[1]
    rng = np.random.default_rng(seed)
    weights = {
        "hidden/weight": rng.normal(0, np.sqrt(2 / width), (hidden, width)),
        "hidden/bias": rng.normal(0, 1e-3, hidden),
        "scores/weight": rng.normal(0, np.sqrt(1 / hidden), (classes, hidden)),
        "scores/bias": rng.normal(0, 1e-3, classes),
    }
    nodes += [
        helper.make_node("Concat", parts, ["features"], axis=1),
        helper.make_node("Gemm", ["features", "hidden/weight", "hidden/bias"], ["hidden"], transB=1),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("Gemm", ["active", "scores/weight", "scores/bias"], [output.name], transB=1),
    ]
    front = "N" if batch else 1
    graph = helper.make_graph(
        nodes,
        "exit",
        [helper.make_tensor_value_info(s.name, TensorProto.FLOAT, [front, *s.shape[1:]]) for s in start],
        [helper.make_tensor_value_info(output.name, TensorProto.FLOAT, [front, classes])],
        [
            *(numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()),
            numpy_helper.from_array(np.array(0), "first"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def with_confidence(head: onnx.ModelProto, temperature: float, probable: bool) -> onnx.ModelProto:
    """The graph with one more output, (batch,): the probability of the best class against the second at `temperature`.

    Args:
        head: whose only output are scores of classes.
        temperature: that scores, as logarithms of probabilities, are divided by.
        probable: whether the scores are probabilities.
    """
    model = onnx.ModelProto()
    model.CopyFrom(head)
    scores = model.graph.output[0]
    front = scores.type.tensor_type.shape.dim[0]
    constants = {"temperature": np.float32(temperature), "least": np.float32(_LEAST), "two": [2], "best": 0}
    logits = scores.name
    if probable:
        model.graph.node.append(helper.make_node("Max", [scores.name, "exit/least"], ["exit/positive"]))
        model.graph.node.append(helper.make_node("Log", ["exit/positive"], ["exit/logits"]))
        logits = "exit/logits"
    model.graph.node.extend(
        [
            helper.make_node("Div", [logits, "exit/temperature"], ["exit/scaled"]),
            helper.make_node("TopK", ["exit/scaled", "exit/two"], ["exit/greatest", "exit/classes"], axis=1),
            helper.make_node("Softmax", ["exit/greatest"], ["exit/probabilities"], axis=1),
            helper.make_node("Gather", ["exit/probabilities", "exit/best"], [CONFIDENCE], axis=1),
        ]
    )
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), f"exit/{name}") for name, value in constants.items()
    )
    size: str | int = front.dim_param or front.dim_value
    model.graph.output.append(helper.make_tensor_value_info(CONFIDENCE, TensorProto.FLOAT, [size]))
    return model
