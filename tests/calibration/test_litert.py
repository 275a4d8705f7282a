from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.support.networks import SIDE, residual_net

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.graphs.litert import check_same, convert_head, convert_span
from cutpoint.calibration.graphs.prepare import make_preprocessing, prepare_graph
from cutpoint.calibration.graphs.spans import extract_span
from cutpoint.calibration.importers import ImportedModel, import_model
from cutpoint.sdk.bundle import Preprocessing

for package in ("litert_torch", "onnx2torch", "ai_edge_litert"):
    pytest.importorskip(package)

MODEL = """
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2), nn.GELU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    )
"""


def _picture() -> tuple[np.ndarray, ...]:  # type: ignore[type-arg]
    return (np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8),)


def _head(imported: ImportedModel, tensor: str) -> tuple[ModelGraph, Preprocessing, onnx.ModelProto]:
    how = make_preprocessing(imported, {"mean": [0.4, 0.5, 0.6], "channels": "bgr"})
    graph, _ = prepare_graph(imported, how)
    return graph, how, extract_span(graph.model, graph.inputs, [graph.specs[tensor]], graph.batch)


def test_a_torch_head_goes_through_its_own_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.py").write_text(MODEL)
    imported = import_model(f"{tmp_path}/net.py:net", (1, 3, SIDE, SIDE))
    _, how, span = _head(imported, "relu")
    monkeypatch.setattr("cutpoint.calibration.graphs.litert.convert_span", None)
    check_same(convert_head(span, imported.program, ["relu"], how), span, _picture())


def test_an_onnx_head_goes_through_its_graph(tmp_path: Path) -> None:
    onnx.save(residual_net(), str(tmp_path / "net.onnx"))
    imported = import_model(str(tmp_path / "net.onnx"))
    _, how, span = _head(imported, "r3")
    made = convert_head(span, imported.program, ["r3"], how)
    check_same(made, span, _picture())
    _, _, other = _head(imported, "r1")
    with pytest.raises(CalibrationError, match="does not compute"):
        check_same(made, other, _picture())
    with pytest.raises(CalibrationError, match="does not run"):
        check_same(made[:100], span, _picture())


def test_a_layer_without_counterpart_is_named(tmp_path: Path) -> None:
    onnx.save(residual_net(), str(tmp_path / "net.onnx"))
    _, _, span = _head(import_model(str(tmp_path / "net.onnx")), "r3")
    for node in span.graph.node:
        if node.op_type == "Relu":
            node.op_type = "ThresholdedRelu"
    with pytest.raises(CalibrationError, match=r"\.tflite file.*ThresholdedRelu"):
        convert_span(span)
