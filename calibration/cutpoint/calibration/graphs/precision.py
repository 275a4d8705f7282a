"""int8: the whole model quantised statically, per channel, from calibration pictures."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.graphs.normalise import is_normalisation
from cutpoint.codecs import Array

__all__ = ["Quantiser"]

#: In a network with attention only the products with weights become int8. Softmax and the normalisations need the
#: range of floats, and what lies between them gains nothing from going back and forth.
_ATTENTION = frozenset({"Softmax", "LayerNormalization", "Attention", "MultiHeadAttention"})
_PRODUCTS = ("Conv", "Gemm", "MatMul")


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Feeds calibration tensors to the quantiser, and counts them for the progress bar."""

    def __init__(self, names: Sequence[str], samples: Sequence[Sequence[Array]], advance: Callable[[], None]) -> None:
        self._names = tuple(names)
        self._advance = advance
        self._samples: Iterator[Sequence[Array]] = iter(samples)

    def get_next(self) -> dict[str, Array] | None:
        sample = next(self._samples, None)
        if sample is None:
            return None
        self._advance()
        return dict(zip(self._names, sample, strict=True))


class Quantiser:
    """Makes a model's int8 graphs: 8-bit weights and activations, as quantise–dequantise pairs (QDQ) around operators.

    What the activations range over is found out once, so that layers which one graph keeps in floats change nothing
    for the others. A context: it holds a folder while it is open.

    Args:
        graph: the fp32 model.
        samples: calibration inputs, each the tensors of boundary 0.
        advance: called for each sample.
    """

    def __init__(
        self, graph: ModelGraph, samples: Sequence[Sequence[Array]], advance: Callable[[], None] = lambda: None
    ) -> None:
        operators = {node.op_type for node in graph.model.graph.node}
        attention = bool(operators & _ATTENTION)
        self._graph = graph
        self._operators = [name for name in _PRODUCTS if name in operators] if attention else None
        self._excluded = {
            node.name
            for node in graph.model.graph.node
            if is_normalisation(node) or (attention and _without_weights(graph, node))
        } | set(_behind_last_product(graph))
        self._reader = _Reader([spec.name for spec in graph.inputs], samples, advance)

    def __enter__(self) -> Quantiser:
        self._folder = tempfile.TemporaryDirectory(prefix="cutpoint-")
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def __call__(self, floats: Collection[str] = ()) -> onnx.ModelProto:
        """The model, with the nodes named in `floats` as they are.

        Raises:
            CalibrationError: if onnxruntime cannot quantise the model.
        """
        model = onnx.ModelProto()
        model.CopyFrom(self._graph.model)
        path = Path(self._folder.name) / "int8.onnx"
        logger = logging.getLogger()
        level = logger.level
        logger.setLevel(logging.ERROR)  # It recommends a separate pre-processing step, which `simplify` was.
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # The quantiser's own deprecations are not the user's business.
                quantize_static(
                    model,
                    path,
                    self._reader,
                    quant_format=QuantFormat.QDQ,
                    op_types_to_quantize=self._operators,
                    nodes_to_exclude=sorted(self._excluded | set(floats)),
                    per_channel=True,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                    calibrate_method=CalibrationMethod.MinMax,
                    extra_options={"QuantizeBias": True},
                    calibration_cache_path=Path(self._folder.name) / "ranges.json",
                )
        except Exception as error:  # The quantiser raises whatever its parts raise.
            raise CalibrationError(
                f"the model cannot be quantised to int8: {type(error).__name__}: {error}; use --precisions fp32"
            ) from error
        finally:
            logger.setLevel(level)
        return onnx.load(str(path))


def _behind_last_product(graph: ModelGraph) -> list[str]:
    """Names of the nodes that no product follows, such as those that join boxes and scores of a detector.

    There is little to compute there, and one common scale for outputs of different kinds would drown the small ones.
    """
    nodes = graph.model.graph.node
    leads: set[str] = set()
    names = []
    for node, macs in zip(reversed(nodes), reversed(graph.macs), strict=True):
        if macs or leads.intersection(node.output):
            leads.update(node.input)
        else:
            names.append(node.name)
    return names


def _without_weights(graph: ModelGraph, node: onnx.NodeProto) -> bool:
    """Whether `node` multiplies two activations, as attention does."""
    return node.op_type == "MatMul" and all(name in graph.activations for name in node.input)
