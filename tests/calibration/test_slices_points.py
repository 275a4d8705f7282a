"""Calibration looks for ways of slicing, and what it writes runs on both ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.support.decoders import check_batches
from tests.support.networks import Network, picture_folder

from cutpoint.calibration.codecs.entries import fit_affine
from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.pipeline import run_calibration
from cutpoint.calibration.progress import SilentReporter
from cutpoint.calibration.settings import Settings
from cutpoint.calibration.slices.points import Draft, _free_rows, channel_states
from cutpoint.codecs import TensorSpec
from cutpoint.sdk.bundle import Bundle, decode_manifest, encode_manifest
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.head import Head
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.sdk.tail import Tail

SIDE = 96


def deep_net() -> onnx.ModelProto:
    """Convolutions that take some milliseconds, and a pooled end."""
    net = Network()
    value = net.add("Relu", [net.conv("x", "c0", 3, 64, stride=2)], "r0")
    for number in range(1, 4):
        value = net.add("Relu", [net.conv(value, f"c{number}", 64, 64)], f"r{number}")
    value = net.add("Relu", [net.conv(value, "narrow", 64, 4, stride=2)], "neck")
    value = net.add("Relu", [net.conv(value, "wide", 4, 64)], "behind")
    value = net.add("GlobalAveragePool", [value], "pooled")
    value = net.add("Flatten", [value], "flat")
    net.add("Gemm", [value, net.weight("dense", 64, 5)], "scores")
    return net.model((1, 3, SIDE, SIDE), ["scores"])


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("sliced")
    onnx.save(deep_net(), str(folder / "net.onnx"))
    data = picture_folder(folder / "data", 16, classes=5)
    return Settings(
        str(folder / "net.onnx"),
        data,
        folder / "net.cutpoint",
        cuts=4,
        codecs=("raw", "webp", "affine"),
        precisions=("fp32",),
        calibration_samples=6,
        samples=6,
        slices=(2.0, 20.0),
        runtimes=("onnx",),
    )


@pytest.fixture(scope="module", autouse=True)
def any_gain() -> Iterator[None]:
    """Whatever way of slicing is the best is kept, even if it saves little."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cutpoint.calibration.slices.points._WORTH", 1.0)
        yield


@pytest.fixture(scope="module")
def bundle(settings: Settings) -> Bundle:
    run_calibration(settings, SilentReporter())
    return Bundle.open(settings.out)


def test_both_ends_run_what_was_found(bundle: Bundle) -> None:
    sliced = [point for point in bundle.points if point.slicing is not None]
    assert sliced
    runtime = create_runtime("onnx")
    head = Head(BundleGraphs(bundle.part("device"), [runtime]))
    tail = Tail(BundleGraphs(bundle.part("server"), [runtime]))
    picture = head.prepare(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
    uncut = head.run(bundle.points[bundle.point_number(f"cut{bundle.manifest.last}-fp32")], picture).outputs
    assert uncut is not None
    for point in sliced:
        assert point.slicing is not None
        payloads = [output.payload or b"" for output in head.run_parts(point, picture)]
        outputs = tail.graph(point).run(tail.slices.assemble(point, payloads))
        if "raw" in point.id:
            np.testing.assert_allclose(outputs[0], uncut[0], atol=1e-4)
        m, steps = point.measured, point.slicing.steps
        assert m.device_ms + m.encode_ms == pytest.approx(sum(step.device_ms for step in steps))
        assert m.bytes_mean == pytest.approx(sum(step.nbytes for step in steps))
        assert m.decode_ms == pytest.approx(sum(step.server_ms for step in steps))
        assert m.tail_ms > 0
        assert 0 <= m.metric <= 1


def test_decoders_for_slices_take_batches_of_any_height(bundle: Bundle) -> None:
    boundary = next(b for b in bundle.manifest.boundaries[1:] if b.row_axis is not None)
    rng = np.random.default_rng(0)
    fitted = fit_affine(boundary, [[rng.normal(0, 1, s.shape).astype(s.dtype) for s in boundary.tensors]] * 2)
    graph = ModelGraph.inspect(deep_net(), [TensorSpec("x", (1, 3, SIDE, SIDE), "float32")])
    draft = Draft(graph, bundle.manifest, dict(fitted.files))
    _free_rows(draft, fitted.entry)
    _, decoder = draft.files[fitted.entry.decoder[0].file]
    for height in (1, 3):
        symbols = [spec.with_side(boundary.row_axis or 0, height) for spec in fitted.entry.symbols]
        check_batches(decoder, symbols, len(fitted.entry.levels))


def test_slices_share_the_spans_weights(bundle: Bundle) -> None:
    weights = {path for piece in bundle.manifest.slices for graph in piece.graphs for path in graph.weights}
    assert weights == {"spans/weights.fp32.bin"}
    assert decode_manifest(encode_manifest(bundle.manifest)) == bundle.manifest


def test_a_model_without_a_local_prefix_is_refused_at_once(settings: Settings, tmp_path: Path) -> None:
    net = Network()
    flat = net.add("Flatten", ["x"], "flat")
    hidden = net.add("Relu", [net.add("MatMul", [flat, net.weight("w0", 3 * SIDE * SIDE, 16)], "h")], "r")
    net.add("MatMul", [hidden, net.weight("w1", 16, 5)], "scores")
    onnx.save(net.model((1, 3, SIDE, SIDE), ["scores"]), str(tmp_path / "flat.onnx"))
    changes = {"model": str(tmp_path / "flat.onnx"), "out": tmp_path / "out"}
    given = {name: getattr(settings, name) for name in settings.__dataclass_fields__} | changes
    with pytest.raises(CalibrationError, match="no cut lies where the model can be computed in slices"):
        run_calibration(Settings(**given), SilentReporter())


def test_rates_are_above_zero() -> None:
    with pytest.raises(CalibrationError, match="--slices takes rates"):
        Settings("m", Path("d"), Path("o"), slices=(0.0,))
    assert {state.uplink for state in channel_states((10, 88))} == {10e6, 88e6}


def test_slices_of_servers_that_share_a_request_stay(settings: Settings, tmp_path: Path) -> None:
    changes = {"out": tmp_path / "out", "slices": (20.0,), "node_slices": ((1.0, 1.0),), "codecs": ("raw",)}
    given = {name: getattr(settings, name) for name in settings.__dataclass_fields__} | changes
    bundle = run_calibration(Settings(**given), SilentReporter()).bundle
    server = BundleGraphs(bundle.part("server"), [create_runtime("onnx")])
    heights = {boundary.index: boundary.height for boundary in bundle.manifest.boundaries}
    halves: dict[tuple[int, int], set[int]] = {}
    for piece in bundle.manifest.slices:
        if any(graph.file in server.bundle for graph in piece.graphs):
            server.slice(piece)
            halves.setdefault((piece.start, piece.end), set()).update(piece.rows)
    assert len(halves) >= 3
    assert any(start > 0 for start, _ in halves)
    assert all({0, heights[end]} <= rows for (_, end), rows in halves.items())
    head = BundleGraphs(bundle.part("device"), [create_runtime("onnx")])
    sliced = [point for point in bundle.points if point.slicing is not None]
    assert all(head.supports(point) for point in sliced)
