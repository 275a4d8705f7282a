"""The graph halves of a trained codec, from its module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from cutpoint.calibration.codecs.graph_halves import GraphBuilder
from cutpoint.calibration.codecs.klt_graphs import PlaneHalf, cast_to, in_range, join_parts
from cutpoint.calibration.codecs.plane_code import PlaneCode
from cutpoint.calibration.training.bottleneck import Bottleneck
from cutpoint.calibration.training.net import PlaneNet
from cutpoint.codecs import TensorSpec

__all__ = ["build_bottleneck"]


def build_bottleneck(
    module: Bottleneck, symbols: Sequence[TensorSpec], end: Sequence[TensorSpec]
) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Encoder and decoder graph.

    Args:
        module: trained, on the processor.
        symbols: the symbol tensor of each plane.
        end: tensors of the boundary where the codec ends.
    """
    encoder, decoder = GraphBuilder(), GraphBuilder()
    joined = []
    with torch.no_grad():
        for spec, numbers in zip(module.specs, module.planes, strict=True):
            parts = []
            for number in numbers:
                net, code, symbol = module.plane_nets[number], module.codes[number], symbols[number]
                _Encoder(encoder, f"p{number}", net, code).build(spec, symbol)
                parts.append(_Decoder(decoder, f"p{number}", net, code).build(spec, symbol))
            joined.append(join_parts(decoder, spec, parts))
        if module.landing is None:
            for spec, value in zip(module.specs, joined, strict=True):
                cast_to(decoder, spec, value)
        else:
            values = [
                in_range(decoder, spec, value) if picture else value
                for spec, value, picture in zip(module.specs, joined, module.landing.pictures, strict=True)
            ]
            decoder.embed(module.landing.graph(), values, [spec.name for spec in end], "landing/")
    batch = module.landing is None or module.landing.batch
    return encoder.model(module.specs, symbols), decoder.model(symbols, end, batch)


class _Half(PlaneHalf):
    """What both directions have in common."""

    def __init__(self, graph: GraphBuilder, key: str, net: PlaneNet, code: PlaneCode) -> None:
        self.net = net
        self.original = code
        code = replace(
            code,
            analysis=net.analysis.numpy(),
            synthesis=net.synthesis.numpy(),
            offset=net.offset.numpy(),
            weight=net.log_weight.exp().numpy(),
        )
        super().__init__(graph, key, code, (), net.dead_zones.numpy())

    def gain(self, sign: int) -> str:
        """Gain of each component that a level has (1), or its inverse (-1); 0 for those that it has not."""
        table = np.exp(self.net.log_gains.numpy() * sign) * self.net.open_components.numpy()
        return self.graph.row(f"{self.key}/gain", table, (table.shape[1], 1, 1))

    def within(self, graph: GraphBuilder, key: str) -> _Half:
        """The same half in another graph, under another name."""
        return _Half(graph, key, self.net, self.original)

    def conv(
        self, value: str, layer: nn.Conv2d, name: str, weight: Tensor | None = None, bias: Tensor | None = None
    ) -> str:
        """A convolution; `weight` and `bias` take the place of the layer's own."""
        graph, name = self.graph, f"{self.key}/{name}"
        assert layer.bias is not None, "all layers have one"
        weights = graph.constant(f"{name}/weights", (layer.weight if weight is None else weight).numpy())
        biases = graph.constant(f"{name}/bias", (layer.bias if bias is None else bias).numpy())
        padding = [int(layer.padding[0])] * 4
        groups = 1 if layer.groups == 1 else len(weight if weight is not None else layer.weight)
        return graph.add("Conv", [value, weights, biases], name, pads=padding, group=groups)

    def relu(self, value: str) -> str:
        return self.graph.add("Relu", [value], f"{value}/relu")

    def first(self, value: str, layer: nn.Conv2d, name: str, hidden: int | None = None) -> str:
        """The 1×1 in front of a network, its first `hidden` channels, the normalisation of its input folded into it."""
        net = self.net
        assert layer.bias is not None, "all layers have one"
        weight = layer.weight[:hidden] / net.channel_size[:, None, None]
        bias = layer.bias[:hidden] - (weight[..., 0, 0] @ net.mean)
        return self.conv(value, layer, name, weight, bias)

    def last(self, value: str, layer: nn.Conv2d, name: str, size: Tensor, hidden: int | None = None) -> str:
        """The 1×1 behind a network, the sizes of the first channels that it gives folded into it."""
        assert layer.bias is not None, "all layers have one"
        weight = layer.weight[: len(size), :hidden] * size[:, None, None, None]
        return self.conv(value, layer, name, weight, layer.bias[: len(size)] * size)


class _Encoder(_Half):
    def build(self, spec: TensorSpec, symbol: TensorSpec) -> None:
        graph, key = self.graph, self.key
        value = self._components(self.plane_of(spec))
        value = self.transform(value, inverse=False)
        value = graph.add("Sub", [value, self.spread(f"{key}/offset", self.code.offset)], f"{key}/centred")
        value = graph.add("Mul", [value, self.spread(f"{key}/weight", self.code.weight)], f"{key}/weighed")
        self.rounded(graph.add("Mul", [value, self.gain(1)], f"{key}/scaled"), symbol)

    def _components(self, tensor: str) -> str:
        """The components of a plane, as many as the level's width has; `gain` makes the others 0."""
        net, graph = self.net, self.graph
        widths = list(zip(net.components, net.hidden, strict=True))
        ends = [level for level, width in enumerate(widths) if width != (*widths, None)[level + 1]]
        if len(ends) == 1:
            return self._at_width(self, tensor, *widths[0])
        bodies = []
        for level in ends:
            body = GraphBuilder()
            components, hidden = widths[level]
            value = self._at_width(self.within(body, f"{self.key}/{components}"), tensor, components, hidden)
            missing = np.array([0, 0, 0, 0, 0, self.code.components - components, 0, 0], np.int64)
            body.add("Pad", [value, body.constant(f"{value}/missing", missing)], f"{value}/padded")
            bodies.append(body)
        wider = bodies.pop()
        for level, body in zip(reversed(ends[:-1]), reversed(bodies), strict=True):
            choice = graph if level == ends[0] else GraphBuilder()
            name = f"{self.key}/up-to-{level}"
            last = choice.constant(f"{name}/level", np.array(level, np.int64))
            narrow = choice.add("LessOrEqual", ["level", last], f"{name}/narrow")
            value = choice.branch(narrow, body, wider, name)
            wider = choice
        return value

    @staticmethod
    def _at_width(half: _Half, tensor: str, components: int, hidden: int) -> str:
        """The first `components`, computed with the first `hidden` channels of the network."""
        net, graph, key = half.net, half.graph, half.key
        refiner = net.refiner
        analysis, bias = net.analysis[:components].numpy(), net.analysis_bias[:components].numpy()
        value = half.mix(tensor, analysis, bias, f"{key}/components")
        refined = half.relu(half.first(tensor, refiner.reduce, "refine/reduce", hidden))
        if refiner.space is not None:
            weight, shift = refiner.space.weight[:hidden], refiner.space.bias
            assert shift is not None, "all layers have one"
            refined = half.relu(half.conv(refined, refiner.space, "refine/space", weight, shift[:hidden]))
        size = net.component_size[:components]
        refined = half.last(refined, refiner.expand, "refine/expand", size, hidden)
        return graph.add("Add", [value, refined], f"{key}/refined")


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
