"""From an imported model to the graph that is cut: input of boundary 0 in front, batch axis decided, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import onnx

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.graph import ModelGraph, check_finite, run_model
from cutpoint.calibration.graphs.normalise import PICTURE, picture_size, prepend_normalisation
from cutpoint.calibration.graphs.simplify import fix_batch, simplify
from cutpoint.calibration.importers import ImportedModel
from cutpoint.codecs import Array, TensorSpec
from cutpoint.sdk.bundle import Preprocessing

__all__ = ["boundary0", "check_faithful", "make_preprocessing", "prepare_graph"]

#: Largest difference between graph and original model, as a share of the largest output: what reordered float
#: arithmetic explains, with room to spare.
_TOLERANCE = 1e-3


def make_preprocessing(imported: ImportedModel, fields: dict[str, Any]) -> Preprocessing:
    """The preprocessing of a model that takes pictures; height and width default to the model's.

    Raises:
        CalibrationError: if the model takes no pictures, or the fields do not hold together.
    """
    if len(imported.inputs) != 1:
        raise CalibrationError(
            f"the model has {len(imported.inputs)} inputs, pictures fill only one: give --data a folder of .npz tensors"
        )
    height, width = picture_size(imported.inputs[0].shape)
    try:
        return msgspec.convert(
            {"height": height, "width": width, **imported.preprocessing, **fields}, Preprocessing, strict=False
        )
    except msgspec.ValidationError as error:
        raise CalibrationError(f"preprocessing: {error}") from error


def boundary0(imported: ImportedModel, preprocessing: Preprocessing | None) -> tuple[TensorSpec, ...]:
    """What crosses boundary 0."""
    if preprocessing is None:
        return imported.inputs
    return (TensorSpec(PICTURE, (1, preprocessing.height, preprocessing.width, 3), "uint8"),)


def prepare_graph(imported: ImportedModel, preprocessing: Preprocessing | None) -> tuple[ModelGraph, tuple[str, ...]]:
    """The graph that is cut.

    The batch axis stays free where the model's is and two samples together give what each gives alone; otherwise it
    is 1.

    Returns:
        The graph, and the tensors in it that are the imported model's inputs.

    Raises:
        CalibrationError: if the model does not run.
    """
    model = imported.model
    if all(not value.type.tensor_type.shape.dim[0].dim_value for value in model.graph.input):
        try:
            graph, names = _build(imported, model, preprocessing, batch=True)
            if _batches(graph):
                return graph, names
        except CalibrationError:
            pass  # Something in the model wants one certain batch size.
    return _build(imported, simplify(fix_batch(model)), preprocessing, batch=False)


def _build(
    imported: ImportedModel, model: onnx.ModelProto, preprocessing: Preprocessing | None, batch: bool
) -> tuple[ModelGraph, tuple[str, ...]]:
    names = tuple(spec.name for spec in imported.inputs)
    if preprocessing is not None:
        model, name = prepend_normalisation(model, imported.inputs[0].shape, preprocessing, batch)
        names = (name,)
    return ModelGraph.inspect(model, boundary0(imported, preprocessing)), names


def _batches(graph: ModelGraph) -> bool:
    rng = np.random.default_rng(1)
    feeds = {s.name: rng.integers(0, 200, (2, *s.shape[1:])).astype(s.dtype) for s in graph.inputs}
    together = run_model(graph.model, feeds)
    for row in range(2):
        alone = run_model(graph.model, {name: value[row : row + 1] for name, value in feeds.items()})
        if not all(_close(a, b[row : row + 1]) for a, b in zip(alone, together, strict=True)):
            return False
    return True


def _close(given: Array, wanted: Array) -> bool:
    if given.shape != wanted.shape:
        return False
    if not given.size:
        return True
    scale = float(np.abs(wanted).max()) or 1.0
    return float(np.abs(given.astype(np.float64) - wanted).max()) <= _TOLERANCE * scale


def check_faithful(
    imported: ImportedModel, graph: ModelGraph, names: Sequence[str], samples: Sequence[Sequence[Array]]
) -> None:
    """Compares the graph with the model as it was before import, on samples of boundary 0.

    Raises:
        CalibrationError: if an output is not finite, or differs by more than float arithmetic explains.
    """
    outputs = [spec.name for spec in graph.outputs]
    for sample in samples:
        feeds = {spec.name: tensor for spec, tensor in zip(graph.inputs, sample, strict=True)}
        inner = [name for name in names if name not in feeds]
        values = dict(zip([*outputs, *inner], run_model(graph.model, feeds, [*outputs, *inner]), strict=True)) | feeds
        wanted = imported.reference([values[name] for name in names])
        check_finite(graph.outputs, wanted, "a calibration sample")
        for name, value in zip(outputs, wanted, strict=True):
            if not _close(values[name], value):
                raise CalibrationError(
                    f"the exported graph does not compute what the model does: output {name!r} differs on a "
                    "calibration sample; check that the model is in evaluation mode and has no random layers"
                )
