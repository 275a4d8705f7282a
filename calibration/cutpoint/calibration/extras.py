"""The optional packages of calibration: named in one place, and missed with a useful message."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from cutpoint.calibration.errors import CalibrationError

__all__ = [
    "EXIT_PACKAGES",
    "ONNX_PACKAGES",
    "POLICY_PACKAGES",
    "TFLITE_PACKAGES",
    "TORCH_PACKAGES",
    "TRAINING_PACKAGES",
    "missing",
    "require",
]

#: What calibrating an ONNX file needs.
ONNX_PACKAGES = ("networkx", "onnx")
#: What calibrating a torch model needs on top.
TORCH_PACKAGES = ("torch", "onnxscript")
#: What writing .tflite heads needs on top.
TFLITE_PACKAGES = ("torch", "onnx2torch", "litert_torch", "ai_edge_quantizer")

#: What training codecs needs on top.
TRAINING_PACKAGES = ("torch", "onnx2torch", "compressai")

#: What training exits needs on top.
EXIT_PACKAGES = ("torch", "onnx2torch", "scipy")

#: What training policies needs.
POLICY_PACKAGES = ("gymnasium", "onnx", "stable_baselines3", "torch")


def missing(packages: Iterable[str]) -> tuple[str, ...]:
    """Those of `packages` that are not installed. Nothing is imported."""
    return tuple(name for name in packages if importlib.util.find_spec(name) is None)


def require(packages: Iterable[str], what: str, extra: str = "calibrate") -> None:
    """Raises `CalibrationError` unless all `packages`, of an extra, are installed; `what` says what needs them."""
    if absent := missing(packages):
        raise CalibrationError(
            f"{what} needs {', '.join(absent)}, which is not installed: pip install 'cutpoint[{extra}]'"
        )
