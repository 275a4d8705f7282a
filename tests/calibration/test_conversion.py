from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tests.support.networks import SIDE, Network, inspect, residual_net

from cutpoint.calibration.conversion import head_converter
from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.importers import ImportedModel
from cutpoint.calibration.progress import SilentReporter
from cutpoint.calibration.settings import Settings
from cutpoint.calibration.work import WorkFolder
from cutpoint.sdk.bundle import Boundary

pytest.importorskip("litert_torch", reason="litert-torch is not installed: pip install 'cutpoint[tflite]'")


def _converter(tmp_path: Path, graph: ModelGraph, origin: str, reporter: SilentReporter, **changes: Any) -> Any:
    fields: Mapping[str, Any] = changes
    settings = Settings("net.onnx", tmp_path, tmp_path / "out", **fields)
    imported = ImportedModel("net", graph.model, graph.inputs, origin, lambda tensors: [])
    samples = [(np.zeros((1, 3, SIDE, SIDE), np.float32),)]
    return head_converter(settings, imported, samples, None, WorkFolder(tmp_path / "work"), reporter)


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
    end = Boundary(1, graph.outputs)
    assert _converter(tmp_path, graph, "torch", reporter)(graph.model, end) is None
    assert "cannot become a .tflite file" in reporter.notes[0]
    with pytest.raises(CalibrationError, match="--runtimes onnx"):
        _converter(tmp_path, graph, "onnx", reporter, runtimes=("onnx", "tflite"))(graph.model, end)
