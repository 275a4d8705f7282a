"""The model as a graph of activations: who computes what, what crosses where, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx
import onnxruntime as ort

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.macs import node_macs
from cutpoint.codecs import DTYPES, Array, TensorSpec

__all__ = ["ModelGraph", "check_finite", "remove_dead_nodes", "run_model"]


def run_model(model: onnx.ModelProto, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> list[Array]:
    """Runs `model` once, on one thread, without the optimisations that change what nodes compute.

    Args:
        model: any model onnxruntime takes.
        feeds: input name → tensor.
        outputs: tensors to return, inner ones too; None: the model's outputs.

    Raises:
        CalibrationError: if onnxruntime refuses the model or fails while running it.
    """
    if outputs is not None:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        known = {value.name for value in copy.graph.output}
        copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs if name not in known)
        model = copy
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return [np.asarray(value) for value in session.run(outputs, dict(feeds))]
    except Exception as error:  # onnxruntime's exceptions share no base below Exception
        raise CalibrationError(f"the model does not run in onnxruntime: {error}") from error


@dataclass(frozen=True)
class ModelGraph:
    """A simplified model, with what one run of it showed.

    Attributes:
        model: the graph; nodes in topological order, none dead.
        specs: shape (batch 1) and element type of every activation.
        batch: whether the batch axis of inputs and outputs is free.
        batched: activations whose first axis is the batch, so that they may cross a boundary.
    """

    model: onnx.ModelProto
    specs: Mapping[str, TensorSpec]
    batch: bool
    batched: frozenset[str]

    @classmethod
    def inspect(cls, model: onnx.ModelProto, inputs: Sequence[TensorSpec]) -> ModelGraph:
        """Runs `model` on noise and notes every activation's shape; where the batch axis is free, at batch 2 as well.

        Args:
            model: a simplified model (see `simplify`).
            inputs: of the model, batch 1.

        Raises:
            CalibrationError: if it does not run, or an activation has an element type that cannot cross a boundary and
                it is an input or output.
        """
        model = _without_dead_nodes(model)
        batch = all(_is_dynamic(value) for value in model.graph.input)
        names = _activations(model)
        single = dict(zip(names, run_model(model, _noise(inputs, 1), names), strict=True))
        batched = frozenset(name for name, value in single.items() if value.ndim and value.shape[0] == 1)
        if batch:
            double = dict(zip(names, run_model(model, _noise(inputs, 2), names), strict=True))
            batched = frozenset(name for name in batched if double[name].shape == (2, *single[name].shape[1:]))
        specs = {
            name: TensorSpec(name, value.shape, value.dtype.name)
            for name, value in single.items()
            if value.dtype.name in DTYPES and all(value.shape)
        }
        for spec in inputs:
            specs[spec.name] = spec
        for value in model.graph.output:
            if value.name not in specs or value.name not in batched:
                raise CalibrationError(
                    f"output {value.name!r} of the model cannot leave the graph: it needs the batch in front and one "
                    f"of the element types {', '.join(DTYPES)}"
                )
        return cls(model, specs, batch, batched | {spec.name for spec in inputs})

    @cached_property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The model's inputs, batch 1."""
        return tuple(self.specs[value.name] for value in self.model.graph.input)

    @cached_property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The model's outputs, batch 1."""
        return tuple(self.specs[value.name] for value in self.model.graph.output)

    @cached_property
    def activations(self) -> frozenset[str]:
        """Tensors that depend on the input. The others are constants, and cross no boundary."""
        return frozenset((*(v.name for v in self.model.graph.input), *_activations(self.model)))

    @cached_property
    def producers(self) -> Mapping[str, onnx.NodeProto]:
        """Tensor → the node that computes it."""
        return {name: node for node in self.model.graph.node for name in node.output if name}

    @cached_property
    def macs(self) -> tuple[int, ...]:
        """Multiply-accumulates of each node, batch 1."""
        shapes = {name: spec.shape for name, spec in self.specs.items()}
        shapes |= {value.name: tuple(value.dims) for value in self.model.graph.initializer}
        return tuple(node_macs(node, shapes) for node in self.model.graph.node)

    @cached_property
    def crossings(self) -> tuple[tuple[str, ...], ...]:
        """Entry p: the activations that cross the place between the first p nodes and the rest, oldest first.

        Entry 0 are the inputs, the last entry the outputs.
        """
        nodes = self.model.graph.node
        end = len(nodes)
        last_use = {value.name: end for value in self.model.graph.output}
        for position, node in enumerate(nodes):
            for name in node.input:
                last_use[name] = max(last_use.get(name, 0), position)
        alive = [value.name for value in self.model.graph.input]
        entries = [tuple(alive)]
        for position, node in enumerate(nodes):
            alive += [name for name in node.output if name in self.activations and name in last_use]
            alive = [name for name in alive if last_use.get(name, -1) > position]
            entries.append(tuple(alive))
        entries[-1] = tuple(value.name for value in self.model.graph.output)
        return tuple(entries)


def _is_dynamic(value: onnx.ValueInfoProto) -> bool:
    dims = value.type.tensor_type.shape.dim
    return bool(dims) and not dims[0].dim_value


def _noise(specs: Sequence[TensorSpec], batch: int) -> dict[str, Array]:
    """Inputs for a trial run, from a fixed seed; small whole numbers, which suit every element type."""
    rng = np.random.default_rng(0)
    return {s.name: rng.integers(0, 2, (batch, *s.shape[1:])).astype(s.dtype) for s in specs}


def _activations(model: onnx.ModelProto) -> list[str]:
    """Tensors that nodes compute from the inputs, in the order of the nodes."""
    live = {value.name for value in model.graph.input}
    found = []
    for node in model.graph.node:
        if live.intersection(node.input):
            names = [name for name in node.output if name]
            live.update(names)
            found += names
    return found


def _without_dead_nodes(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without nodes that no output needs: they would make tensors cross boundaries for nothing."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    remove_dead_nodes(copy)
    # Old models list their weights among the inputs.
    weights = {value.name for value in copy.graph.initializer}
    inputs = [value for value in copy.graph.input if value.name not in weights]
    del copy.graph.input[:]
    copy.graph.input.extend(inputs)
    return copy


def remove_dead_nodes(model: onnx.ModelProto) -> None:
    """Removes nodes and weights that no output needs."""
    needed = {value.name for value in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    weights = [value for value in model.graph.initializer if value.name in needed]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(reversed(kept))
    model.graph.initializer.extend(weights)


def check_finite(specs: Sequence[TensorSpec], tensors: Sequence[Array], where: str) -> None:
    """Raises `CalibrationError` if a tensor holds NaN or infinity; `where` says for which sample."""
    for spec, tensor in zip(specs, tensors, strict=True):
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise CalibrationError(
                f"tensor {spec.name!r} of the model holds NaN or infinity for {where}: check the model's weights, and "
                "--scale, --mean and --std"
            )
