"""Models from files and factories."""

from __future__ import annotations

from pathlib import Path

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.extras import TORCH_PACKAGES, require
from cutpoint.calibration.importers.model import ImportedModel

__all__ = ["ImportedModel", "import_model"]


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
