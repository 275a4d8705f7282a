"""Int8 heads in LiteRT, in a real bundle, through a real server."""

import json
from pathlib import Path

import aiohttp
import numpy as np
import onnx
import pytest
from tests.support.networks import SIDE, picture_folder, residual_net

from cutpoint.calibration.data import load_samples, open_dataset
from cutpoint.calibration.graphs.litert_shared import HeadWeights
from cutpoint.calibration.graphs.litert_weights import LitertQuantiser
from cutpoint.calibration.pipeline import run_calibration
from cutpoint.calibration.progress import SilentReporter
from cutpoint.calibration.search.litert_heads import check_heads, fall
from cutpoint.calibration.search.measure import Bench
from cutpoint.calibration.search.points import group_by_head
from cutpoint.calibration.search.trials import Trial
from cutpoint.calibration.settings import Settings
from cutpoint.calibration.tasks import Situation, Verdict, make_judge
from cutpoint.calibration.work import WorkFolder
from cutpoint.calibration.yardstick import Yardstick
from cutpoint.codecs import Array, TensorSpec
from cutpoint.sdk import Client
from cutpoint.sdk.bundle import Bundle, Part
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.measure import Timing, measure_device
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.sdk.testing import ServerProcess

for package in ("litert_torch", "onnx2torch", "ai_edge_litert", "ai_edge_quantizer"):
    pytest.importorskip(package)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("litert")
    onnx.save(residual_net(width=16), str(folder / "net.onnx"))
    return Settings(
        str(folder / "net.onnx"),
        picture_folder(folder / "data", 40),
        folder / "net.cutpoint",
        calibration_samples=12,
        samples=16,
        task="embedding",
        codecs=("raw", "affine", "klt"),
        runtimes=("onnx", "tflite"),
        int8_drop=0.05,
        cuts=("r3",),
        keep_all=True,
    )


@pytest.fixture(scope="module")
def bundle(settings: Settings) -> Bundle:
    return run_calibration(settings, SilentReporter()).bundle


def _pictures(count: int) -> list[Array]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for _ in range(count)]


def test_every_head_is_there_at_every_precision(bundle: Bundle) -> None:
    last = bundle.manifest.last
    for end in (1, last):
        for precision in ("fp32", "int8"):
            assert [graph.format for graph in bundle.span(0, end, precision).graphs] == ["onnx", "tflite"]
    report = json.loads(bundle.read("report/report.json"))
    assert [(head["end"], head["points"]) for head in report["litert"]] == [
        (1, sum(point.start == 1 and point.precision == "int8" for point in bundle.points)),
        (last, 1),
    ]
    for head in report["litert"]:
        assert abs(head["metric"] - head["litert_metric"]) <= 0.05 + head["chance"]
        assert 0 <= head["apart"] < 0.1
        assert min(head["ms"], head["litert_ms"]) > 0
        assert "reason" not in head
    assert report["litert"][0]["bytes_ratio"] == pytest.approx(1, abs=0.05)


async def test_a_device_with_litert_and_int8_alone(settings: Settings, bundle: Bundle, tmp_path: Path) -> None:
    async with ServerProcess(settings.out) as server:
        url = server.url.replace("ws", "http", 1)
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{url}/v1/bundle/{bundle.hash}?runtime=tflite&precision=int8") as answer,
        ):
            assert answer.status == 200
            (tmp_path / "part.cutpoint").write_bytes(await answer.read())
        part = Bundle.open(tmp_path / "part.cutpoint")
        heads = [entry.path for entry in part.manifest.files if entry.path in part and entry.path.startswith("spans/")]
        ends = 1, bundle.manifest.last
        assert sorted(heads) == [f"spans/0-{end}.int8.tflite{what}" for end in ends for what in ("", ".bin")]
        async with (
            Client(server.url, part, runtime="litert") as client,
            Client(server.url, bundle, runtime="onnx") as other,
        ):
            for picture in _pictures(2):
                for point in bundle.points:
                    if point.precision == "int8":
                        given = await client.infer(picture, point=point.id)
                        wanted = await other.infer(picture, point=point.id)
                        assert given.source == ("device" if point.local else "edge")
                        assert given.point.id == point.id
                        scale = np.abs(wanted.outputs[0]).max()
                        assert np.abs(given.outputs[0] - wanted.outputs[0]).max() < 0.3 * scale, point.id
        # Without the server, and for one that fetches what it needs.
        async with Client(None, part, runtime="litert") as alone:
            await alone.infer(_pictures(1)[0])
        async with Client(server.url, runtime="litert", cache=tmp_path / "cache") as client:
            for point in bundle.points:
                assert (await client.infer(_pictures(1)[0], point=point.id)).point.id == point.id


def test_a_profile_has_the_times_of_int8_heads_in_litert(bundle: Bundle, tmp_path: Path) -> None:
    bundle.part("device", runtime="tflite", precision="int8").save(tmp_path / "part.cutpoint")
    found = measure_device(tmp_path / "part.cutpoint", "here", ("tflite",), Timing(repeats=3, seconds=0.1))
    assert [(head.end, head.precision, head.format) for head in found.heads] == [
        (1, "int8", "tflite"),
        (bundle.manifest.last, "int8", "tflite"),
    ]


def _judged(bundle: Bundle, settings: Settings, tmp_path: Path) -> tuple[list[Trial], Yardstick]:
    """Every point as the search leaves it, measured with onnxruntime."""
    graphs = BundleGraphs(bundle, [create_runtime("onnx")])
    manifest = bundle.manifest
    sources = open_dataset(settings.data).sources[:12]
    samples = load_samples(sources, 12, manifest.boundaries[0].tensors, manifest.preprocessing)
    whole = graphs.span(0, manifest.last, "fp32")
    uncut = [whole.run(sample) for sample in samples.tensors]
    judge = make_judge("embedding", Situation(manifest.boundaries[-1].tensors, tuple(samples.sources), uncut))
    bench = Bench(graphs, samples.tensors, judge, WorkFolder(tmp_path / "onnx"), "onnx")
    trials = []
    for group in group_by_head(bundle.points):
        for key, answers in bench.judge(group, 0, 12).items():
            point = next(point for point in group if point.id == key)
            trial = Trial(point, point.measured, None, 0, kept=True)
            trial.verdicts = {number: answer.verdict for number, answer in enumerate(answers)}
            trial.sizes = [answer.size for answer in answers]
            trials.append(trial)
    return trials, Yardstick(samples, judge, 1.0)


def _joined(bundle: Bundle, end: int, precision: str) -> bytes:
    """A `.tflite` head with its weights."""
    (head,) = (graph for graph in bundle.span(0, end, precision).graphs if graph.format == "tflite")
    return b"".join(bundle.read(path) for path in head.paths())


def test_a_head_that_loses_too_much_has_no_file(bundle: Bundle, settings: Settings, tmp_path: Path) -> None:
    trials, yardstick = _judged(bundle, settings, tmp_path)
    files: dict[str, tuple[Part, bytes]] = {
        entry.path: (entry.part, bundle.read(entry.path)) for entry in bundle.manifest.files
    }
    given = settings, bundle.manifest, files, trials, yardstick
    reporter = SilentReporter()
    manifest, left, heads = check_heads(*given, WorkFolder(tmp_path / "good"), reporter)
    assert (manifest, left) == (bundle.manifest, files)
    assert [head.reason for head in heads] == ["", ""]

    # Ranges of a black picture: all that is brighter is cut off.
    dark = [(np.zeros((1, SIDE, SIDE, 3), np.uint8),)]
    head = LitertQuantiser(_joined(bundle, 1, "fp32"), dark)()
    bad = "spans/0-1.int8.tflite"
    weights = HeadWeights(_joined(bundle, bundle.manifest.last, "int8"))
    graph, used = weights.refer(head)
    assert used == len(files[f"{bad}.bin"][1])
    files[bad] = "device", graph
    manifest, left, heads = check_heads(*given, WorkFolder(tmp_path / "bad"), reporter)
    assert "the int8 head up to r3 has no .tflite file" in heads[0].reason
    assert reporter.notes == [heads[0].reason]
    assert heads[1].reason == ""
    assert set(files) - set(left) == {bad}  # The uncut model needs the weights, too.
    smaller = Bundle.create(manifest, left)
    assert [graph.format for graph in smaller.span(0, 1, "int8").graphs] == ["onnx"]
    assert [graph.format for graph in smaller.span(0, 1, "fp32").graphs] == ["onnx", "tflite"]


def test_weights_that_only_a_rejected_head_needs_go_with_it(bundle: Bundle, settings: Settings, tmp_path: Path) -> None:
    trials, yardstick = _judged(bundle, settings, tmp_path)
    files: dict[str, tuple[Part, bytes]] = {
        entry.path: (entry.part, bundle.read(entry.path)) for entry in bundle.manifest.files
    }
    last = bundle.manifest.last
    bad = f"spans/0-{last}.int8.tflite"
    dark = [(np.zeros((1, SIDE, SIDE, 3), np.uint8),)]
    whole = LitertQuantiser(_joined(bundle, last, "fp32"), dark)()
    files[bad] = "device", HeadWeights(_joined(bundle, last, "int8")).refer(whole)[0]
    given = settings, bundle.manifest, files, trials, yardstick
    manifest, left, _ = check_heads(*given, WorkFolder(tmp_path / "bad"), SilentReporter())
    assert set(files) - set(left) == {bad, f"{bad}.bin"}
    smaller = Bundle.create(manifest, left)
    assert [graph.format for graph in smaller.span(0, 1, "int8").graphs] == ["onnx", "tflite"]
    BundleGraphs(smaller, [create_runtime("litert")]).span(0, 1, "int8")


def test_nothing_to_check(bundle: Bundle, settings: Settings, tmp_path: Path) -> None:
    trials, yardstick = _judged(bundle, settings, tmp_path)
    some = [trial for trial in trials if trial.point.precision != "int8"]
    work = WorkFolder(tmp_path / "work")
    assert check_heads(settings, bundle.manifest, {}, some, yardstick, work, SilentReporter()) == (
        bundle.manifest,
        {},
        (),
    )


def _classes(right: list[int]) -> dict[int, Verdict]:
    return {number: [float(value)] for number, value in enumerate(right)}


def test_how_much_of_a_fall_is_chance() -> None:
    rng = np.random.default_rng(0)
    judge = make_judge("auto", Situation((TensorSpec("scores", (1, 2), "float32"),), (), []))
    before = [_classes([1] * 200)]
    assert fall(judge, before, before) == (0.0, 0.0)
    flips = rng.permutation([0] * 4 + [1] * 196).tolist()
    lost, chance = fall(judge, before, [_classes(flips)])
    assert lost == pytest.approx(0.02)
    assert chance == pytest.approx(2 * np.sqrt(0.02 * 0.98 / 200), rel=0.4)
    everywhere, certain = fall(judge, before, [_classes([0] * 200)])
    assert (everywhere, certain) == (1.0, 0.0)
