"""The model to calibrate, wherever it came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx

from cutpoint.codecs import Array, TensorSpec

__all__ = ["ImportedModel"]


@dataclass(frozen=True)
class ImportedModel:
    """A model in ONNX.

    Attributes:
        name: for people.
        model: the graph, simplified.
        inputs: what it takes, batch 1.
        origin: ``onnx`` or ``torch``.
        reference: the model as it was before anybody touched it: (tensors of batch 1) -> outputs. What calibration
            made of the graph is compared with it.
        program: the `torch.export.ExportedProgram` that the graph was made from; None if it was not torch.
        preprocessing: fields of `Preprocessing` that the model was trained with, where its origin says so.
    """

    name: str
    model: onnx.ModelProto
    inputs: tuple[TensorSpec, ...]
    origin: str
    reference: Callable[[Sequence[Array]], list[Array]]
    program: Any = None
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
