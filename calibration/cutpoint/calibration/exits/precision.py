"""Exits in int8: they have to take less than the layers that they save, and those may be int8 themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.graphs.precision import Quantiser
from cutpoint.codecs import Array, TensorSpec
from cutpoint.sdk.runtimes import Runtime

__all__ = ["quantise_exit", "scores_of"]

Tensors = tuple[Array, ...]


def scores_of(head: onnx.ModelProto, samples: Sequence[Tensors], runtime: Runtime) -> Array:
    """What an exit without confidence gives, (samples, classes)."""
    graph = runtime.load(head.SerializeToString(), {})
    return np.concatenate([graph.run(sample)[0] for sample in samples])


def quantise_exit(
    head: onnx.ModelProto,
    start: Sequence[TensorSpec],
    ranges: Sequence[Tensors],
    samples: Sequence[Tensors],
    classes: Array,
    runtime: Runtime,
) -> tuple[onnx.ModelProto, float]:
    """An exit in int8, and the share of its answers that this costs.

    Args:
        head: from the boundary's tensors to scores of classes.
        start: tensors of the boundary.
        ranges: samples that activations take their ranges from.
        samples: that the loss is counted on.
        classes: the uncut model's answers to them, int (samples,).
        runtime: that runs both.

    Raises:
        CalibrationError: if onnxruntime cannot quantise the exit.
    """
    with Quantiser(ModelGraph.inspect(head, start), ranges) as quantise:
        small = quantise()
    right = [float((scores_of(model, samples, runtime).argmax(1) == classes).mean()) for model in (head, small)]
    return small, right[0] - right[1]
