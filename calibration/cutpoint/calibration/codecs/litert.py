"""Codec graphs as `.tflite` files.

They are made of few operators and of one thing that converters do not get along with: tables of which `level` picks a
row. So they are converted from a torch module that runs the graph's nodes and picks rows by a sum over a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from cutpoint.calibration.codecs.entries import FittedCodec
from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.litert import to_tflite
from cutpoint.calibration.work import WorkFolder, digest
from cutpoint.codecs import Array
from cutpoint.sdk.bundle import CodecEntry, GraphFile
from cutpoint.sdk.runtimes import create_runtime

__all__ = ["add_tflite", "convert_codec"]

_LEVEL = "level"
#: Symbols that may differ by one from those of the ONNX file: values that lie within float arithmetic of a border.
_DIFFERENT = 1e-3


def add_tflite(codec: FittedCodec, sample: Sequence[Array], work: WorkFolder) -> FittedCodec:
    """`codec` with its encoder as a `.tflite` file too; as it is where it has no encoder.

    Args:
        codec: fitted.
        sample: tensors of its start boundary, on which both files must give the same symbols.
        work: for finished files.

    Raises:
        CalibrationError: if the encoder cannot be converted, or does not compute the same.
    """
    if not codec.entry.encoder:
        return codec
    (source,) = codec.entry.encoder
    part, data = codec.files[source.file]
    graph = onnx.load_model_from_string(data)
    path = source.file.removesuffix(".onnx") + ".tflite"

    def make() -> bytes:
        converted = convert_codec(graph)
        _check(codec.entry, converted, data, sample)
        return converted

    files = codec.files | {path: (part, work.get("tflite", digest(data, "codec"), make))}
    entry = msgspec.structs.replace(codec.entry, encoder=(source, GraphFile("tflite", path)))
    return FittedCodec(entry, files)


def _check(entry: CodecEntry, converted: bytes, data: bytes, sample: Sequence[Array]) -> None:
    given, wanted = create_runtime("litert").load(converted, {}), create_runtime("onnx").load(data, {})
    for level in range(len(entry.levels)):
        inputs = [*sample, np.array(level, np.int64)]
        for a, b in zip(given.run(inputs), wanted.run(inputs), strict=True):
            apart = np.abs(a.astype(np.int32) - b.astype(np.int32))
            if apart.max(initial=0) > 1 or np.mean(apart) > _DIFFERENT:
                raise CalibrationError(
                    f"the .tflite file of codec {entry.id} does not give the symbols that the ONNX file gives"
                )


def convert_codec(graph: onnx.ModelProto) -> bytes:
    """A codec's encoder or decoder graph as a `.tflite` file with the same inputs and outputs.

    Raises:
        CalibrationError: if it holds an operator without a counterpart, as encoders with several widths do, which
            choose between sub-graphs.
    """
    for node in graph.graph.node:
        if node.op_type not in _OPERATORS:
            raise CalibrationError(f"a codec graph with {node.op_type!r} cannot become a .tflite file")
    return to_tflite(_CodecModule(graph), graph)


class _CodecModule(nn.Module):
    """Runs the nodes of a codec graph one after the other."""

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        self._nodes = list(model.graph.node)
        self._inputs = [value.name for value in model.graph.input]
        self._outputs = [value.name for value in model.graph.output]
        self._constants = {v.name: numpy_helper.to_array(v) for v in model.graph.initializer}
        for number, value in enumerate(self._constants.values()):
            # The converter has no unsigned constants.
            wide = value.astype(np.int32) if value.dtype == np.uint8 else value
            self.register_buffer(f"c{number}", torch.tensor(wide))
        self._names = {name: f"c{number}" for number, name in enumerate(self._constants)}

    def forward(self, *inputs: Tensor) -> Any:
        values: dict[str, Tensor] = {name: getattr(self, buffer) for name, buffer in self._names.items()}
        values |= dict(zip(self._inputs, inputs, strict=True))
        for node in self._nodes:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            given = [values[name] for name in node.input]
            constants = [self._constants.get(name) for name in node.input]
            if node.op_type == "Gather" and node.input[1] == _LEVEL:
                value = self._row(*given)
            else:
                value = _OPERATORS[node.op_type](given, constants, attributes)
            values[node.output[0]] = value
        outputs = tuple(values[name] for name in self._outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    @staticmethod
    def _row(table: Tensor, level: Tensor) -> Tensor:
        chosen = torch.arange(len(table), dtype=level.dtype) == level
        return (table * chosen.to(table.dtype).reshape(-1, *[1] * (table.dim() - 1))).sum(0)


def _gather(given: Sequence[Tensor], _: Sequence[Any], attributes: dict[str, Any]) -> Tensor:
    return given[0][(slice(None),) * attributes.get("axis", 0) + (given[1].long(),)]


def _conv(given: Sequence[Tensor], _: Sequence[Any], attributes: dict[str, Any]) -> Tensor:
    padding = attributes.get("pads", [0, 0, 0, 0])[:2]
    bias = given[2] if len(given) > 2 else None
    return functional.conv2d(given[0], given[1], bias, padding=padding, groups=attributes.get("group", 1))


def _slice(given: Sequence[Tensor], constants: Sequence[Any], _: dict[str, Any]) -> Tensor:
    (first,), (last,), (axis,) = (constant.tolist() for constant in constants[1:4])
    return given[0].narrow(axis, first, min(last, given[0].shape[axis]) - first)


def _cast(given: Sequence[Tensor], _: Sequence[Any], attributes: dict[str, Any]) -> Tensor:
    return given[0].to(getattr(torch, helper.tensor_dtype_to_np_dtype(attributes["to"]).name))


_Operator = Callable[[Sequence[Tensor], Sequence[Any], dict[str, Any]], Tensor]
#: Operators of codec graphs: (inputs, those of them that are constants, attributes) → output.
_OPERATORS: dict[str, _Operator] = {
    "Add": lambda x, c, a: x[0] + x[1],
    "Sub": lambda x, c, a: x[0] - x[1],
    "Mul": lambda x, c, a: x[0] * x[1],
    "Min": lambda x, c, a: torch.minimum(*x),
    "Max": lambda x, c, a: torch.maximum(*x),
    "Neg": lambda x, c, a: -x[0],
    "Sign": lambda x, c, a: torch.sign(x[0]),
    "Relu": lambda x, c, a: torch.relu(x[0]),
    "Round": lambda x, c, a: torch.round(x[0]),
    "Clip": lambda x, c, a: torch.minimum(torch.maximum(x[0], x[1]), x[2]),
    "Cast": _cast,
    "Conv": _conv,
    "MatMul": lambda x, c, a: torch.matmul(*x),
    "Reshape": lambda x, c, a: x[0].reshape(c[1].tolist()),
    "Transpose": lambda x, c, a: x[0].permute(a["perm"]),
    "Gather": _gather,
    "Expand": lambda x, c, a: x[0].expand(c[1].tolist()),
    "Concat": lambda x, c, a: torch.cat(list(x), a["axis"]),
    "Slice": _slice,
}
