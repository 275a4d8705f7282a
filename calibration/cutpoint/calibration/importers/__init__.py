"""Models from elsewhere, as ONNX."""

from cutpoint.calibration.importers.model import ImportedModel, import_model

__all__ = ["ImportedModel", "import_model"]
