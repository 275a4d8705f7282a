"""Four real networks, calibrated on at most 100 pictures and measured through every cut on pictures not seen before.

Needs the shared data (see tests/conftest.py) and takes about half an hour on two cores.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from tests.support.torch_models import shared_root

from cutpoint.calibration.data import load_samples, open_dataset, shuffled
from cutpoint.calibration.measure import answers, uncut_answers
from cutpoint.calibration.pipeline import run_calibration
from cutpoint.calibration.points import group_by_head
from cutpoint.calibration.progress import SilentReporter
from cutpoint.calibration.settings import Settings
from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.runtimes import create_runtime

__all__ = ["TITLE", "head_agreement", "raw_differences", "run", "table"]

TITLE = "accuracy through the cut"

_FACTORIES = Path(__file__).parents[1] / "support" / "torch_models.py"
_IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def _networks(folder: Path) -> dict[str, Settings]:
    shared = shared_root()
    models, images = shared / "models", shared / "images"
    with zipfile.ZipFile(images / "cifar10" / "cifar10_jpg_test2000_train1000.zip") as archive:
        archive.extractall(folder)
    (cifar,) = (path for path in folder.rglob("test") if path.is_dir())
    photographs: dict[str, Any] = {"evaluation": images / "imagenet-evaluation", "samples": 500}
    calibration = images / "imagenet-calibration"
    return {
        "mobilenet_v2": Settings(
            str(models / "mobilenet_v2_1.0_224.onnx"),
            calibration,
            folder / "mobilenet_v2",
            preprocessing={"resize": 256, "scale": 1 / 128, "mean": [1, 1, 1]},
            **photographs,
        ),
        "deit_tiny": Settings(
            f"{_FACTORIES}:deit_tiny",
            calibration,
            folder / "deit_tiny",
            preprocessing={"resize": 256, "interpolation": "bicubic", **_IMAGENET},
            **photographs,
        ),
        "resnet20": Settings(
            f"{_FACTORIES}:resnet20", cifar, folder / "resnet20", preprocessing=_IMAGENET, samples=500
        ),
        "yolox_nano": Settings(
            str(models / "yolox_nano_416.onnx"),
            shared / "detection" / "images",
            folder / "yolox_nano",
            preprocessing={"letterbox": True, "channels": "bgr", "scale": 1.0},
            calibration_samples=60,
            samples=68,
        ),
    }


def raw_differences(bundle: Bundle, samples: Sequence[tuple[Array, ...]]) -> int:
    """On how many (sample, cut) pairs a raw fp32 point gives another top-1 (or tensor) than the uncut model."""
    graphs = BundleGraphs(bundle, [create_runtime("onnx")])
    uncut = uncut_answers(graphs, samples, lambda: None)
    classes = bundle.manifest.task.kind == "classification"
    points = [point for point in bundle.points if point.id.endswith("raw-exact") and point.precision != "int8"]
    wrong = 0
    for group in group_by_head(points):
        for sample, wanted in zip(samples, uncut, strict=True):
            for _, given, _ in answers(graphs, group, sample):
                same = (
                    np.argmax(given[0]) == np.argmax(wanted[0])
                    if classes
                    else all(np.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in zip(given, wanted, strict=True))
                )
                wrong += not same
    return wrong


def head_agreement(bundle: Bundle, samples: Sequence[tuple[Array, ...]], runtime: str) -> dict[int, float]:
    """Boundary → share of samples whose top-1 is the same with a .tflite head as with an ONNX head."""
    onnx = BundleGraphs(bundle, [create_runtime("onnx")])
    device = BundleGraphs(bundle, [create_runtime(runtime)])
    last = bundle.manifest.last
    shares = {}
    for span in bundle.manifest.spans:
        if span.start or span.end == last or all(graph.format != "tflite" for graph in span.graphs):
            continue
        tail = onnx.span(span.end, last, "fp32")
        same = [
            np.argmax(tail.run(device.span(*span.key).run(sample))[0])
            == np.argmax(tail.run(onnx.span(*span.key).run(sample))[0])
            for sample in samples
        ]
        shares[span.end] = float(np.mean(same))
    return shares


def run() -> dict[str, Any]:
    """Calibrates and measures all networks."""
    networks = []
    with tempfile.TemporaryDirectory(prefix="cutpoint-") as folder:
        for name, settings in _networks(Path(folder)).items():
            bundle = run_calibration(settings, SilentReporter()).bundle
            task = bundle.manifest.task
            sources = shuffled(open_dataset(settings.evaluation or settings.data).sources)
            specs = bundle.manifest.boundaries[0].tensors
            samples = load_samples(sources, 500, specs, bundle.manifest.preprocessing).tensors
            networks.append(
                {
                    "name": name,
                    "metric": task.metric,
                    "uncut": task.uncut,
                    "samples": task.samples,
                    "raw_differences": raw_differences(bundle, samples),
                    "litert": {
                        runtime: min(head_agreement(bundle, samples[:200], runtime).values(), default=None)
                        for runtime in ("ai-edge-litert", "tflite-runtime")
                    },
                    "points": {
                        point.id: {"metric": point.measured.metric, "bytes": point.measured.bytes_mean}
                        for point in bundle.points
                    },
                }
            )
    return {"networks": networks}


def table(result: dict[str, Any]) -> Table:
    """One row per network: the worst of the points of each kind, as differences to the uncut model in points."""
    table = Table(title=TITLE)
    kinds = {
        "8 bit": "fp32-affine-8bit",
        "6 bit": "fp32-affine-6bit",
        "4 bit": "fp32-affine-4bit",
        "int8, 8 bit": "int8-affine-8bit",
        "webp q85": "webp-q85",
    }
    for column in ("network", "uncut", "raw differs", *kinds, "int8 local", "LiteRT = ORT"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for network in result["networks"]:
        points = network["points"]

        def worst(wanted: list[float], network: dict[str, Any] = network) -> str:
            return f"{100 * (min(wanted) - network['uncut']):+.1f}" if wanted else "–"

        litert = [share for share in network["litert"].values() if share is not None]
        table.add_row(
            network["name"],
            f"{network['uncut']:.1%}",
            str(network["raw_differences"]),
            *(worst([p["metric"] for key, p in points.items() if key.endswith(kind)]) for kind in kinds.values()),
            worst([p["metric"] for key, p in points.items() if key.count("-") == 1 and key.endswith("-int8")]),
            f"{min(litert):.1%}" if litert else "–",
        )
    return table
