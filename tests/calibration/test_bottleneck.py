import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from tests.support.decoders import check_batches
from tests.support.networks import SIDE, picture_folder, residual_net, token_net

import cutpoint.calibration.training.loop as training
from cutpoint.calibration.cli import calibrate
from cutpoint.calibration.codecs.entries import FittedCodec
from cutpoint.calibration.codecs.klt import design_dead_zones, design_klt
from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.graphs.spans import extract_span
from cutpoint.calibration.pipeline import run_calibration
from cutpoint.calibration.progress import SilentReporter
from cutpoint.calibration.settings import Settings
from cutpoint.calibration.training.bottleneck import Bottleneck, start_bottleneck
from cutpoint.calibration.training.distillation import Lesson, distil
from cutpoint.calibration.training.families import BOTTLENECK
from cutpoint.calibration.training.files import write_trained
from cutpoint.calibration.training.loop import Budget
from cutpoint.calibration.training.teacher import Teacher
from cutpoint.codecs import Array, TensorSpec, unpack_tables
from cutpoint.sdk.bundle import Boundary, Bundle
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.head import Head
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.sdk.tail import Tail

LEVELS = BOTTLENECK.levels
PICTURE = TensorSpec("x", (1, 3, SIDE, SIDE), "float32")
CPU = torch.device("cpu")


class Case:
    """A network, one of its cuts, and features there."""

    def __init__(self, model: onnx.ModelProto, cut: str) -> None:
        graph = ModelGraph.inspect(model, [PICTURE])
        self.boundary = Boundary(1, (graph.specs[cut],), cut)
        head = extract_span(graph.model, graph.inputs, self.boundary.tensors, graph.batch)
        self.tail = extract_span(graph.model, self.boundary.tensors, graph.outputs, graph.batch)
        rng = np.random.default_rng(0)
        session = create_runtime("onnx").load(head.SerializeToString(), {})
        coarse = rng.normal(size=(48, 3, SIDE // 4, SIDE // 4)).astype(np.float32)
        pictures = coarse.repeat(4, axis=2).repeat(4, axis=3) + rng.normal(0, 0.1, (48, *PICTURE.shape[1:]))
        self.samples = [session.run([picture[None].astype(np.float32)]) for picture in pictures]
        self.features = [torch.from_numpy(np.concatenate([sample[0] for sample in self.samples]))]
        self.teacher = Teacher(self.tail, True, True, CPU)
        with torch.no_grad():
            self.wanted = self.teacher(self.features)

    def start(self) -> Bottleneck:
        fit, steps = design_klt(self.boundary, self.samples, None)
        return start_bottleneck(fit, steps)

    def train(self, steps: int, checkpoint: Path | None = None, advance: Any = lambda: None) -> FittedCodec:
        module, lesson = self.start(), Lesson(self.features, self.features, self.wanted)
        curves = distil(module, self.teacher, lesson, Budget(steps), checkpoint, advance)
        return write_trained(self.boundary, self.boundary, module, self.features, curves)


@pytest.fixture(scope="module")
def maps() -> Case:
    return Case(residual_net(), "r4")


@pytest.fixture(scope="module")
def trained(maps: Case) -> FittedCodec:
    return maps.train(6)


def _halves(fitted: FittedCodec) -> list[Any]:
    return [
        create_runtime("onnx").load(fitted.files[graph.file][1], {})
        for graph in (*fitted.entry.encoder, *fitted.entry.decoder)
    ]


@pytest.mark.parametrize("cut", ["r4", "tokens", "m"])
def test_before_the_first_step_it_is_klt(cut: str) -> None:
    case = Case(token_net() if cut == "tokens" else residual_net(), cut)
    fit, steps = design_klt(case.boundary, case.samples, None)
    module = start_bottleneck(fit, steps)
    with torch.no_grad():
        tensors, _, _ = module(case.features)
        symbols = module.symbols(case.features, 0)
    wanted = fit.quantised(max(steps), len(case.samples))
    first = np.concatenate([sample[0] for sample in fit.tensors(wanted)])[:: len(LEVELS)]
    differences = np.abs(tensors[0].numpy()[:: len(LEVELS)] - first).reshape(len(first), -1).max(axis=1)
    # Components without any symbol are left out, and with them their means.
    assert differences.max() < 0.01 * np.abs(first).max()
    zones = design_dead_zones(fit.codes[0], fit.coefficients[0], max(steps))
    expected = fit.codes[0].quantise(fit.coefficients[0], max(steps), zones)
    assert (symbols[0].numpy() != expected[:, : symbols[0].shape[1]]).mean() < 1e-3


def test_higher_levels_take_more_bytes_and_are_nearer(maps: Case, trained: FittedCodec) -> None:
    encoder, decoder = _halves(trained)
    models = unpack_tables(trained.files[trained.entry.tables or ""][1], len(LEVELS), 1)
    sizes, errors = [], []
    for level, (model,) in enumerate(models):
        sizes.append(0)
        errors.append(0.0)
        for sample in maps.samples[:16]:
            (symbols,) = encoder.run([*sample, np.array(level)])
            sizes[-1] += len(model.encode(symbols.reshape(symbols.shape[1], -1)))
            (back,) = decoder.run([symbols, np.array(level)])
            errors[-1] += float(np.square(back - sample[0]).mean())
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)
    assert 3 * sizes[0] < sizes[-1]


@pytest.mark.parametrize("cut", ["r4", "tokens", "m"])
def test_the_graphs_compute_what_the_module_does(cut: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(token_net() if cut == "tokens" else residual_net(), cut)
    modules: list[Bottleneck] = []
    original = Case.start
    monkeypatch.setattr(Case, "start", lambda self: modules.append(original(self)) or modules[-1])
    fitted = case.train(4)
    encoder, decoder = _halves(fitted)
    module = modules[0]
    for level in (0, 3, len(LEVELS) - 1):
        with torch.no_grad():
            (wanted,) = module.symbols([case.features[0][:1]], level)
            coded = module.plane_nets[0](module.extract([case.features[0][:1]])[0], torch.tensor([level]))
            (tensor,) = module.join([coded.values])
        given = encoder.run([*case.samples[0], np.array(level)])
        assert np.abs(given[0] - wanted.numpy()).max() <= 1
        assert (given[0] != wanted.numpy()).mean() < 0.02
        (back,) = decoder.run([wanted.numpy().astype(given[0].dtype), np.array(level)])
        np.testing.assert_allclose(back, tensor.numpy(), atol=1e-4)
    check_batches(fitted.files[fitted.entry.decoder[0].file][1], fitted.entry.symbols, len(LEVELS))


def test_training_lowers_the_loss(maps: Case) -> None:
    curves = json.loads(maps.train(120).files["report/bottleneck-1.json"][1])
    assert len(curves["loss"]) == len(curves["step"]) == 120
    assert np.mean(curves["loss"][-20:]) < 0.9 * np.mean(curves["loss"][:5])
    assert {f"divergence{len(LEVELS) - 1}", "bytes0", "squared0"} <= set(curves)


def test_the_same_again(maps: Case, trained: FittedCodec) -> None:
    assert maps.train(6).files == trained.files


class _Stop:
    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self) -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def test_an_interrupted_training_ends_as_any_other(
    maps: Case, trained: FittedCodec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_EVERY_S", 0.0)
    checkpoint = tmp_path / "work" / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        maps.train(6, checkpoint, _Stop(4))
    assert checkpoint.is_file()
    assert maps.train(6, checkpoint).files == trained.files
    assert not list(checkpoint.parent.iterdir())


def test_calibrating_with_training(tmp_path: Path) -> None:
    onnx.save(residual_net(), str(tmp_path / "net.onnx"))
    data = picture_folder(tmp_path / "data", 30, classes=5)
    settings = Settings(
        str(tmp_path / "net.onnx"),
        data,
        tmp_path / "net.cutpoint",
        calibration_samples=8,
        samples=12,
        codecs=("raw", "bottleneck"),
        precisions=("fp32",),
        keep_all=True,
        train_cuts=("r3",),
        train_data=picture_folder(tmp_path / "more", 20),
        train_steps=5,
    )
    run_calibration(settings, SilentReporter())
    bundle = Bundle.open(settings.out)
    (entry,) = (codec for codec in bundle.manifest.codecs if codec.codec == "bottleneck")
    assert entry.levels == LEVELS
    report = f"report/bottleneck-{entry.start}.json"
    assert {file.path: file.part for file in bundle.manifest.files}[report] == "report"
    runtime = create_runtime("onnx")
    head = Head(BundleGraphs(bundle.part("device"), [runtime]))
    tail = Tail(BundleGraphs(bundle.part("server"), [runtime]))
    sizes = np.zeros(len(LEVELS))
    for number in range(6):
        noise: Array = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        picture = head.prepare(noise)
        for point in bundle.points:
            if point.codec == entry.id:
                sent = head.run(point, picture)
                assert sent.payload is not None
                sizes[point.level] += len(sent.payload)
                assert np.isfinite(tail.run(point, sent.payload).outputs[0]).all()
    assert list(sizes) == sorted(sizes)


def test_training_options_of_the_command(tmp_path: Path) -> None:
    options = {parameter.name: parameter for parameter in calibrate.params}
    assert {"train_cuts", "train_data", "train_steps", "train_minutes"} <= set(options)
    with pytest.raises(CalibrationError, match="at least 1 step"):
        Settings("m.onnx", tmp_path, tmp_path / "out", train_steps=0)
