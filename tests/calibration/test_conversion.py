from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tests.support.networks import SIDE, Network, inspect, residual_net

from cutpoint.calibration.conversion import Conversion, head_converter
from cutpoint.calibration.data import Samples, Source
from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.graph import ModelGraph, run_model
from cutpoint.calibration.importers import ImportedModel
from cutpoint.calibration.progress import SilentReporter
from cutpoint.calibration.settings import Settings
from cutpoint.calibration.work import WorkFolder
from cutpoint.calibration.yardstick import measure_uncut
from cutpoint.sdk.bundle import Boundary
from cutpoint.sdk.runtimes import create_runtime

pytest.importorskip("litert_torch", reason="litert-torch is not installed: pip install 'cutpoint[calibrate]'")


def _converter(
    tmp_path: Path, graph: ModelGraph, origin: str, reporter: SilentReporter, spare: bool = False, **changes: Any
) -> Any:
    fields: Mapping[str, Any] = changes
    settings = Settings("net.onnx", tmp_path, tmp_path / "out", **fields)
    imported = ImportedModel("net", graph.model, graph.inputs, origin, lambda tensors: [])
    rng = np.random.default_rng(0)
    tensors = [(rng.normal(size=(1, 3, SIDE, SIDE)).astype(np.float32),) for _ in range(6)]
    samples = Samples(tensors, [Source(Path(f"{number}.npy"), f"{number}.npy") for number in range(6)])
    yardstick = None
    if spare:
        yardstick = measure_uncut(replace(settings, task="embedding"), graph, samples, None, reporter)
    given = Conversion(imported, graph, _end(graph), tensors, None, yardstick, "key")
    return head_converter(settings, given, WorkFolder(tmp_path / "work"), reporter)


def _end(graph: ModelGraph) -> Boundary:
    return Boundary(1, graph.outputs, "output")


@pytest.mark.parametrize(
    ("origin", "runtimes", "wanted"),
    [
        ("onnx", None, False),
        ("torch", None, True),
        ("onnx", ("onnx", "tflite"), True),
        ("torch", ("onnx",), False),
    ],
)
def test_files_are_made_where_they_are_wanted(
    tmp_path: Path, origin: str, runtimes: tuple[str, ...] | None, wanted: bool
) -> None:
    found = _converter(tmp_path, inspect(residual_net(batch=False)), origin, SilentReporter(), runtimes=runtimes)
    assert (found is not None) == wanted


def _odd_net() -> onnx.ModelProto:
    """With an operator that the converter does not know."""
    net = Network()
    net.add("Det", [net.conv("x", "c1", 3, 4)], "out")
    return net.model((1, 3, SIDE, SIDE), ["out"], batch=False)


def test_what_cannot_be_converted_is_an_error_only_where_it_was_asked_for(tmp_path: Path) -> None:
    graph, reporter = inspect(_odd_net()), SilentReporter()
    assert _converter(tmp_path, graph, "torch", reporter)(_end(graph), "fp32") is None
    assert "cannot become a .tflite file" in reporter.notes[0]
    convert = _converter(tmp_path, graph, "onnx", reporter, spare=True, runtimes=("onnx", "tflite"))
    with pytest.raises(CalibrationError, match="--runtimes onnx"):
        convert(_end(graph), "fp32")
    assert convert(_end(graph), "int8") is None
    assert "no int8 .tflite file of the head up to output" in reporter.notes[-1]


def test_every_precision_computes_the_same_in_its_own_size(tmp_path: Path) -> None:
    graph, reporter = inspect(residual_net(batch=False)), SilentReporter()
    convert = _converter(tmp_path, graph, "onnx", reporter, spare=True, runtimes=("onnx", "tflite"), int8_drop=0.5)
    files = {precision: convert(_end(graph), precision) for precision in ("fp32", "fp16", "int8")}
    assert len(files["int8"]) < len(files["fp16"]) < len(files["fp32"])
    x = np.random.default_rng(1).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)
    (wanted,) = run_model(graph.model, {"x": x})
    for precision, apart in (("fp32", 1e-4), ("fp16", 0.01), ("int8", 0.2)):
        (given,) = create_runtime("litert").load(files[precision], {}).run((x,))
        assert given.dtype == np.float32
        assert np.abs(given - wanted).max() < apart * np.abs(wanted).max(), precision
    assert reporter.notes == []


def test_layers_that_stay_floats_are_noted_and_found_again(tmp_path: Path) -> None:
    graph, reporter = inspect(residual_net(batch=False)), SilentReporter()

    def make() -> bytes:
        convert = _converter(tmp_path, graph, "onnx", reporter, True, runtimes=("onnx", "tflite"), int8_drop=1e-5)
        made: bytes = convert(_end(graph), "int8")
        return made

    first = make()
    assert all("stay in floats" in note for note in reporter.notes)
    assert make() == first
