"""Bundles of real networks for benchmarks, calibrated once and kept in `bench/bundles/`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image
from tests.support.torch_models import shared_root

from cutpoint.calibration.graphs.exports import export_spans
from cutpoint.calibration.graphs.prepare import prepare_graph
from cutpoint.calibration.importers import import_model
from cutpoint.calibration.pipeline import run_calibration
from cutpoint.calibration.progress import SilentReporter
from cutpoint.calibration.search.points import middle_spans, used_spans
from cutpoint.calibration.settings import Settings
from cutpoint.demo.scenes import render
from cutpoint.sdk.bundle import Bundle

__all__ = ["NETWORKS", "alexnet_path", "bundle_path", "tiers_path"]

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


def alexnet_path() -> Path:
    """AlexNet with random weights, cut in front of its dense layers; calibrated now (a minute) if it is not there."""
    path = _FOLDER / "alexnet.cutpoint"
    if not path.exists():
        _FOLDER.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="cutpoint-") as folder:
            for number in range(24):
                Image.fromarray(render(number).image).save(Path(folder) / f"{number}.png")
            settings = Settings(
                model="tests.bench._architectures:alexnet",
                data=Path(folder),
                out=path,
                input_shape=(1, 3, 224, 224),
                preprocessing={"resize": 224},
                cuts=("max_pool2d_2",),
                codecs=("affine",),
                precisions=("fp32",),
                runtimes=("onnx",),
                calibration_samples=8,
                samples=8,
                task="embedding",
                mode="quick",
                keep_all=True,
            )
            run_calibration(settings, SilentReporter())
    return path


def tiers_path(name: str) -> Path:
    """`bundle_path`, with what `cutpoint calibrate --tiers` adds: spans between cuts, and encoders for servers."""
    path = bundle_path(name).with_suffix(".tiers.cutpoint")
    if not path.exists():
        bundle = Bundle.open(bundle_path(name))
        manifest = bundle.manifest
        imported = import_model(str(shared_root() / "models" / NETWORKS[name]["model"]))
        graph, _ = prepare_graph(imported, manifest.preprocessing)
        wanted, middle = used_spans(bundle.points, manifest.last), middle_spans(bundle.points)
        exported = export_spans(graph, {"fp32": graph.model}, manifest.boundaries, wanted, middle)
        encoders = {graph.file for codec in manifest.codecs for graph in codec.encoder}
        kept = [entry for entry in manifest.files if not (entry.path.startswith("spans/") and ".fp32" in entry.path)]
        files = {
            entry.path: ("both" if entry.path in encoders else entry.part, bundle.read(entry.path)) for entry in kept
        }
        spans = (*(span for span in manifest.spans if span.precision != "fp32"), *exported.spans)
        Bundle.create(msgspec.structs.replace(manifest, spans=spans, files=()), {**files, **exported.files}).save(path)
    return path
