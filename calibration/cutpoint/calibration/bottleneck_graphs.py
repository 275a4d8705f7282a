"""The graph halves of the `bottleneck` codec, from the trained module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from cutpoint.calibration.bottleneck_net import PlaneNet
from cutpoint.calibration.codec_graphs import GraphBuilder
from cutpoint.calibration.klt_graphs import PlaneHalf, join_parts
from cutpoint.calibration.plane_code import PlaneCode
from cutpoint.codecs import TensorSpec

__all__ = ["build_bottleneck"]


def build_bottleneck(
    specs: Sequence[TensorSpec],
    planes: Sequence[Sequence[int]],
    nets: Sequence[PlaneNet],
    codes: Sequence[PlaneCode],
    symbols: Sequence[TensorSpec],
) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Encoder and decoder graph of a boundary.

    Args:
        specs: the boundary's tensors.
        planes: numbers of the planes of each tensor.
        nets: the trained module of each plane.
        codes: the transform that each module started from; planes and contexts of the dead zones are taken from it.
        symbols: the symbol tensor of each plane.
    """
    encoder, decoder = GraphBuilder(), GraphBuilder()
    with torch.no_grad():
        for spec, numbers in zip(specs, planes, strict=True):
            parts = []
            for number in numbers:
                net, code, symbol = nets[number], codes[number], symbols[number]
                _Encoder(encoder, f"p{number}", net, code).build(spec, symbol)
                parts.append(_Decoder(decoder, f"p{number}", net, code).build(spec, symbol))
            join_parts(decoder, spec, parts)
    return encoder.model(specs, symbols), decoder.model(symbols, specs)


class _Half(PlaneHalf):
    """What both directions have in common."""

    def __init__(self, graph: GraphBuilder, key: str, net: PlaneNet, code: PlaneCode) -> None:
        self.net = net
        code = replace(
            code,
            analysis=net.analysis.numpy(),
            synthesis=net.synthesis.numpy(),
            offset=net.offset.numpy(),
            weight=net.log_weight.exp().numpy(),
        )
        super().__init__(graph, key, code, (), net.dead_zones.numpy())

    def gain(self, sign: int) -> str:
        """Gain of each component at this level (1), or its inverse (-1)."""
        table = self.net.log_gains.numpy() * sign
        return self.graph.row(f"{self.key}/gain", np.exp(table), (table.shape[1], 1, 1))

    def conv(
        self, value: str, layer: nn.Conv2d, name: str, weight: Tensor | None = None, bias: Tensor | None = None
    ) -> str:
        """A convolution; `weight` and `bias` take the place of the layer's own."""
        graph, name = self.graph, f"{self.key}/{name}"
        assert layer.bias is not None, "all layers have one"
        weights = graph.constant(f"{name}/weights", (layer.weight if weight is None else weight).numpy())
        biases = graph.constant(f"{name}/bias", (layer.bias if bias is None else bias).numpy())
        padding = [int(layer.padding[0])] * 4
        return graph.add("Conv", [value, weights, biases], name, pads=padding, group=layer.groups)

    def relu(self, value: str) -> str:
        return self.graph.add("Relu", [value], f"{value}/relu")

    def first(self, value: str, layer: nn.Conv2d, name: str) -> str:
        """The 1×1 in front of a network, the normalisation of its input folded into it."""
        net = self.net
        assert layer.bias is not None, "all layers have one"
        weight = layer.weight / net.channel_size[:, None, None]
        bias = layer.bias - (weight[..., 0, 0] @ net.mean)
        return self.conv(value, layer, name, weight, bias)

    def last(self, value: str, layer: nn.Conv2d, name: str, size: Tensor) -> str:
        """The 1×1 behind a network, the sizes of what it gives folded into it."""
        assert layer.bias is not None, "all layers have one"
        return self.conv(value, layer, name, layer.weight * size[:, None, None, None], layer.bias * size)


class _Encoder(_Half):
    def build(self, spec: TensorSpec, symbol: TensorSpec) -> None:
        graph, key, net = self.graph, self.key, self.net
        tensor = self.plane_of(spec)
        value = self.mix(tensor, self.code.analysis, net.analysis_bias.numpy(), f"{key}/components")
        refined = self.relu(self.first(tensor, net.refiner.reduce, "refine/reduce"))
        if net.refiner.space is not None:
            refined = self.relu(self.conv(refined, net.refiner.space, "refine/space"))
        refined = self.last(refined, net.refiner.expand, "refine/expand", net.component_size)
        value = graph.add("Add", [value, refined], f"{key}/refined")
        value = self.transform(value, inverse=False)
        value = graph.add("Sub", [value, self.spread(f"{key}/offset", self.code.offset)], f"{key}/centred")
        value = graph.add("Mul", [value, self.spread(f"{key}/weight", self.code.weight)], f"{key}/weighed")
        self.rounded(graph.add("Mul", [value, self.gain(1)], f"{key}/scaled"), symbol)


class _Decoder(_Half):
    def build(self, spec: TensorSpec, symbol: TensorSpec) -> str:
        graph, key, net = self.graph, self.key, self.net
        value = graph.add("Mul", [self.middles(symbol), self.gain(-1)], f"{key}/scaled")
        value = graph.add("Mul", [value, self.spread(f"{key}/unweight", 1 / self.code.weight)], f"{key}/unweighed")
        value = graph.add("Add", [value, self.spread(f"{key}/offset", self.code.offset)], f"{key}/coefficients")
        value = self.transform(value, inverse=True)
        linear = self.mix(value, self.code.synthesis, net.synthesis_bias.numpy(), f"{key}/linear")
        restored = self._restored(linear)
        value = graph.add("Add", [linear, restored], f"{key}/channels")
        return self.tensor_of(value, spec)

    def _restored(self, linear: str) -> str:
        graph, key, restorer = self.graph, self.key, self.net.restorer
        value = self.first(linear, restorer.reduce, "restore/reduce")
        side = (restorer.scale.shape[1], 1, 1)
        scale = graph.row(f"{key}/restore/scale", restorer.scale.numpy(), side)
        shift = graph.row(f"{key}/restore/shift", restorer.shift.numpy(), side)
        value = graph.add("Mul", [value, scale], f"{key}/restore/scaled")
        value = self.relu(graph.add("Add", [value, shift], f"{key}/restore/shifted"))
        for number, (wide, mix) in enumerate(zip(restorer.wide, restorer.mix, strict=True)):
            assert isinstance(wide, nn.Conv2d), "a block is a 3×3 …"
            assert isinstance(mix, nn.Conv2d), "… and a 1×1"
            inner = self.relu(self.conv(value, wide, f"restore/wide{number}"))
            inner = self.conv(inner, mix, f"restore/mix{number}")
            value = graph.add("Add", [value, inner], f"{key}/restore/block{number}")
        value = self.relu(value)
        return self.last(value, restorer.expand, "restore/expand", self.net.channel_size)
