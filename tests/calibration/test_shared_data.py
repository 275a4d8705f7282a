"""Real networks on real pictures. The whole of it, on all networks and 500 photographs, is `make bench`."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from cutpoint.calibration.data import load_samples, open_dataset, shuffled
from cutpoint.calibration.pipeline import Result, run_calibration
from cutpoint.calibration.progress import SilentReporter
from cutpoint.calibration.search.measure import answers, uncut_answers
from cutpoint.calibration.search.points import group_by_head
from cutpoint.calibration.settings import Settings
from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.runtimes import create_runtime

pytestmark = [pytest.mark.shared_data, pytest.mark.slow, pytest.mark.timeout(600)]

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def _calibrate(settings: Settings) -> Result:
    return run_calibration(settings, SilentReporter())


def _pictures(bundle: Bundle, folder: Path, count: int) -> list[tuple[Array, ...]]:
    how = bundle.manifest.preprocessing
    specs = bundle.manifest.boundaries[0].tensors
    return load_samples(shuffled(open_dataset(folder).sources), count, specs, how).tensors


def test_mobilenet_v1_on_photographs(shared_data: Path, tmp_path: Path) -> None:
    bundle = _calibrate(
        Settings(
            str(shared_data / "models" / "mobilenet_v1_0.25_128.onnx"),
            shared_data / "images" / "imagenet-calibration",
            tmp_path / "bundle",
            evaluation=shared_data / "images" / "imagenet-evaluation",
            preprocessing={"resize": 146, "scale": 1 / 128, "mean": [1, 1, 1]},
            calibration_samples=64,
            samples=500,
            codecs=("raw", "affine", "webp"),
            keep_all=True,
        )
    ).bundle
    task = bundle.manifest.task
    assert (task.metric, task.samples) == ("top1", 500)
    assert 0.38 < task.uncut < 0.50
    for point in bundle.points:
        if point.id.endswith("fp32-affine-8bit") or point.id == "cut0-raw-exact":
            assert point.measured.metric >= task.uncut - 0.01, point.id

    # A device that wants one precision downloads little more than the uncut model, however many cuts there are.
    assert len({point.start for point in bundle.points if point.start and not point.local}) >= 4
    sizes = {entry.path: entry.size for entry in bundle.manifest.files}
    for precision in ("fp32", "int8"):
        part = bundle.part("device", runtime="onnx", precision=precision)
        whole = sum(sizes[path] for path in bundle.span(0, bundle.manifest.last, precision).graphs[0].paths())
        assert sum(size for path, size in sizes.items() if path in part) <= 2.5 * whole

    # Raw points answer as the uncut model does, on every photograph.
    graphs = BundleGraphs(bundle, [create_runtime("onnx")])
    samples = _pictures(bundle, shared_data / "images" / "imagenet-evaluation", 60)
    uncut = uncut_answers(graphs.span(0, bundle.manifest.last, "fp32"), samples, lambda: None)
    exact = [p for p in bundle.points if p.id.endswith("raw-exact") and p.precision != "int8"]
    for group in group_by_head(exact):
        for sample, wanted in zip(samples, uncut, strict=True):
            for _, answer, _ in answers(graphs, group, sample):
                assert np.argmax(answer[0]) == np.argmax(wanted[0])
                np.testing.assert_allclose(answer[0], wanted[0], rtol=1e-3, atol=1e-3)


def test_yolox_is_cut_through_several_tensors(shared_data: Path, tmp_path: Path) -> None:
    bundle = _calibrate(
        Settings(
            str(shared_data / "models" / "yolox_nano_416.onnx"),
            shared_data / "detection" / "images",
            tmp_path / "bundle",
            preprocessing={"letterbox": True, "channels": "bgr", "scale": 1.0},
            calibration_samples=40,
            samples=12,
            task="embedding",
            keep_all=True,
            precisions=("fp32",),
            codecs=("raw", "affine"),
            cuts=4,
        )
    ).bundle
    assert (bundle.manifest.task.kind, bundle.manifest.task.metric) == ("agreement", "agreement")
    assert max(len(boundary.tensors) for boundary in bundle.manifest.boundaries) >= 3
    for point in bundle.points:
        if point.id.endswith("affine-8bit"):
            assert point.measured.metric >= 0.99, point.id
        if point.id.endswith("raw-exact"):
            assert point.measured.metric == pytest.approx(1.0, abs=1e-6), point.id


def test_a_torch_model_on_onnxruntime_and_on_litert(shared_data: Path, tmp_path: Path) -> None:
    for package in ("torch", "litert_torch", "ai_edge_litert", "tflite_runtime"):
        pytest.importorskip(package)
    with zipfile.ZipFile(shared_data / "images" / "cifar10" / "cifar10_jpg_test2000_train1000.zip") as archive:
        archive.extractall(tmp_path / "cifar")
    (test_folder,) = (path for path in (tmp_path / "cifar").rglob("test") if path.is_dir())
    factory = Path(__file__).parents[1] / "support" / "torch_models.py"
    bundle = _calibrate(
        Settings(
            f"{factory}:resnet20",
            test_folder,
            tmp_path / "bundle",
            preprocessing=IMAGENET,
            samples=500,
            precisions=("fp32",),
            codecs=("raw", "affine"),
            runtimes=("onnx", "tflite"),
            cuts=3,
            keep_all=True,
        )
    ).bundle
    task = bundle.manifest.task
    assert 0.75 < task.uncut < 0.88
    assert all(p.measured.metric >= task.uncut - 0.01 for p in bundle.points if p.id.endswith("affine-8bit"))

    samples = _pictures(bundle, test_folder, 200)
    onnx = BundleGraphs(bundle, [create_runtime("onnx")])
    last = bundle.manifest.last
    # Deep cuts whose files would repeat most of the weights have none for LiteRT.
    spans = [span for span in bundle.manifest.spans if span.start == 0 and span.end < last]
    cuts = [span.end for span in spans if any(graph.format == "tflite" for graph in span.graphs)]
    assert len(cuts) >= 2
    for name in ("ai-edge-litert", "tflite-runtime"):
        device = BundleGraphs(bundle, [create_runtime(name)])
        for cut in cuts:
            same = 0
            for sample in samples:
                tail = onnx.span(cut, last, "fp32")
                given = tail.run(device.span(0, cut, "fp32").run(sample))
                wanted = tail.run(onnx.span(0, cut, "fp32").run(sample))
                same += int(np.argmax(given[0]) == np.argmax(wanted[0]))
            assert same >= 198, (name, cut)


def test_what_a_device_downloads_stays_small_on_both_runtimes(shared_data: Path, tmp_path: Path) -> None:
    for package in ("litert_torch", "ai_edge_litert", "ai_edge_quantizer"):
        pytest.importorskip(package)
    result = _calibrate(
        Settings(
            str(shared_data / "models" / "mobilenet_v1_0.25_128.onnx"),
            shared_data / "images" / "imagenet-calibration",
            tmp_path / "bundle",
            evaluation=shared_data / "images" / "imagenet-evaluation",
            preprocessing={"resize": 146, "scale": 1 / 128, "mean": [1, 1, 1]},
            calibration_samples=60,
            samples=24,
            codecs=("raw", "klt"),
            runtimes=("onnx", "tflite"),
            cuts=4,
            keep_all=True,
        )
    )
    bundle, last = result.bundle, result.bundle.manifest.last
    sizes = {entry.path: entry.size for entry in bundle.manifest.files}
    for runtime in ("onnx", "tflite"):
        for precision in ("fp32", "int8"):
            heads = [span for span in bundle.manifest.spans if span.start == 0 and span.precision == precision]
            graphs = {span.end: [graph for graph in span.graphs if graph.format == runtime] for span in heads}
            assert sum(bool(graphs[end]) for end in graphs if end < last) >= 4, (runtime, precision)
            part = bundle.part("device", runtime=runtime, precision=precision)
            whole = sum(sizes[path] for graph in graphs[last] for path in graph.paths())
            assert sum(size for path, size in sizes.items() if path in part) <= max(2.5 * whole, 2**20)

    # LiteRT's int8 heads keep what points promise, and hardly change what is sent.
    assert {head.end for head in result.report.litert} >= {last}
    for head in result.report.litert:
        assert head.reason == ""
        assert head.metric - head.litert_metric <= 0.01 + head.chance
        assert head.apart < 0.1
        assert head.bytes_ratio is None or abs(head.bytes_ratio - 1) < 0.05
