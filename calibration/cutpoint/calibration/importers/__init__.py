"""Models from files and factories."""

from __future__ import annotations

from pathlib import Path

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.extras import TORCH_PACKAGES, require
from cutpoint.calibration.importers.model import ImportedModel

__all__ = ["ImportedModel", "import_model"]


def import_model(model: str, input_shape: tuple[int, ...] | None = None, weights: Path | None = None) -> ImportedModel:
    """Loads an `.onnx` or `.pt2` file, takes a model of a zoo, or calls a torch factory.

    Args:
        model: path of an ``.onnx`` file or an exported program (``.pt2``), ``torchvision:NAME``, ``timm:NAME``,
            ``package.module:factory`` or ``path/to/file.py:factory``.
        input_shape: with the batch in front; needed where the model does not say it.
        weights: file of a state dict for a torch module; None: its own.

    Raises:
        CalibrationError: if it cannot be found, loaded, exported or run; names the thing and the remedy.
    """
    if weights is not None and model.endswith((".onnx", ".pt2")):
        raise CalibrationError(f"{model}: the file holds its weights: leave --weights out")
    if weights is not None and not weights.is_file():
        raise CalibrationError(f"--weights {weights}: no such file")
    if model.endswith(".onnx"):
        from cutpoint.calibration.importers.onnx import load_onnx

        return load_onnx(Path(model), input_shape)
    if model.endswith(".pt2"):
        require(TORCH_PACKAGES, f"calibrating the exported program {model}")
        if input_shape is not None:
            raise CalibrationError(f"{model}: an exported program has its shapes: leave --input out")
        from cutpoint.calibration.importers.torch import load_program

        return load_program(Path(model))
    if ":" in model:
        require(TORCH_PACKAGES, f"calibrating the torch model {model!r}")
        from cutpoint.calibration.importers.torch import load_factory

        return load_factory(model, input_shape, weights)
    if Path(model).exists():
        raise CalibrationError(f"{model}: give an .onnx or .pt2 file, or path/to/file.py:factory for a torch model")
    raise CalibrationError(
        f"{model!r} is neither an .onnx or .pt2 file nor a factory: write torchvision:NAME, timm:NAME, "
        "package.module:factory or path/to/file.py:factory"
    )
