"""Layers that stay floats where all of the model in int8 would lose too much.

Few layers do most of the harm: those whose outputs span ranges that 256 steps cannot tell apart. Each layer is
quantised alone, and how far the model's outputs move ranks it. Of the worst layers as few stay floats as the metric
asks for. Whatever stays, the ranges of all tensors are those of the whole int8 model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import numpy as np
import onnx

from cutpoint.calibration.graphs.graph import ModelGraph
from cutpoint.calibration.graphs.int8_report import Int8Report
from cutpoint.calibration.graphs.precision import Quantiser
from cutpoint.calibration.progress import Reporter
from cutpoint.codecs import Array
from cutpoint.sdk.runtimes import create_runtime

__all__ = ["RANKING", "Layer", "fewest", "fewest_floats", "find_layers", "moved", "quantise_within"]

#: Samples that layers are ranked by.
RANKING = 6
#: Runs that a time is the median of.
_RUNS = 9


@dataclass(frozen=True)
class Layer:
    """A product with weights or of activations, and what follows it up to the next ones.

    Attributes:
        name: of the product's output.
        nodes: names of all its nodes.
    """

    name: str
    nodes: frozenset[str]


def find_layers(graph: ModelGraph) -> tuple[Layer, ...]:
    """The layers of a model, in the order of the graph. What comes before the first product belongs to that."""
    products: list[str] = []
    nodes: list[list[str]] = []
    layer_of: dict[str, int] = {}
    for node, macs in zip(graph.model.graph.node, graph.macs, strict=True):
        number = max((layer_of.get(name, 0) for name in node.input), default=0)
        if macs:
            number = len(products)
            products.append(node.output[0])
        if number >= len(nodes):
            nodes.append([])
        nodes[number].append(node.name)
        layer_of |= dict.fromkeys(node.output, number)
    return tuple(Layer(name, frozenset(members)) for name, members in zip(products, nodes, strict=False))


def moved(wanted: Sequence[Sequence[Array]], given: Sequence[Sequence[Array]]) -> float:
    """How far outputs lie from those that are wanted: squared error as a share of the variance, the mean over outputs.

    The columns of a table (1, rows, columns) are quantities of different kinds, such as the sides of boxes and the
    scores of classes: each counts by its own variance, or by the median one where it hardly varies.

    Args:
        wanted: outputs for each sample.
        given: the same, of a graph that has lost precision.
    """
    shares = []
    for references, values in zip(zip(*wanted, strict=True), zip(*given, strict=True), strict=True):
        columns = references[0].shape[-1] if references[0].ndim == 3 else 1
        reference, value = (np.concatenate([a.reshape(-1, columns) for a in arrays]) for arrays in (references, values))
        variance = reference.var(axis=0, dtype=np.float64)
        error = np.square(value.astype(np.float64) - reference).mean(axis=0)
        shares.append(np.mean(error / np.maximum(np.maximum(variance, np.median(variance)), 1e-30)))
    return float(np.mean(shares))


def fewest(most: int, enough: Callable[[int], bool]) -> int:
    """The least number from 1 to `most` that is enough, where more never does worse; `most` if none below it is."""
    low, high = 0, 1
    while high < most and not enough(high):
        low, high = high, 2 * high
    high = min(high, most)
    while high - low > 1:
        middle = (low + high) // 2
        if enough(middle):
            high = middle
        else:
            low = middle
    return high


def fewest_floats(
    layers: Sequence[Layer],
    harm: Callable[[Layer], float],
    enough: Callable[[Sequence[Layer]], bool],
    reporter: Reporter,
) -> tuple[Layer, ...]:
    """The layers that stay floats, in the order of `layers`: as few of the worst as are enough.

    Args:
        layers: of the model.
        harm: what a layer does to the outputs that alone is int8.
        enough: whether the model is good enough with these in floats.
        reporter: hears what is done.

    Returns:
        None of them if nothing less than all layers in floats would be enough.
    """
    harms = []
    with reporter.stage("looking for layers that int8 harms", len(layers)) as advance:
        for layer in layers:
            harms.append(harm(layer))
            advance()
    worst = [layers[number] for number in np.argsort(-np.array(harms), kind="stable")]
    count = fewest(len(layers), lambda count: enough(worst[:count]))
    chosen = {layer.name for layer in worst[:count]} if count < len(layers) else frozenset()
    return tuple(layer for layer in layers if layer.name in chosen)


def quantise_within(
    graph: ModelGraph,
    samples: Sequence[Sequence[Array]],
    metric: Callable[[onnx.ModelProto], float],
    least: float,
    reporter: Reporter,
) -> tuple[onnx.ModelProto, Int8Report]:
    """The int8 model with as few layers in floats as it takes.

    Args:
        graph: the fp32 model.
        samples: calibration inputs, each the tensors of boundary 0.
        metric: of the task, that a graph of the whole model reaches.
        least: metric that is asked for.
        reporter: hears what is done.

    Returns:
        The model, and what it took. If all layers together would have to stay floats, the model is all int8.

    Raises:
        CalibrationError: if onnxruntime cannot quantise the model.
    """
    with (
        reporter.stage("quantising to int8", len(samples)) as advance,
        Quantiser(graph, samples, advance) as quantiser,
    ):
        whole = quantiser()
        reached = metric(whole)
        milliseconds, size = _milliseconds(whole, samples[0]), whole.ByteSize()
        layers = find_layers(graph)
        report = Int8Report(reached, milliseconds, size, (), reached, milliseconds, size, len(layers))
        if reached >= least or not layers:
            return whole, report
        ranking = samples[:RANKING]
        wanted = _answers(graph.model, ranking)
        everything = _nodes(layers)
        floats = fewest_floats(
            layers,
            lambda layer: moved(wanted, _answers(quantiser(everything - layer.nodes), ranking)),
            lambda floats: metric(quantiser(_nodes(floats))) >= least,
            reporter,
        )
        if not floats:
            return whole, report
        model = quantiser(_nodes(floats))
    return model, Int8Report(
        reached,
        milliseconds,
        size,
        tuple(layer.name for layer in floats),
        metric(model),
        _milliseconds(model, samples[0]),
        model.ByteSize(),
        len(layers),
    )


def _nodes(layers: Sequence[Layer]) -> frozenset[str]:
    return frozenset(name for layer in layers for name in layer.nodes)


def _answers(model: onnx.ModelProto, samples: Sequence[Sequence[Array]]) -> list[tuple[Array, ...]]:
    session = create_runtime("onnx").load(model.SerializeToString(), {})
    return [session.run(sample) for sample in samples]


def _milliseconds(model: onnx.ModelProto, sample: Sequence[Array]) -> float:
    session = create_runtime("onnx").load(model.SerializeToString(), {})
    session.run(sample)
    times = []
    for _ in range(_RUNS):
        started = perf_counter()
        session.run(sample)
        times.append((perf_counter() - started) * 1e3)
    return round(median(times), 4)
