"""Trained policies as ONNX files: a backbone, heads on top of it, and a card that says what they were trained for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import onnx
from onnx import helper, numpy_helper

from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.learned import CARD, POLICY_FILE, PolicyCard, Seen
from cutpoint.sdk.observation import FEATURES

__all__ = ["Layer", "policy_file", "seen", "with_policy"]

_OPSET, _IR_VERSION = 17, 9
#: Added to the variance of every feature: one that never changed has none.
_RIDGE = 1e-4


class Layer(NamedTuple):
    """A linear layer: x · weight + bias.

    Attributes:
        weight: (inputs, outputs) in the backbone, (heads, inputs, outputs) behind it.
        bias: (outputs,), or (heads, 1, outputs).
    """

    weight: Array
    bias: Array


def seen(observations: Array) -> Seen:
    """Describes the observations that a policy was trained on, (n, features)."""
    mean = observations.mean(axis=0, dtype=np.float64)
    away = observations - mean
    precision = np.linalg.inv(away.T @ away / len(away) + _RIDGE * np.eye(len(mean)))
    distances = np.einsum("ni,ij,nj->n", away, precision, away)
    return Seen(
        low=tuple(observations.min(axis=0).tolist()),
        high=tuple(observations.max(axis=0).tolist()),
        mean=tuple(mean.tolist()),
        precision=tuple(tuple(row) for row in precision.tolist()),
        distance=float(distances.max()),
    )


def policy_file(
    backbone: Sequence[Layer], heads: Sequence[Layer], activation: Literal["Tanh", "Relu"], card: PolicyCard
) -> bytes:
    """The content of a policy file.

    The graph takes `observation` (n, features) and gives `scores` (n, points), the mean of the heads' probabilities,
    and with several heads `disagreement` (n,), the mean total variation between a head's probabilities and theirs all.

    Args:
        backbone: layers, each with an activation behind it.
        heads: layers, all heads side by side; an activation between them.
        activation: of the layers.
        card: goes into the metadata.
    """
    nodes: list[Any] = []
    constants: dict[str, Array] = {}
    value = "observation"
    count = len(backbone) + len(heads)
    for number, layer in enumerate((*backbone, *heads)):
        constants |= {f"weight_{number}": layer.weight, f"bias_{number}": layer.bias}
        nodes.append(helper.make_node("MatMul", [value, f"weight_{number}"], [f"product_{number}"]))
        nodes.append(helper.make_node("Add", [f"product_{number}", f"bias_{number}"], [f"sum_{number}"]))
        value = f"sum_{number}"
        if number + 1 < count:
            nodes.append(helper.make_node(activation, [value], [f"active_{number}"]))
            value = f"active_{number}"
    outputs = [helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, ("n", len(card.points)))]
    nodes.append(helper.make_node("Softmax", [value], ["each"], axis=-1))
    nodes.append(helper.make_node("ReduceMean", ["each"], ["scores"], axes=[0], keepdims=0))
    if card.disagreement is not None:
        constants["last"] = np.array([2], np.int64)
        nodes += [
            helper.make_node("Sub", ["each", "scores"], ["away"]),
            helper.make_node("Abs", ["away"], ["apart"]),
            helper.make_node("ReduceSum", ["apart", "last"], ["twice"], keepdims=0),
            helper.make_node("ReduceMean", ["twice"], ["double"], axes=[0], keepdims=0),
            helper.make_node("Mul", ["double", "half"], ["disagreement"]),
        ]
        constants["half"] = np.float32(0.5)  # type: ignore[assignment]
        outputs.append(helper.make_tensor_value_info("disagreement", onnx.TensorProto.FLOAT, ("n",)))
    graph = helper.make_graph(
        nodes,
        "policy",
        [helper.make_tensor_value_info("observation", onnx.TensorProto.FLOAT, ("n", len(FEATURES)))],
        outputs,
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    helper.set_model_props(model, {CARD: msgspec.json.encode(card).decode()})
    return bytes(model.SerializeToString())


def with_policy(bundle: Bundle, data: bytes) -> Bundle:
    """`bundle` with a policy in its device part, instead of the one that it has. It gets another hash.

    Raises:
        BundleError: if a part is not in the bundle.
    """
    listed = [entry for entry in bundle.manifest.files if entry.path != POLICY_FILE]
    files = {entry.path: (entry.part, bundle.read(entry.path)) for entry in listed}
    return Bundle.create(bundle.manifest, {**files, POLICY_FILE: ("device", data)})
