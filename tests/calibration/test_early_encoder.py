"""Codecs that start at the picture and end at a cut, and widths."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from tests.support.decoders import check_batches, free_batch
from tests.support.networks import SIDE, picture_folder, residual_net

from cutpoint.calibration.codecs.klt import design_klt
from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.graphs.macs import node_macs
from cutpoint.calibration.graphs.normalise import PICTURE, prepend_normalisation
from cutpoint.calibration.graphs.spans import extract_span
from cutpoint.calibration.pipeline import run_calibration
from cutpoint.calibration.progress import SilentReporter
from cutpoint.calibration.settings import Settings
from cutpoint.calibration.training.bottleneck import start_bottleneck
from cutpoint.calibration.training.distillation import Lesson, distil
from cutpoint.calibration.training.families import BOTTLENECK, SLIMMABLE, Family
from cutpoint.calibration.training.graphs import build_bottleneck
from cutpoint.calibration.training.landing import Landing
from cutpoint.calibration.training.loop import Budget
from cutpoint.calibration.training.teacher import Teacher
from cutpoint.codecs import Array, SymbolMemory, TensorSpec
from cutpoint.sdk.bundle import Boundary, Bundle, Preprocessing
from cutpoint.sdk.errors import GraphError
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.head import Head
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.sdk.runtimes.onnx import OnnxRuntime
from cutpoint.sdk.tail import Tail

BIG = 32
PIXELS = TensorSpec(PICTURE, (1, BIG, BIG, 3), "uint8")


def _pictures(count: int) -> Array:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 200, (count, BIG // 4, BIG // 4, 3)).repeat(4, axis=1).repeat(4, axis=2)
    pictures: Array = (coarse + rng.integers(0, 56, coarse.shape)).astype(np.uint8)
    return pictures


class Case:
    """A network for pictures, whose codecs land at `r4`."""

    def __init__(self, family: Family, macs: float | None = None, batch: bool = True) -> None:
        net = residual_net(side=BIG, batch=batch)
        model, _ = prepend_normalisation(net, (1, 3, BIG, BIG), Preprocessing(BIG, BIG), batch)
        graph = ModelGraph.inspect(model, [PIXELS])
        self.start = Boundary(0, graph.inputs, "input")
        self.end = Boundary(1, (graph.specs["r4"],), "r4")
        self.span = extract_span(graph.model, graph.inputs, self.end.tensors, batch)
        self.tail = extract_span(graph.model, self.end.tensors, graph.outputs, batch)
        self.pictures = _pictures(48)
        fit, _ = design_klt(self.start, [(picture[None],) for picture in self.pictures], None)
        self.module = start_bottleneck(fit, [1.0, 0.05], family, Landing(self.span, batch), macs)

    def graphs(self) -> tuple[onnx.ModelProto, onnx.ModelProto, TensorSpec]:
        code = self.module.codes[0]
        symbols = TensorSpec("symbols", (1, code.components, *code.plane.shape[1:]), "int16")
        return *build_bottleneck(self.module, [symbols], self.end.tensors), symbols


@pytest.fixture(scope="module")
def slim() -> Case:
    return Case(SLIMMABLE)


def test_at_the_finest_step_it_is_nearly_the_layers(slim: Case) -> None:
    wanted = create_runtime("onnx").load(slim.span.SerializeToString(), {}).run([slim.pictures[:12]])[0]
    with torch.no_grad():
        (given,), _, _ = slim.module([torch.from_numpy(slim.pictures[:12])])
    finest = len(SLIMMABLE.levels) - 1
    errors = np.square(given.numpy() - wanted).mean(axis=(1, 2, 3)) / np.square(wanted).mean()
    assert errors[finest] < 0.01
    assert errors[finest] < errors[0]


def test_narrower_widths_leave_components_out(slim: Case) -> None:
    components = slim.module.plane_nets[0].components
    assert components == sorted(components)
    for level, used in enumerate(components):
        with torch.no_grad():
            (symbols,) = slim.module.symbols([torch.from_numpy(slim.pictures[:4])], level)
        assert not symbols[:, used:].any()
        assert symbols[:, :used].any()


@pytest.mark.parametrize("family", [SLIMMABLE, BOTTLENECK], ids=lambda family: family.codec)
def test_the_graphs_compute_what_the_module_does(family: Family) -> None:
    case = Case(family)
    with torch.no_grad():  # As after a training: nothing is zero any more.
        for parameter in case.module.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    encoder, decoder, symbols = case.graphs()
    encode, decode = (create_runtime("onnx").load(half.SerializeToString(), {}) for half in (encoder, decoder))
    picture = case.pictures[:1]
    for level in range(len(family.levels)):
        with torch.no_grad():
            (wanted,) = case.module.symbols([torch.from_numpy(picture)], level)
            coded = case.module.plane_nets[0](
                case.module.extract([torch.from_numpy(picture)])[0], torch.tensor([level])
            )
            (tensor,) = case.module.land(case.module.join([coded.values]))
        (given,) = encode.run([picture, np.array(level)])
        assert np.abs(given - wanted.numpy()).max() <= 1
        assert (given != wanted.numpy()).mean() < 0.02
        (back,) = decode.run([wanted.numpy().astype(np.int16), np.array(level)])
        np.testing.assert_allclose(back, tensor.numpy(), atol=2e-3 * float(tensor.abs().max()))
    check_batches(decoder.SerializeToString(), [symbols], len(family.levels))


def test_a_decoder_takes_no_batch_where_its_layers_take_none() -> None:
    _, decoder, symbols = Case(BOTTLENECK, batch=False).graphs()
    assert not free_batch(decoder)
    graph = create_runtime("onnx").load(decoder.SerializeToString(), {})
    (back,) = graph.run([np.ones(symbols.shape, np.int16), np.array(0)])
    assert len(back) == 1
    with pytest.raises(GraphError, match="invalid dimensions"):
        graph.run([np.ones((2, *symbols.shape[1:]), np.int16), np.array(0)])


def _convolutions(graph: onnx.GraphProto) -> list[list[onnx.NodeProto]]:
    """The convolutions of each body without further choices."""
    bodies = [a.g for node in graph.node if node.op_type == "If" for a in node.attribute]
    own = [node for node in graph.node if node.op_type == "Conv"]
    return ([own] if own else []) + [found for body in bodies for found in _convolutions(body)]


def test_narrower_widths_compute_less(slim: Case) -> None:
    encoder, _, _ = slim.graphs()
    bodies = _convolutions(encoder.graph)
    assert len(bodies) == len(SLIMMABLE.widths)

    def outputs(graph: onnx.GraphProto) -> dict[str, int]:
        found = {value.name: value.dims[0] for value in graph.initializer if len(value.dims) == 4}
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    found |= outputs(attribute.g)
        return found

    channels = outputs(encoder.graph)
    sums = sorted(sum(channels[node.input[1]] for node in body) for body in bodies)
    assert len(set(sums)) == len(sums)
    assert 3 * sums[0] < sums[-1]


def test_the_encoder_takes_no_more_than_it_may() -> None:
    allowed = 10_000.0
    case = Case(BOTTLENECK, allowed)
    encoder, _, _ = case.graphs()
    graph = ModelGraph.inspect(_at_level(encoder), [PIXELS])
    shapes = {name: spec.shape for name, spec in graph.specs.items()}
    shapes |= {value.name: tuple(value.dims) for value in graph.model.graph.initializer}
    total = sum(node_macs(node, shapes) for node in graph.model.graph.node if node.op_type == "Conv")
    assert 0.5 * allowed < total <= allowed


def _at_level(encoder: onnx.ModelProto) -> onnx.ModelProto:
    """The encoder with its level fixed, so that the picture is its only input."""
    model = onnx.ModelProto()
    model.CopyFrom(encoder)
    level = next(value for value in model.graph.input if value.name == "level")
    model.graph.input.remove(level)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0), "level"))
    return model


def test_training_brings_outputs_nearer() -> None:
    case = Case(SLIMMABLE)
    teacher = Teacher(case.tail, True, True, torch.device("cpu"))
    ends = create_runtime("onnx").load(case.span.SerializeToString(), {}).run([case.pictures])[0]
    pictures, end = torch.from_numpy(case.pictures), torch.from_numpy(ends)
    with torch.no_grad():
        wanted = teacher([end])
    curves = distil(case.module, teacher, Lesson([pictures], [end], wanted), Budget(60))
    assert np.mean(curves["loss"][-10:]) < 0.9 * np.mean(curves["loss"][:5])
    assert {"squared0", "bytes11", "divergence11"} <= set(curves)


def _settings(folder: Path, **more: object) -> Settings:
    onnx.save(residual_net(), str(folder / "net.onnx"))
    data = picture_folder(folder / "data", 30, classes=5)
    fields: dict[str, object] = {
        "calibration_samples": 8,
        "samples": 6,
        "codecs": ("raw", "slimmable"),
        "precisions": ("fp32",),
        "cuts": ("r3", "r4"),
        "train_steps": 3,
        "keep_all": True,
    }
    return Settings(str(folder / "net.onnx"), data, folder / "net.cutpoint", **(fields | more))  # type: ignore[arg-type]


def test_calibrating_for_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _settings(tmp_path, landing="r4", streams=True)
    run_calibration(settings, SilentReporter())
    bundle = Bundle.open(settings.out)
    (entry,) = (codec for codec in bundle.manifest.codecs if codec.id == "0-slimmable")
    assert (entry.codec, entry.config["of"]) == ("delta", "slimmable")
    assert (entry.start, entry.end, entry.levels) == (0, 2, SLIMMABLE.levels)
    runtime = create_runtime("onnx")
    head = Head(BundleGraphs(bundle.part("device"), [runtime]))
    tail = Tail(BundleGraphs(bundle.part("server"), [runtime]))
    points = [point for point in bundle.points if point.codec == entry.id]
    head.warm_up(tuple(points))
    noise: Array = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    picture = head.prepare(noise)

    loads: list[object] = []
    original = OnnxRuntime.load
    monkeypatch.setattr(OnnxRuntime, "load", lambda *given: loads.append(given) or original(*given))
    for point in points:
        first = head.run(point, picture)
        memory = SymbolMemory()
        assert first.payload is not None
        outputs = tail.run(point, first.payload, memory).outputs
        again = head.run(point, picture, first.symbols)
        assert again.payload is not None
        assert len(again.payload) <= len(first.payload)
        np.testing.assert_allclose(tail.run(point, again.payload, memory).outputs[0], outputs[0], rtol=1e-5)
    assert len(loads) == 2  # Decoder and tail, by the server; all widths are one graph on the device.


def test_it_lands_where_it_is_told(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="no cut 'r9' to train a codec at"):
        run_calibration(_settings(tmp_path, landing="r9"), SilentReporter())


def test_pictures_that_have_no_patches(tmp_path: Path) -> None:
    onnx.save(residual_net(side=22), str(tmp_path / "net.onnx"))
    settings = Settings(
        str(tmp_path / "net.onnx"),
        picture_folder(tmp_path / "data", 12),
        tmp_path / "out",
        codecs=("slimmable",),
        precisions=("fp32",),
        samples=4,
        calibration_samples=4,
        train_steps=1,
    )
    with pytest.raises(CalibrationError, match=r"22×22 cannot be divided into patches"):
        run_calibration(settings, SilentReporter())


def test_only_trained_codecs_start_early(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="trained codec 'klt' is not one of bottleneck, slimmable"):
        Settings("net.onnx", tmp_path, tmp_path / "out", early_encoders=("klt",))
