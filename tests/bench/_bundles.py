"""Bundles of real networks for benchmarks, calibrated once and kept in `bench/bundles/`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.torch_models import shared_root

from cutpoint.calibration.pipeline import run_calibration
from cutpoint.calibration.progress import SilentReporter
from cutpoint.calibration.settings import Settings
from cutpoint.sdk.bundle import Bundle

__all__ = ["NETWORKS", "bundle_path"]

_FOLDER = Path(__file__).parents[2] / "bench" / "bundles"
_IMAGENET: dict[str, Any] = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}

#: Name → settings.
NETWORKS: dict[str, dict[str, Any]] = {
    "MobileNetV2": {
        "model": "mobilenet_v2_1.0_224.onnx",
        "preprocessing": {"resize": 256, "height": 224, "width": 224, "scale": 1 / 128, "mean": [1, 1, 1]},
        "cuts": ("t66", "t86", "t99", "t126", "t146"),
        "calibration_samples": 150,
        "samples": 300,
    },
    "DeiT-tiny": {
        "model": "deit_tiny_patch16_224.onnx",
        "preprocessing": {"resize": 256, "height": 224, "width": 224, "interpolation": "bicubic", **_IMAGENET},
        "cuts": tuple(f"/blocks/blocks.{block}/Add_1_output_0" for block in (2, 5, 8)),
        "calibration_samples": 100,
        "samples": 200,
    },
}


def bundle_path(name: str) -> Path:
    """The bundle of one of `NETWORKS`; calibrated now (about ten minutes) if it is not there yet."""
    path = _FOLDER / f"{Path(NETWORKS[name]['model']).stem}.cutpoint"
    if not path.exists():
        _FOLDER.mkdir(parents=True, exist_ok=True)
        shared = shared_root()
        chosen = NETWORKS[name] | {"model": str(shared / "models" / NETWORKS[name]["model"])}
        settings = Settings(
            data=shared / "images" / "imagenet-calibration",
            evaluation=shared / "images" / "imagenet-evaluation",
            out=path,
            codecs=("raw", "jpeg", "webp", "klt"),
            runtimes=("onnx",),
            keep_all=True,
            **chosen,
        )
        run_calibration(settings, SilentReporter())
    Bundle.open(path)  # says what is wrong with one that is damaged
    return path
