"""`.tflite` heads at fewer bits: static int8 with layers in floats where they must, and fp16 weights.

LiteRT's int8 is its own: the ranges are those of the same calibration samples, but kernels round differently from
onnxruntime's, and what was folded into what differs as well. So which layers stay floats is found out here anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import Any

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.fallback import RANKING, Layer, fewest_floats, moved
from cutpoint.calibration.graphs.litert import quiet
from cutpoint.calibration.progress import Reporter
from cutpoint.codecs import Array
from cutpoint.sdk.runtimes import create_runtime

__all__ = ["LitertQuantiser", "choose_floats", "halve_tflite"]

_PRODUCTS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL"})
#: In a network with attention only products with weights become int8, as for onnxruntime.
_ATTENTION = "SOFTMAX"


class LitertQuantiser:
    """Makes int8 files of a `.tflite` graph: 8-bit activations, 8-bit weights per channel.

    What goes in and comes out stays what it is. What no product follows stays in floats, too: one scale for outputs of
    different kinds would drown the small ones.

    Args:
        graph: the fp32 file.
        samples: calibration inputs, each the tensors of boundary 0.

    Attributes:
        layers: each a product and what follows it; the name is that of its weights, which is the same in every head
            that has the layer, and the nodes are the output tensors of its operators.
    """

    def __init__(self, graph: bytes, samples: Sequence[Sequence[Array]]) -> None:
        self._graph = graph
        self._samples = samples
        self.layers, self._fixed = _read_layers(graph)

    def __call__(self, floats: Collection[str] = ()) -> bytes:
        """The int8 file, with the layers named in `floats` as they are. Names of other layers are passed over.

        Raises:
            CalibrationError: if the quantiser cannot work with the graph.
        """
        kept = self._fixed.union(*(layer.nodes for layer in self.layers if layer.name in floats))
        with quiet():
            from ai_edge_quantizer import algorithm_manager, qtyping, quantizer, recipe

            never = algorithm_manager.AlgorithmName.NO_QUANTIZE
            operators = qtyping.TFLOperationName
            try:
                made = quantizer.Quantizer(self._graph, recipe.static_wi8_ai8())
                for end in (operators.INPUT, operators.OUTPUT):
                    made.update_quantization_recipe(".*", end, algorithm_key=never)
                for name in sorted(kept):  # An operator's scope is the names of its outputs, each with a semicolon.
                    made.update_quantization_recipe(
                        f"^{re.escape(name)};", operators.ALL_SUPPORTED, algorithm_key=never
                    )
                result = made.quantize(self._ranges, enable_progress_bar=False, enable_progress_report=False)
            except Exception as error:  # The quantiser raises whatever its parts raise.
                raise _refusal("int8", error) from error
        return bytes(result.quantized_model)

    @cached_property
    def _ranges(self) -> Any:
        """The least and the largest value of each tensor over all samples."""
        from ai_edge_quantizer import calibrator, recipe_manager
        from ai_edge_quantizer.utils import qsv_utils

        names = create_runtime("litert").load(self._graph, {}).input_names
        # The profiler's ranges are those of all tensors, in a fifth of the time that looking at each one takes.
        mode = calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED
        found = calibrator.Calibrator(self._graph, 1, mode, qsv_utils.min_max_update)
        key = next(iter(found.get_signature_list()))
        data = {key: [dict(zip(names, sample, strict=True)) for sample in self._samples]}
        found.calibrate(data, recipe_manager.RecipeManager())
        return found.get_model_qsvs()


def choose_floats(
    quantiser: LitertQuantiser,
    graph: bytes,
    samples: Sequence[Sequence[Array]],
    enough: Callable[[bytes], bool],
    reporter: Reporter,
) -> tuple[str, ...]:
    """Names of the layers that stay floats, for int8 to be good enough; none where it is, or nothing helps.

    Args:
        quantiser: of the whole model.
        graph: the whole model's fp32 file.
        samples: calibration inputs.
        enough: whether an int8 file of the whole model is good enough.
        reporter: hears what is done.
    """
    with reporter.stage("quantising for LiteRT", 1) as advance:
        fine = enough(quantiser())
        advance()
    if fine or not quantiser.layers:
        return ()
    ranking = samples[:RANKING]
    wanted = _answers(graph, ranking)
    names = [layer.name for layer in quantiser.layers]

    def harm(layer: Layer) -> float:
        alone = quantiser([name for name in names if name != layer.name])
        return moved(wanted, _answers(alone, ranking))

    floats = fewest_floats(
        quantiser.layers,
        harm,
        lambda floats: enough(quantiser([layer.name for layer in floats])),
        reporter,
    )
    return tuple(layer.name for layer in floats)


def halve_tflite(graph: bytes) -> bytes:
    """A `.tflite` file whose weights are fp16, and are widened as it is loaded.

    Raises:
        CalibrationError: if the quantiser cannot work with the graph.
    """
    with quiet():
        from ai_edge_quantizer import algorithm_manager, qtyping, quantizer

        half = qtyping.OpQuantizationConfig(
            weight_tensor_config=qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT),
            compute_precision=qtyping.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        )
        try:
            made = quantizer.Quantizer(graph)
            cast = algorithm_manager.AlgorithmName.FLOAT_CASTING
            made.update_quantization_recipe(".*", qtyping.TFLOperationName.ALL_SUPPORTED, half, cast)
            result = made.quantize(enable_progress_bar=False, enable_progress_report=False)
        except Exception as error:  # The quantiser raises whatever its parts raise.
            raise _refusal("fp16", error) from error
    return bytes(result.quantized_model)


def _refusal(precision: str, error: Exception) -> CalibrationError:
    reason = (str(error).strip().splitlines() or ["no message"])[0]
    return CalibrationError(
        f"a .tflite file cannot become {precision}: {type(error).__name__}: {reason[:300]}; use --runtimes onnx"
    )


def _read_layers(graph: bytes) -> tuple[tuple[Layer, ...], frozenset[str]]:
    """The layers of a `.tflite` graph, and the output tensors of the operators that never become int8."""
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(graph))
    (subgraph, *_) = model.subgraphs
    operators = [
        (
            flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex),
            [number for number in operator.inputs if number >= 0],
            list(operator.outputs),
        )
        for operator in subgraph.operators
    ]
    names = [tensor.name.decode() for tensor in subgraph.tensors]
    constant = {number for number, tensor in enumerate(subgraph.tensors) if _has_data(model, tensor)}
    attention = any(kind == _ATTENTION for kind, _, _ in operators)

    fixed: set[str] = set()
    leads: set[int] = set()
    for kind, inputs, outputs in reversed(operators):
        if kind in _PRODUCTS or leads.intersection(outputs):
            leads.update(inputs)
        else:
            fixed.update(names[number] for number in outputs)
        if attention and not (kind in _PRODUCTS and constant.intersection(inputs)):
            fixed.update(names[number] for number in outputs)

    titles: list[str] = []
    nodes: list[set[str]] = []
    layer_of: dict[int, int] = {}
    for kind, inputs, outputs in operators:
        layer = max((layer_of.get(number, 0) for number in inputs), default=0)
        if kind in _PRODUCTS:
            layer = len(titles)
            weights = [number for number in inputs if number in constant]
            titles.append(names[weights[0] if weights else outputs[0]])
        if layer >= len(nodes):
            nodes.append(set())
        nodes[layer].update(names[number] for number in outputs)
        layer_of |= dict.fromkeys(outputs, layer)
    layers = zip(titles, nodes, strict=False)
    return tuple(Layer(title, frozenset(members)) for title, members in layers), frozenset(fixed)


def _has_data(model: Any, tensor: Any) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _answers(graph: bytes, samples: Sequence[Sequence[Array]]) -> list[tuple[Array, ...]]:
    session = create_runtime("litert").load(graph, {})
    return [session.run(sample) for sample in samples]
