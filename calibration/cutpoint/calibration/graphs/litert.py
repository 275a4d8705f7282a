"""`.tflite` heads: an ONNX span through torch into LiteRT. No TensorFlow is needed."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.graph import run_model
from cutpoint.calibration.graphs.normalise import normalisation
from cutpoint.calibration.graphs.simplify import fix_batch, simplify
from cutpoint.codecs import Array, CutpointError
from cutpoint.sdk.bundle import Preprocessing
from cutpoint.sdk.runtimes import create_runtime

__all__ = ["check_same", "convert_head", "convert_span", "plain_reshapes", "quiet", "to_tflite"]

#: Largest difference to the ONNX head that float arithmetic explains, as a share of the largest value.
_TOLERANCE = 1e-3


def convert_head(
    span: onnx.ModelProto, program: Any, names: Sequence[str], preprocessing: Preprocessing | None
) -> bytes:
    """A head as a `.tflite` file: from the torch program it was exported from, or else from the ONNX span.

    Args:
        span: the head.
        program: a `torch.export.ExportedProgram` whose node names are the span's tensor names; None for models that
            were not torch.
        names: tensors that the head gives.
        preprocessing: of boundary 0; None where it is the model's own input.

    Raises:
        CalibrationError: if a layer of the head has no counterpart; names it.
    """
    if program is not None:
        module = _cut_program(program, names, preprocessing)
        if module is not None:
            return to_tflite(module, span)
    return convert_span(span)


def convert_span(span: onnx.ModelProto) -> bytes:
    """A `.tflite` file that computes what `span` does, at batch 1, with the same tensors in the same layouts.

    Raises:
        CalibrationError: if a layer of the span has no counterpart; names it.
    """
    span = simplify(fix_batch(span))
    plain_reshapes(span)
    with quiet():
        import onnx2torch

        try:
            module = onnx2torch.convert(span).eval()
        except Exception as error:  # The converter raises whatever its parts raise.
            raise _refusal(span, error) from error
    return to_tflite(module, span)


def check_same(tflite: bytes, span: onnx.ModelProto, sample: Sequence[Array], tolerance: float = _TOLERANCE) -> None:
    """Runs both on one sample of boundary 0.

    Args:
        tflite: the file.
        span: what it shall compute.
        sample: of boundary 0.
        tolerance: largest difference, as a share of the largest value.

    Raises:
        CalibrationError: if they differ by more, or the file does not run.
    """
    inputs = [value.name for value in span.graph.input]
    wanted = run_model(span, dict(zip(inputs, sample, strict=True)))
    try:
        given = create_runtime("litert").load(tflite, {}).run(sample)
    except CutpointError as error:
        raise CalibrationError(f"the .tflite file of a head does not run: {error}; use --runtimes onnx") from error
    for a, b, value in zip(given, wanted, span.graph.output, strict=True):
        scale = float(np.abs(b).max()) or 1.0
        if a.shape != b.shape or float(np.abs(a.astype(np.float64) - b).max()) > tolerance * scale:
            raise CalibrationError(
                f"the .tflite file of the head up to {value.name} does not compute what the ONNX file does; "
                "use --runtimes onnx"
            )


def to_tflite(module: Any, span: onnx.ModelProto) -> bytes:
    """A torch module as a `.tflite` file.

    Args:
        module: computes what `span` does.
        span: says what goes in, and what the file is called in errors.

    Raises:
        CalibrationError: if the converter refuses it.
    """
    import torch

    examples = []
    for value in span.graph.input:
        kind = value.type.tensor_type
        shape = [dim.dim_value or 1 for dim in kind.shape.dim]
        examples.append(torch.from_numpy(np.zeros(shape, helper.tensor_dtype_to_np_dtype(kind.elem_type))))
    with quiet(), tempfile.TemporaryDirectory(prefix="cutpoint-") as folder:
        import litert_torch

        path = Path(folder) / "span.tflite"
        try:
            litert_torch.convert(module, tuple(examples)).export(str(path))
        except Exception as error:  # The converter raises whatever its parts raise.
            raise _refusal(span, error) from error
        return path.read_bytes()


def _refusal(span: onnx.ModelProto, error: Exception) -> CalibrationError:
    reason = (str(error).strip().splitlines() or ["no message"])[0]
    return CalibrationError(
        f"the graph up to {', '.join(value.name for value in span.graph.output)} cannot become a .tflite file: "
        f"{type(error).__name__}: {reason[:300]}; use --runtimes onnx"
    )


def _cut_program(program: Any, names: Sequence[str], preprocessing: Preprocessing | None) -> Any:
    """A torch module that computes the tensors `names` from boundary 0; None if the program does not know a name.

    Going through the torch program keeps its own operators, which the LiteRT converter knows best.
    """
    import torch

    inner = copy.deepcopy(program.module())
    graph = inner.graph
    nodes = {node.name: node for node in graph.nodes}
    (output,) = (node for node in graph.nodes if node.op == "output")
    if not all(name in nodes for name in names):
        return None
    graph.erase_node(output)
    graph.output(tuple(nodes[name] for name in names))
    graph.set_codegen(torch.fx.graph.CodeGen())
    graph.eliminate_dead_code()
    inner.recompile()

    class Head(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner
            if preprocessing is not None:
                gain, shift = (torch.tensor(v, dtype=torch.float32) for v in normalisation(preprocessing))
                self.gain = torch.nn.Buffer(gain.reshape(1, 3, 1, 1))
                self.shift = torch.nn.Buffer(shift.reshape(1, 3, 1, 1))

        def forward(self, *tensors: torch.Tensor) -> Any:
            if preprocessing is not None:
                pixels = tensors[0].permute(0, 3, 1, 2)
                if preprocessing.channels == "bgr":
                    pixels = pixels[:, [2, 1, 0]]
                tensors = (pixels.float() * self.gain + self.shift,)
            outputs = self.inner(*tensors)
            return outputs[0] if len(outputs) == 1 else outputs

    head = Head()
    for module in head.modules():  # An exported program refuses eval(), though it has nothing left that it changes.
        module.training = False
    return head


def plain_reshapes(span: onnx.ModelProto) -> None:
    """Drops `allowzero`, which onnx2torch does not read, where no side is 0 and it changes nothing."""
    constants = {value.name: value for value in span.graph.initializer}
    for node in span.graph.node:
        shape = constants.get(node.input[1]) if node.op_type == "Reshape" else None
        if shape is not None and numpy_helper.to_array(shape).all():
            kept = [attribute for attribute in node.attribute if attribute.name != "allowzero"]
            del node.attribute[:]
            node.attribute.extend(kept)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what the converters print and log, from C++ too: errors come as exceptions."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    saved = os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)
        logging.disable(before)
