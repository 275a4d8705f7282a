"""The model to calibrate, wherever it came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.extras import TORCH_PACKAGES, require
from cutpoint.codecs import Array, TensorSpec

__all__ = ["ImportedModel", "import_model"]


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
    """

    name: str
    model: onnx.ModelProto
    inputs: tuple[TensorSpec, ...]
    origin: str
    reference: Callable[[Sequence[Array]], list[Array]]
    program: Any = None


def import_model(model: str, input_shape: tuple[int, ...] | None = None) -> ImportedModel:
    """Loads an `.onnx` file or calls a torch factory.

    Args:
        model: path of an ``.onnx`` file, ``package.module:factory`` or ``path/to/file.py:factory``.
        input_shape: with the batch in front; needed where the model does not say it.

    Raises:
        CalibrationError: if it cannot be found, loaded, exported or run; names the thing and the remedy.
    """
    if model.endswith(".onnx"):
        from cutpoint.calibration.importers.onnx import load_onnx

        return load_onnx(Path(model), input_shape)
    if ":" in model:
        require(TORCH_PACKAGES, f"calibrating the torch model {model!r}")
        from cutpoint.calibration.importers.torch import load_factory

        return load_factory(model, input_shape)
    if Path(model).exists():
        raise CalibrationError(f"{model}: give an .onnx file, or path/to/file.py:factory for a torch model")
    raise CalibrationError(
        f"{model!r} is neither an .onnx file nor a factory: write package.module:factory or path/to/file.py:factory"
    )
