import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.support.networks import SIDE, picture_folder, residual_net, two_scale_net

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.pipeline import Result, run_calibration
from cutpoint.calibration.progress import SilentReporter
from cutpoint.calibration.report import PAGE
from cutpoint.calibration.search.constraints import Constraints
from cutpoint.calibration.settings import Settings
from cutpoint.sdk.bundle import Bundle, DeviceProfile, FileEntry, HeadCost
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.head import Head
from cutpoint.sdk.profiles import save_profile
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.sdk.tail import Tail


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    onnx.save(residual_net(), str(tmp_path / "net.onnx"))
    data = picture_folder(tmp_path / "data", 30, classes=5)
    return Settings(
        str(tmp_path / "net.onnx"), data, tmp_path / "out" / "net", calibration_samples=8, samples=12, keep_all=True
    )


def _with(settings: Settings, **changes: object) -> Settings:
    return Settings(**{**{name: getattr(settings, name) for name in settings.__dataclass_fields__}, **changes})  # type: ignore[arg-type]


def _run(settings: Settings, reporter: SilentReporter | None = None) -> Result:
    return run_calibration(settings, reporter or SilentReporter())


def test_a_bundle_that_both_ends_can_run(settings: Settings) -> None:
    result = _run(settings)
    bundle = Bundle.open(settings.out)
    assert bundle.hash == result.bundle.hash
    assert result.calibrated_on == 8
    task = bundle.manifest.task
    assert (task.kind, task.metric, task.samples) == ("classification", "top1", 12)
    assert task.labels == ("class0", "class1", "class2", "class3", "class4")

    runtime = create_runtime("onnx")
    head = Head(BundleGraphs(bundle.part("device"), [runtime]))
    tail = Tail(BundleGraphs(bundle.part("server"), [runtime]))
    picture = head.prepare(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
    last = bundle.manifest.last
    uncut = head.run(bundle.points[bundle.point_number(f"cut{last}-fp32")], picture).outputs
    assert uncut is not None
    for point in bundle.points:
        sent = head.run(point, picture)
        if sent.payload is None:
            assert point.local
            continue
        outputs = tail.run(point, sent.payload).outputs
        if "exact" in point.id and point.precision != "int8":
            np.testing.assert_allclose(outputs[0], uncut[0], rtol=1e-5, atol=1e-6)
        assert 0 <= point.measured.metric <= 1
        assert point.measured.bytes_mean > 0
        assert point.measured.tail_ms > 0


def test_parts_hold_only_what_a_machine_needs(settings: Settings) -> None:
    bundle = _run(settings).bundle
    device = {entry.path for entry in bundle.manifest.files if entry.part == "device"}
    server = {entry.path for entry in bundle.manifest.files if entry.part == "server"}
    assert "spans/0-1.fp32.onnx" in device
    assert f"spans/1-{bundle.manifest.last}.fp32.onnx" in server
    assert all("int8" not in path for path in server)
    assert "codecs/1-affine.dec.onnx" in server


def test_tiers_have_what_they_need_between_the_cuts(settings: Settings) -> None:
    bundle = _run(_with(settings, keep_all=False, tiers=True, points=2)).bundle
    manifest, last = bundle.manifest, bundle.manifest.last
    kept = {point.start for point in bundle.points if point.codec is not None and "raw-fp16" in point.id}
    assert kept == set(range(1, last))
    runtime = create_runtime("onnx")
    server = bundle.part("server")
    head, tail = Head(BundleGraphs(bundle.part("device"), [runtime])), Tail(BundleGraphs(server, [runtime]))
    picture = head.prepare(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
    uncut = head.run(bundle.points[bundle.point_number(f"cut{last}-fp32")], picture).outputs
    assert uncut is not None
    starts = {point.end for point in bundle.points if not point.local}
    assert starts >= {0, 1}
    for start in starts:
        for stop in (stop for stop in range(1, last) if stop > start):
            crossing = tail.span(0, "fp32", start).run(picture) if start else picture
            tensors = tail.span(start, "fp32", stop).run(crossing)
            np.testing.assert_allclose(tail.span(stop, "fp32").run(tensors)[0], uncut[0], rtol=1e-5, atol=1e-6)
    for codec in manifest.codecs:
        assert all(graph.file in server for graph in codec.encoder)


def test_slices_for_servers_that_share_a_request(settings: Settings) -> None:
    bundle = _run(
        _with(settings, keep_all=False, node_slices=((1.0, 1.0), (3.0, 1.0)), points=2, cuts=("r1", "r4"))
    ).bundle
    manifest, server = bundle.manifest, bundle.part("server")
    assert {point.start for point in bundle.points if point.codec is not None and "raw-fp16" in point.id} >= {1, 2}
    assert {(piece.start, piece.end) for piece in manifest.slices} == {(0, 1), (0, 2), (1, 2)}
    graphs = BundleGraphs(server, [create_runtime("onnx")])
    picture = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8)
    for piece in manifest.slices:
        assert piece.graphs[0].file.endswith(f".{piece.rows[0]}-{piece.rows[1]}.onnx")
        assert piece.graphs[0].file not in bundle.part("device")
        given = picture if piece.start == 0 else graphs.span(0, piece.start, "fp32").run([picture])[0]
        start, end = manifest.boundaries[piece.start].row_axis, manifest.boundaries[piece.end].row_axis
        assert start is not None
        assert end is not None
        taken = given[(slice(None),) * start + (slice(*piece.needs[0]),)]
        whole = graphs.span(piece.start, piece.end, "fp32").run([given])[0]
        part = whole[(slice(None),) * end + (slice(*piece.rows),)]
        np.testing.assert_allclose(graphs.slice(piece).run([taken])[0], part, atol=1e-5)


def test_the_same_input_gives_the_same_files(settings: Settings) -> None:
    def files(out: Path) -> list[FileEntry]:
        return [entry for entry in _run(_with(settings, out=out)).bundle.manifest.files if entry.part != "report"]

    assert files(settings.out) == files(settings.out.with_name("other"))


def test_the_report_lies_in_the_bundle(settings: Settings) -> None:
    bundle = _run(settings).bundle
    assert next(f for f in bundle.manifest.files if f.path == PAGE).part == "report"
    assert bundle.points[0].id.encode() in bundle.read(PAGE)


def test_a_device_profile_of_an_earlier_bundle_steers_the_search(settings: Settings, tmp_path: Path) -> None:
    settings = _with(settings, constraints=Constraints(device_ms=100))
    first = _run(settings).bundle
    hashes = {entry.path: entry.sha256 for entry in first.manifest.files}
    heads = tuple(
        HeadCost(span.end, span.precision, "onnx", hashes[span.graphs[0].file], 300.0, 400.0)
        for span in first.manifest.spans
        if not span.start
    )
    save_profile(DeviceProfile("board", scale=100.0, bundle=first.hash, heads=heads), tmp_path / "board.json")
    result = _run(_with(settings, out=settings.out.with_name("again"), devices=(tmp_path / "board.json",)))
    assert result.report.search.device == "board"
    assert [device.name for device in result.bundle.manifest.devices] == ["board"]
    assert any(point.start and not point.local for point in first.points)
    trials = [trial for trial in result.report.trials if trial.start and trial.codec is not None]
    assert all(trial.reason.startswith("constraint: device_ms is 3") for trial in trials)


class _Interrupting(SilentReporter):
    """Presses Ctrl-C after some steps of a stage."""

    def __init__(self, stage: str, steps: int) -> None:
        super().__init__()
        self._stage = stage
        self._steps = steps

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Callable[[], None]]:
        def advance() -> None:
            if title == self._stage:
                self._steps -= 1
                if not self._steps:
                    raise KeyboardInterrupt

        yield advance


def test_an_interrupted_calibration_goes_on(settings: Settings) -> None:
    with pytest.raises(KeyboardInterrupt):
        _run(settings, _Interrupting("measuring points, rung 1", 13))
    assert not settings.out.exists()
    assert settings.work_folder.is_dir()
    result = _run(settings)
    # The times of the nodes, the int8 model, affine and klt at each cut, a first look at each head, and answers of six
    # heads to the two samples of the rung.
    cuts = result.bundle.manifest.last - 1
    assert result.reused == 2 + 2 * cuts + (1 + 2 * cuts + 2) + 6
    assert not settings.work_folder.exists()
    assert os.listdir(settings.out.parent) == [settings.out.name]


def test_other_data_reuses_nothing(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _run(settings, _Interrupting("measuring points, rung 1", 13))
    assert _run(_with(settings, calibration_samples=6)).reused == 0


def test_broken_pictures_are_counted_and_named(settings: Settings) -> None:
    (settings.data / "class0" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not much of a JPEG")
    reporter = SilentReporter()
    result = _run(_with(settings, calibration_samples=40, samples=40), reporter)
    assert [name for name, _ in result.skipped] == ["class0/broken.jpg"]
    assert any("1 unreadable file skipped" in note and "broken.jpg" in note for note in reporter.notes)


def test_only_broken_pictures(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"no")
    with pytest.raises(CalibrationError, match=r"no file of 1 could be read.*a\.jpg"):
        _run(_with(settings, data=folder))
    assert not settings.out.parent.exists()


def test_an_output_that_is_there_is_left_alone(settings: Settings) -> None:
    settings.out.mkdir(parents=True)
    with pytest.raises(CalibrationError, match="--overwrite"):
        _run(settings)
    small = _with(settings, overwrite=True, precisions=("fp32",), codecs=("raw",), cuts=1)
    assert len(_run(small).bundle.points) == 4
    assert len(_run(small).bundle.points) == 4


def test_several_tensors_at_a_cut_and_an_agreement_task(settings: Settings, tmp_path: Path) -> None:
    onnx.save(two_scale_net(), str(tmp_path / "two.onnx"))
    bundle = _run(_with(settings, model=str(tmp_path / "two.onnx"))).bundle
    assert max(len(boundary.tensors) for boundary in bundle.manifest.boundaries) == 2
    assert (bundle.manifest.task.kind, bundle.manifest.task.uncut) == ("agreement", 1.0)
    metrics = {point.id: point.measured.metric for point in bundle.points}
    assert all(value == pytest.approx(1) for key, value in metrics.items() if key.endswith("fp32-raw-exact"))
    assert all(value > 0.99 for key, value in metrics.items() if key.endswith("fp32-affine-8bit"))


def test_tensors_instead_of_pictures_and_cuts_by_name(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "tensors"
    folder.mkdir()
    for number in range(10):
        np.save(folder / f"{number}.npy", np.random.default_rng(number).normal(size=(3, SIDE, SIDE)).astype(np.float32))
    bundle = _run(_with(settings, data=folder, cuts=("r3",))).bundle
    assert bundle.manifest.preprocessing is None
    assert [boundary.label for boundary in bundle.manifest.boundaries] == ["input", "r3", "output"]
    assert {codec.id for codec in bundle.manifest.codecs} == {"0-raw", "1-raw", "1-affine", "1-klt"}
    assert bundle.manifest.task.metric == "agreement"


def test_a_folder_to_measure_on(settings: Settings, tmp_path: Path) -> None:
    other = picture_folder(tmp_path / "other", 9)
    bundle = _run(_with(settings, evaluation=other, samples=100)).bundle
    assert (bundle.manifest.task.samples, bundle.manifest.task.metric) == (9, "agreement")


def test_class_names_that_do_not_fit(settings: Settings) -> None:
    with pytest.raises(CalibrationError, match="2 class names for a model with 5 scores"):
        _run(_with(settings, labels=("cat", "dog")))
    assert not settings.out.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codecs": ("zip",)}, "codec 'zip'"),
        ({"precisions": ("int8",)}, "tails run at it"),
        ({"precisions": ()}, "at least one precision"),
        ({"runtimes": ("tflite",)}, "tails run on it"),
        ({"samples": 0}, "at least 1"),
        ({"runtimes": ("coreml",)}, "runtime 'coreml'"),
    ],
)
def test_settings_that_cannot_be(settings: Settings, changes: dict[str, object], message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        _with(settings, **changes)
