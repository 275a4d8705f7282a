"""The nodes in front of the model that turn boundary 0, a uint8 picture, into what the model was trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cutpoint.calibration.errors import CalibrationError
from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Preprocessing

__all__ = ["PICTURE", "is_channels_last", "is_normalisation", "normalisation", "picture_size", "prepend_normalisation"]

#: Name of the input tensor of a model that takes pictures.
PICTURE = "picture"


def is_channels_last(shape: tuple[int, ...]) -> bool:
    """Whether an input of this shape is (1, height, width, 3) rather than (1, 3, height, width)."""
    return len(shape) == 4 and shape[3] == 3 and shape[1] != 3


def is_normalisation(node: onnx.NodeProto) -> bool:
    """Whether `node` is one of those that `prepend_normalisation` adds."""
    return node.name.startswith(f"{PICTURE}/")


def picture_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """(height, width) of the pictures that an input of this shape takes.

    Raises:
        CalibrationError: if it takes none.
    """
    if len(shape) == 4 and shape[1] == 3:
        return shape[2], shape[3]
    if is_channels_last(shape):
        return shape[1], shape[2]
    raise CalibrationError(
        f"the model takes a tensor of shape {list(shape)}, which is no colour picture; "
        "give --data a folder of .npy tensors of that shape"
    )


def normalisation(how: Preprocessing) -> tuple[Array, Array]:
    """Gain and shift per channel, in the model's channel order: ``(x * scale - mean) / std = x * gain + shift``."""
    std = np.array(how.std, np.float64)
    return how.scale / std, 0.0 - np.array(how.mean, np.float64) / std


def prepend_normalisation(
    model: onnx.ModelProto, shape: tuple[int, ...], how: Preprocessing, batch: bool
) -> tuple[onnx.ModelProto, str]:
    """`model` with a uint8 input of shape (batch, height, width, 3), RGB, instead of its own.

    Computes ``(pixel * scale - mean) / std`` as one multiplication and one addition per channel.

    Args:
        model: takes one float tensor.
        shape: of that tensor, batch 1.
        how: the normalisation.
        batch: whether the batch axis is free.

    Returns:
        The model, and the name of the tensor that takes the place of its former input.

    Raises:
        CalibrationError: if the input is no picture of the size that `how` says.
    """
    if picture_size(shape) != (how.height, how.width):
        raise CalibrationError(
            f"the model takes pictures of {shape}, but preprocessing gives {how.height}×{how.width}: see --size"
        )
    result = onnx.ModelProto()
    result.CopyFrom(model)
    (old,) = result.graph.input
    element = old.type.tensor_type.elem_type
    gain, shift = normalisation(how)
    channels_last = is_channels_last(shape)
    side = (3,) if channels_last else (1, 3, 1, 1)
    dtype = helper.tensor_dtype_to_np_dtype(element)

    nodes = []
    name = PICTURE

    def add(op_type: str, *constants: str, **attributes: Any) -> None:
        nonlocal name
        output = f"{PICTURE}/{op_type.lower()}"
        nodes.append(helper.make_node(op_type, [name, *constants], [output], name=output, **attributes))
        name = output

    def constant(key: str, values: Array) -> str:
        result.graph.initializer.append(numpy_helper.from_array(values, f"{PICTURE}/{key}"))
        return f"{PICTURE}/{key}"

    if not channels_last:
        add("Transpose", perm=[0, 3, 1, 2])
    if how.channels == "bgr":
        add("Gather", constant("order", np.array([2, 1, 0], np.int64)), axis=3 if channels_last else 1)
    add("Cast", to=element)
    if not (gain == 1).all():
        add("Mul", constant("gain", gain.astype(dtype).reshape(side)))
    if not (shift == 0).all():
        add("Add", constant("shift", shift.astype(dtype).reshape(side)))

    for node in result.graph.node:
        for number, tensor in enumerate(node.input):
            if tensor == old.name:
                node.input[number] = name
    original = list(result.graph.node)
    del result.graph.node[:]
    result.graph.node.extend([*nodes, *original])
    del result.graph.input[:]
    front = "N" if batch else 1
    result.graph.input.append(
        helper.make_tensor_value_info(PICTURE, TensorProto.UINT8, [front, how.height, how.width, 3])
    )
    return result, name
