"""Models in `.onnx` files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx
from onnx import helper, version_converter

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.graph import run_model
from cutpoint.calibration.graphs.simplify import fix_batch, simplify
from cutpoint.calibration.importers.model import ImportedModel
from cutpoint.codecs import DTYPES, Array, TensorSpec

__all__ = ["from_proto", "load_onnx"]

#: The first operator set with quantisation per channel.
_LEAST_OPSET = 13
#: Nodes whose inner graphs run or do not run depending on values: a cut cannot go through them.
_CONTROL_FLOW = frozenset({"If", "Loop", "Scan"})
#: Domains whose operators every onnxruntime has.
_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})


def load_onnx(path: Path, input_shape: tuple[int, ...] | None = None) -> ImportedModel:
    """The model in an `.onnx` file.

    Args:
        path: the file; external data is looked for beside it.
        input_shape: sides of its only input, where the file leaves them open.

    Raises:
        CalibrationError: if it cannot be read or cannot be cut; names the node.
    """
    if not path.is_file():
        raise CalibrationError(f"{path}: no such file")
    try:
        model = onnx.load(str(path))
    except Exception as error:  # Protocol Buffers, onnx and the file system share no base below Exception.
        raise CalibrationError(f"{path}: not a readable ONNX file: {error}") from error
    if not model.graph.node:
        raise CalibrationError(f"{path}: not a readable ONNX file: it holds no graph")
    return from_proto(model, path.stem, str(path), "onnx", input_shape)


def from_proto(
    model: onnx.ModelProto, name: str, where: str, origin: str, input_shape: tuple[int, ...] | None = None
) -> ImportedModel:
    """An ONNX model in memory, checked and simplified; `where` begins the messages."""
    _check_operators(model, where)
    specs = _inputs(model, where, input_shape)
    _set_inputs(model, specs)
    original = onnx.ModelProto()
    original.CopyFrom(model)
    try:
        model = _modern(model)
        simplified = simplify(model)
        # What depends on the batch size alone is a constant once that is 1; tried only where it stands in the way.
        if any(node.op_type in _CONTROL_FLOW for node in simplified.graph.node):
            simplified = simplify(fix_batch(model))
    except CalibrationError as error:
        raise CalibrationError(f"{where}: {error}") from error
    _check_control_flow(simplified, where)

    def reference(tensors: Sequence[Array]) -> list[Array]:
        return run_model(original, {spec.name: tensor for spec, tensor in zip(specs, tensors, strict=True)})

    return ImportedModel(name, simplified, specs, origin, reference)


def _modern(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with an operator set that knows quantisation per channel."""
    version = next((opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")), _LEAST_OPSET)
    if version >= _LEAST_OPSET:
        return model
    try:
        return version_converter.convert_version(model, _LEAST_OPSET)
    except Exception as error:  # The converter is C++; what it raises has no common type.
        raise CalibrationError(
            f"operator set {version} cannot be brought to {_LEAST_OPSET}: {error}; export the model with a newer one"
        ) from error


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes, those of inner graphs too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
                yield from _nodes(inner)


def _describe(node: onnx.NodeProto) -> str:
    return f"layer {node.name or ', '.join(node.output)!r} ({node.domain + '.' if node.domain else ''}{node.op_type})"


def _check_operators(model: onnx.ModelProto, where: str) -> None:
    functions = {(function.domain, function.name) for function in model.functions}
    for node in _nodes(model.graph):
        if (node.domain, node.op_type) in functions:
            continue
        known = node.domain in _DOMAINS and (node.domain not in ("", "ai.onnx") or onnx.defs.has(node.op_type))
        if not known:
            raise CalibrationError(
                f"{where}: {_describe(node)} is a custom operator, which onnxruntime cannot run: "
                "export the model with standard operators"
            )


def _check_control_flow(model: onnx.ModelProto, where: str) -> None:
    for node in _nodes(model.graph):
        if node.op_type in _CONTROL_FLOW:
            raise CalibrationError(
                f"{where}: {_describe(node)} is dynamic control flow, which a cut cannot go through: "
                "export the model so that the branch or loop does not depend on values (trace it with fixed shapes)"
            )


def _inputs(model: onnx.ModelProto, where: str, input_shape: tuple[int, ...] | None) -> tuple[TensorSpec, ...]:
    weights = {value.name for value in model.graph.initializer}
    values = [value for value in model.graph.input if value.name not in weights]
    if not values:
        raise CalibrationError(f"{where}: the model has no input")
    if input_shape is not None and len(values) > 1:
        raise CalibrationError(f"{where}: --input is for models with one input, this one has {len(values)}")
    return tuple(_input(value, where, input_shape) for value in values)


def _input(value: onnx.ValueInfoProto, where: str, asked: tuple[int, ...] | None) -> TensorSpec:
    kind = value.type.tensor_type
    dims = list(kind.shape.dim)
    given = tuple(dim.dim_value for dim in dims)
    if asked is not None:
        fits = not dims or (
            len(asked) == len(given) and all(g in (0, a) for a, g in zip(asked[1:], given[1:], strict=True))
        )
        if not fits:
            raise CalibrationError(f"{where}: input {value.name!r} has shape {list(given)}, --input says {list(asked)}")
        shape = (1, *asked[1:])
    else:
        shape = (1, *given[1:])
        if not dims or 0 in shape:
            raise CalibrationError(
                f"{where}: input {value.name!r} leaves its shape open; give it, for instance --input 1x3x224x224"
            )
        if given[0] > 1:
            raise CalibrationError(
                f"{where}: input {value.name!r} has a fixed batch of {given[0]}: export the model with batch 1 or open"
            )
    try:
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    except KeyError:
        dtype = "unknown"
    if dtype not in DTYPES:
        raise CalibrationError(
            f"{where}: input {value.name!r} has the element type {dtype}; {', '.join(DTYPES)} can be"
        )
    return TensorSpec(value.name, shape, dtype)


def _set_inputs(model: onnx.ModelProto, specs: Sequence[TensorSpec]) -> None:
    """Writes the sides that were left open into the model; the batch stays as it is."""
    values = {value.name: value for value in model.graph.input}
    for spec in specs:
        shape = values[spec.name].type.tensor_type.shape
        if not shape.dim:
            shape.dim.add().dim_param = "N"
            for _ in spec.shape[1:]:
                shape.dim.add()
        for dim, side in zip(shape.dim[1:], spec.shape[1:], strict=False):
            dim.dim_value = side
