"""Four real networks, calibrated on at most 100 pictures, served in another process, measured through the socket.

Needs the shared data (see tests/conftest.py) and takes about half an hour on two cores.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from tests.support.torch_models import shared_root

from cutpoint.calibration.data import load_samples, open_dataset, shuffled, split
from cutpoint.calibration.pipeline import run_calibration
from cutpoint.calibration.progress import SilentReporter
from cutpoint.calibration.search.measure import uncut_answers
from cutpoint.calibration.settings import Settings
from cutpoint.calibration.tasks import Judge, Situation, judge_all, make_judge
from cutpoint.codecs import Array
from cutpoint.sdk import Client, Objective, StaticPolicy
from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.client import Mode
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.sdk.testing import ServerProcess

__all__ = ["TITLE", "head_agreement", "run", "table", "through_the_socket"]

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
            folder / "mobilenet_v2.cutpoint",
            preprocessing={"resize": 256, "scale": 1 / 128, "mean": [1, 1, 1]},
            **photographs,
        ),
        "deit_tiny": Settings(
            f"{_FACTORIES}:deit_tiny",
            calibration,
            folder / "deit_tiny.cutpoint",
            preprocessing={"resize": 256, "interpolation": "bicubic", **_IMAGENET},
            **photographs,
        ),
        "resnet20": Settings(
            f"{_FACTORIES}:resnet20", cifar, folder / "resnet20.cutpoint", preprocessing=_IMAGENET, samples=500
        ),
        "yolox_nano": Settings(
            str(models / "yolox_nano_416.onnx"),
            shared / "detection" / "images",
            folder / "yolox_nano.cutpoint",
            preprocessing={"letterbox": True, "channels": "bgr", "scale": 1.0},
            calibration_samples=60,
            samples=68,
        ),
    }


async def through_the_socket(path: Path, samples: Sequence[tuple[Array, ...]], judge: Judge) -> dict[str, Any]:
    """Sends every sample at raw, 8-bit and WebP points to a server process; local points run on the device.

    Returns:
        The metric of each point, and on how many (sample, cut) pairs a raw fp32 point gives another top-1 (or tensor)
        than the uncut model.
    """
    bundle = await asyncio.to_thread(Bundle.open, path)
    graphs = BundleGraphs(bundle, [create_runtime("onnx")])
    whole = graphs.span(0, bundle.manifest.last, "fp32")
    uncut = await asyncio.to_thread(uncut_answers, whole, samples, lambda: None)
    raw = [p for p in bundle.points if p.id.endswith("raw-exact") and p.precision != "int8"]
    others = [p for p in bundle.points if p.local or p.id.endswith(("fp32-affine-8bit", "webp-q85", "webp-q95"))]
    anything = Objective(accuracy_floor=0.0)
    metrics, wrong = {}, 0
    async with ServerProcess(path, "--threads", "1", "--max-frame", "8000000") as server:
        for point in (*raw, *others):
            policy = StaticPolicy(point, point)
            mode: Mode = "device" if point.local else "edge"
            async with Client(server.url, bundle, mode=mode, policy=policy, objective=anything) as client:
                verdicts = {}
                for number, sample in enumerate(samples):
                    result = await client.infer(sample)
                    assert result.source == ("device" if point.local else "edge")
                    verdicts[number] = judge.judge(number, result.outputs)
                    wrong += point in raw and not _same(result.outputs, uncut[number], judge.kind)
            metrics[point.id] = {"metric": judge.score(verdicts), "bytes": point.measured.bytes_mean}
    return {"points": metrics, "raw_differences": wrong, "raw_pairs": len(raw) * len(samples)}


def _same(given: Sequence[Array], wanted: Sequence[Array], kind: str) -> bool:
    if kind == "classification":
        return bool(np.argmax(given[0]) == np.argmax(wanted[0]))
    return all(np.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in zip(given, wanted, strict=True))


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
    """Calibrates and measures all networks, or those that CUTPOINT_NETWORKS names (with commas)."""
    chosen = os.environ.get("CUTPOINT_NETWORKS", "").split(",")
    networks = []
    with tempfile.TemporaryDirectory(prefix="cutpoint-") as folder:
        for name, settings in _networks(Path(folder)).items():
            if chosen != [""] and name not in chosen:
                continue
            bundle = run_calibration(settings, SilentReporter()).bundle
            # The pictures that calibration measured on, and no others.
            sources = shuffled(open_dataset(settings.evaluation or settings.data).sources)
            if settings.evaluation is None:
                sources = split(sources, settings.calibration_samples, settings.samples)[1]
            specs = bundle.manifest.boundaries[0].tensors
            loaded = load_samples(sources, settings.samples, specs, bundle.manifest.preprocessing)
            graphs = BundleGraphs(bundle, [create_runtime("onnx")])
            manifest = bundle.manifest
            uncut = uncut_answers(graphs.span(0, manifest.last, "fp32"), loaded.tensors, lambda: None)
            outputs, sources = manifest.boundaries[-1].tensors, tuple(loaded.sources)
            judge = make_judge("auto", Situation(outputs, sources, uncut, manifest.preprocessing))
            measured = asyncio.run(through_the_socket(settings.out, loaded.tensors, judge))
            networks.append(
                {
                    "name": name,
                    "metric": judge.metric,
                    "uncut": judge_all(judge, uncut),
                    "samples": len(loaded.tensors),
                    "litert": {
                        runtime: min(head_agreement(bundle, loaded.tensors[:200], runtime).values(), default=None)
                        for runtime in ("ai-edge-litert", "tflite-runtime")
                    },
                    **measured,
                }
            )
    return {"networks": networks}


def table(result: dict[str, Any]) -> Table:
    """One row per network: the worst of the points of each kind, as differences to the uncut model in points."""
    table = Table(title=TITLE)
    kinds = {
        "8 bit": "fp32-affine-8bit",
        "WebP q85": "webp-q85",
        "WebP q95": "webp-q95",
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
            f"{network['raw_differences']} of {network['raw_pairs']}",
            *(worst([p["metric"] for key, p in points.items() if key.endswith(kind)]) for kind in kinds.values()),
            worst([p["metric"] for key, p in points.items() if key.count("-") == 1 and key.endswith("-int8")]),
            f"{min(litert):.1%}" if litert else "–",
        )
    return table
