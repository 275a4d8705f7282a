"""Bundles of real networks for benchmarks, calibrated once and kept in `bench/bundles/`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec
import onnx
from tests.support.torch_models import shared_root

from cutpoint.calibration.graphs.spans import extract_span
from cutpoint.calibration.pipeline import run_calibration
from cutpoint.calibration.progress import SilentReporter
from cutpoint.calibration.settings import Settings
from cutpoint.sdk.bundle import Bundle, GraphFile, Span

__all__ = ["NETWORKS", "bundle_path", "with_all_spans"]

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


def with_all_spans(path: Path) -> Path:
    """The bundle at `path` with the fp32 spans between all its cuts, taken out of its tails; made if it is not yet."""
    out = path.with_name(f"{path.stem}-spans.cutpoint")
    if not out.exists():
        bundle = Bundle.open(path)
        manifest = bundle.manifest
        files = {entry.path: (entry.part, bundle.read(entry.path)) for entry in manifest.files}
        spans = list(manifest.spans)
        with tempfile.TemporaryDirectory() as folder:
            for name, (_, data) in files.items():
                if name.startswith("spans/"):
                    Path(folder, Path(name).name).write_bytes(data)
            for start in range(1, manifest.last - 1):
                tail = onnx.load(Path(folder, f"{start}-{manifest.last}.fp32.onnx"))
                for end in range(start + 1, manifest.last):
                    first, last = manifest.boundaries[start].tensors, manifest.boundaries[end].tensors
                    name = f"spans/{start}-{end}.fp32.onnx"
                    span = extract_span(tail, first, last, batch=True)
                    files[name] = "server", bytes(span.SerializeToString())
                    spans.append(Span(start, end, "fp32", (GraphFile("onnx", name),)))
        Bundle.create(msgspec.structs.replace(manifest, spans=tuple(spans), files=()), files).save(out)
    return out
