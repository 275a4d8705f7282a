"""`.tflite` heads: an ONNX span through torch into LiteRT. No TensorFlow is needed."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.simplify import fix_batch, simplify

__all__ = ["convert_span"]


def convert_span(span: onnx.ModelProto) -> bytes:
    """A `.tflite` file that computes what `span` does, at batch 1, with the same tensors in the same layouts.

    Raises:
        CalibrationError: if a layer of the span has no counterpart; names it.
    """
    import litert_torch
    import onnx2torch
    import torch

    span = simplify(fix_batch(span))
    _plain_reshapes(span)
    examples = []
    for value in span.graph.input:
        kind = value.type.tensor_type
        shape = [dim.dim_value for dim in kind.shape.dim]
        examples.append(torch.from_numpy(np.zeros(shape, helper.tensor_dtype_to_np_dtype(kind.elem_type))))
    with _quiet(), tempfile.TemporaryDirectory(prefix="cutpoint-") as folder:
        try:
            module = onnx2torch.convert(span).eval()
            path = Path(folder) / "span.tflite"
            litert_torch.convert(module, tuple(examples)).export(str(path))
        except Exception as error:  # Both converters raise whatever their parts raise.
            reason = (str(error).strip().splitlines() or ["no message"])[0]
            raise CalibrationError(
                f"the head up to {', '.join(value.name for value in span.graph.output)} cannot become a .tflite file: "
                f"{type(error).__name__}: {reason[:300]}; use --runtimes onnx"
            ) from error
        return path.read_bytes()


def _plain_reshapes(span: onnx.ModelProto) -> None:
    """Drops `allowzero`, which onnx2torch does not read, where no side is 0 and it changes nothing."""
    constants = {value.name: value for value in span.graph.initializer}
    for node in span.graph.node:
        if node.op_type == "Reshape" and node.input[1] in constants:
            if numpy_helper.to_array(constants[node.input[1]]).all():
                kept = [attribute for attribute in node.attribute if attribute.name != "allowzero"]
                del node.attribute[:]
                node.attribute.extend(kept)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
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
