"""A smaller graph that computes the same: constants folded, dead nodes gone, shapes of constants known.

onnxruntime's basic optimisations do the work. They keep to standard operators, so that every tool still reads the
result, and they run the operators' own kernels on constants, so that nothing is reimplemented here.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
import onnxruntime as ort

from cutpoint.calibration.errors import CalibrationError

__all__ = ["fix_batch", "simplify"]

#: MatMulAddFusion wraps the matrix products of transformers in reshapes, which hides their channel axis from
#: quantisation and codecs.
_DISABLED = ["MatMulAddFusion"]


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with constants folded.

    Raises:
        CalibrationError: if onnxruntime refuses the model; the message carries its reason, which names the node.
    """
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory(prefix="cutpoint-") as folder:
        path = Path(folder) / "model.onnx"
        options.optimized_model_filepath = str(path)
        try:
            ort.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"], disabled_optimizers=_DISABLED
            )
        except Exception as error:  # onnxruntime's exceptions share no base below Exception
            raise CalibrationError(f"onnxruntime refuses the model: {error}") from error
        simplified = onnx.load(str(path))
    _drop_unused_opsets(simplified)
    _name_nodes(simplified)
    _drop_remarks(simplified)
    return simplified


def fix_batch(model: onnx.ModelProto, batch: int = 1) -> onnx.ModelProto:
    """A copy of `model` whose inputs have `batch` in front."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for value in (*copy.graph.input, *copy.graph.output):
        dims = value.type.tensor_type.shape.dim
        if dims and not dims[0].dim_value:
            dims[0].dim_value = batch
    del copy.graph.value_info[:]
    return copy


def _drop_unused_opsets(model: onnx.ModelProto) -> None:
    """onnxruntime lists every domain it knows; other readers stumble over those they do not."""
    used = {node.domain if node.domain != "ai.onnx" else "" for node in model.graph.node} | {""}
    kept = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _drop_remarks(model: onnx.ModelProto) -> None:
    """Exporters leave source files and stack traces in the graph: large, and not for devices to know."""
    model.doc_string = ""
    del model.metadata_props[:]
    graph = model.graph
    graph.doc_string = ""
    del graph.metadata_props[:]
    del graph.value_info[:]
    for item in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        item.doc_string = ""
        del item.metadata_props[:]


def _name_nodes(model: onnx.ModelProto) -> None:
    """Every node gets a name of its own, because messages and quantisation refer to nodes by name."""
    taken: set[str] = set()
    for number, node in enumerate(model.graph.node):
        name = node.name or f"{node.op_type}_{number}"
        while name in taken:
            name += "_"
        taken.add(name)
        node.name = name
