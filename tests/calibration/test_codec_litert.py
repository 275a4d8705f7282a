import numpy as np
import onnx
import pytest
import torch
from tests.support.networks import picture_folder, residual_net

from cutpoint.calibration.codecs.entries import FittedCodec, fit_affine, raw_codec
from cutpoint.calibration.codecs.klt import design_klt, fit_klt
from cutpoint.calibration.codecs.litert import add_tflite, convert_codec
from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.pipeline import run_calibration
from cutpoint.calibration.progress import SilentReporter
from cutpoint.calibration.settings import Settings
from cutpoint.calibration.training.bottleneck import start_bottleneck
from cutpoint.calibration.training.families import BOTTLENECK, SLIMMABLE, Family
from cutpoint.calibration.training.files import write_trained
from cutpoint.calibration.work import WorkFolder
from cutpoint.codecs import Array, TensorSpec
from cutpoint.sdk.bundle import Boundary, Bundle
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.head import Head
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.sdk.tail import Tail

pytest.importorskip("litert_torch", reason="litert-torch is not installed: pip install 'cutpoint[calibrate]'")

MAPS = TensorSpec("maps", (1, 6, 28, 14), "float32")
TOKENS = TensorSpec("tokens", (1, 17, 8), "float32")
HERE = Boundary(1, (MAPS, TOKENS), "cut")


def _samples(count: int) -> list[tuple[Array, ...]]:
    rng = np.random.default_rng(0)
    return [tuple(rng.normal(0, 2, spec.shape).astype(np.float32) for spec in HERE.tensors) for _ in range(count)]


def _trained(family: Family) -> FittedCodec:
    module = start_bottleneck(*design_klt(HERE, _samples(30), None), family)
    tensors = [torch.from_numpy(np.concatenate(values)) for values in zip(*_samples(30), strict=True)]
    return write_trained(HERE, HERE, module, tensors, {})


FITS = {
    "affine": lambda: fit_affine(HERE, _samples(30)),
    "klt": lambda: fit_klt(HERE, _samples(30)),
    "bottleneck": lambda: _trained(BOTTLENECK),
}


@pytest.mark.parametrize("family", sorted(FITS))
@pytest.mark.parametrize("package", ["litert", "tflite-runtime"])
def test_both_files_give_the_same_symbols(family: str, package: str, work_folder: WorkFolder) -> None:
    codec = add_tflite(FITS[family](), _samples(1)[0], work_folder)
    first, second = codec.entry.encoder
    assert (first.format, second.format) == ("onnx", "tflite")
    assert codec.files[second.file][0] == "device"
    wanted = create_runtime("onnx").load(codec.files[first.file][1], {})
    given = create_runtime(package).load(codec.files[second.file][1], {})
    for sample in _samples(3):
        for level in range(len(codec.entry.levels)):
            for a, b in zip(given.run([*sample, np.array(level)]), wanted.run([*sample, np.array(level)]), strict=True):
                assert a.dtype == b.dtype
                assert np.mean(a != b) < 1e-3


@pytest.fixture
def work_folder(tmp_path_factory: pytest.TempPathFactory) -> WorkFolder:
    return WorkFolder(tmp_path_factory.mktemp("work"))


def test_a_basis_of_single_channels(work_folder: WorkFolder) -> None:
    spec = TensorSpec("vector", (1, 50), "float32")
    rng = np.random.default_rng(0)
    samples = [(rng.normal(0, rng.uniform(1, 3, spec.shape)).astype(np.float32),) for _ in range(20)]
    codec = add_tflite(fit_klt(Boundary(1, (spec,), "cut"), samples), samples[0], work_folder)
    assert any(node.op_type == "Gather" and node.input[1].endswith("source") for node in _encoder(codec).graph.node)
    assert [file.format for file in codec.entry.encoder] == ["onnx", "tflite"]


def _encoder(codec: FittedCodec) -> onnx.ModelProto:
    return onnx.load_from_string(codec.files[codec.entry.encoder[0].file][1])


def test_a_file_is_converted_once(work_folder: WorkFolder) -> None:
    codec = FITS["affine"]()
    made = add_tflite(codec, _samples(1)[0], work_folder)
    assert add_tflite(codec, _samples(1)[0], work_folder) == made
    assert work_folder.reused == 1


def test_codecs_without_encoder_stay_as_they_are(work_folder: WorkFolder) -> None:
    codec = raw_codec(HERE)
    assert add_tflite(codec, (), work_folder) is codec


def test_widths_are_left_to_onnx(work_folder: WorkFolder) -> None:
    with pytest.raises(CalibrationError, match="'LessOrEqual' cannot become"):
        add_tflite(_trained(SLIMMABLE), _samples(1)[0], work_folder)


def test_a_file_that_computes_something_else_is_refused(
    work_folder: WorkFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = FITS["affine"]()
    narrow = fit_affine(HERE, _samples(2)).files[codec.entry.encoder[0].file][1]
    other = convert_codec(onnx.load_model_from_string(narrow))
    monkeypatch.setattr("cutpoint.calibration.codecs.litert.convert_codec", lambda graph: other)
    with pytest.raises(CalibrationError, match="codec 1-affine does not give the symbols"):
        add_tflite(codec, _samples(1)[0], work_folder)


def test_a_device_with_litert_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("bundle")
    onnx.save(residual_net(), str(folder / "net.onnx"))
    settings = Settings(
        str(folder / "net.onnx"),
        picture_folder(folder / "data", 20, classes=5),
        folder / "net.cutpoint",
        calibration_samples=8,
        samples=4,
        codecs=("raw", "affine", "klt"),
        precisions=("fp32",),
        runtimes=("onnx", "tflite"),
        cuts=("r3",),
        keep_all=True,
    )
    run_calibration(settings, SilentReporter())
    bundle = Bundle.open(settings.out)
    graphs = BundleGraphs(bundle.part("device"), [create_runtime("litert")])
    head, tail = Head(graphs), Tail(BundleGraphs(bundle.part("server"), [create_runtime("onnx")]))
    other = Head(BundleGraphs(bundle.part("device"), [create_runtime("onnx")]))
    picture = head.prepare(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))
    for point in bundle.points:
        if point.start == 1:
            assert graphs.supports(point)
            sent, wanted = head.run(point, picture).payload, other.run(point, picture).payload
            assert sent is not None
            assert wanted is not None
            answers = [tail.run(point, payload).outputs[0] for payload in (sent, wanted)]
            np.testing.assert_allclose(answers[0], answers[1], atol=0.05 * float(np.abs(answers[1]).max()))
