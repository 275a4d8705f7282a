"""The `bottleneck` codec as a torch module: the `klt` transform with everything trainable, small networks beside it.

The linear transform starts as `klt` left it. The networks are residuals whose last layer starts at zero, so that before
the first step the module computes exactly what `klt` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from cutpoint.calibration.codecs.plane_code import PlaneCode
from cutpoint.calibration.codecs.planes import Plane
from cutpoint.codecs import Array, TensorSpec

__all__ = ["Coded", "PlaneNet", "Refiner", "Restorer", "join_planes", "share_of", "split_planes"]

#: Hidden channels of the server's network at most.
_RESTORE_HIDDEN = 160
#: Blocks of the server's network.
_BLOCKS = 2


class Refiner(nn.Module):
    """The device's network: 1×1, depthwise 3×3, 1×1. Adds what a linear transform cannot see to the components."""

    def __init__(self, channels: int, hidden: int, components: int, flat: bool) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.space = None if flat else nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.expand = _zeroed(nn.Conv2d(hidden, components, 1))

    def forward(self, x: Tensor, open: Tensor) -> Tensor:
        """Normalised channels → corrections of the components, in units of each component's size.

        Args:
            x: (samples, channels, height, width).
            open: 1 for each hidden channel that a sample's width has, else 0: (samples, hidden, 1, 1).
        """
        x = functional.relu(self.reduce(x)) * open
        if self.space is not None:
            x = functional.relu(self.space(x)) * open
        return self.expand(x)  # type: ignore[no-any-return]


class Restorer(nn.Module):
    """The server's network: 1×1, residual blocks of a 3×3 and a 1×1, 1×1. Takes out what quantisation put in.

    The first layer's output is scaled and shifted per level: how much there is to correct depends on the step.
    """

    def __init__(self, channels: int, levels: int, flat: bool) -> None:
        super().__init__()
        hidden = min(2 * channels, _RESTORE_HIDDEN)
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.scale = nn.Parameter(torch.ones(levels, hidden))
        self.shift = nn.Parameter(torch.zeros(levels, hidden))
        size = 1 if flat else 3
        self.wide = nn.ModuleList(nn.Conv2d(hidden, hidden, size, padding=size // 2) for _ in range(_BLOCKS))
        self.mix = nn.ModuleList(_shrunk(nn.Conv2d(hidden, hidden, 1)) for _ in range(_BLOCKS))
        self.expand = _zeroed(nn.Conv2d(hidden, channels, 1))

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """Normalised channels → corrections, in units of each channel's size."""
        scale, shift = (rows[level][..., None, None] for rows in (self.scale, self.shift))
        x = functional.relu(self.reduce(x) * scale + shift)
        for wide, mix in zip(self.wide, self.mix, strict=True):
            x = x + mix(functional.relu(wide(x)))
        return self.expand(functional.relu(x))  # type: ignore[no-any-return]


def _zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def _shrunk(layer: nn.Conv2d) -> nn.Conv2d:
    with torch.no_grad():
        layer.weight *= 0.3
    return layer


@dataclass(frozen=True)
class Coded:
    """One plane on its way through the codec.

    Attributes:
        values: what comes out, (samples, channels, height, width).
        scaled: what the encoder rounds, in steps, (samples, components, height, width).
        symbols: rounded, still float.
    """

    values: Tensor
    scaled: Tensor
    symbols: Tensor


class PlaneNet(nn.Module):
    """Encoder and decoder of one plane, with the gains of all levels.

    Args:
        code: the `klt` transform that is the start.
        steps: of each level.
        widths: of each level: the share of components and hidden channels that the encoder computes, the first ones.
        hidden: hidden channels of the device's network.
        dead_zones: of each level, float32 (levels, contexts).
        channel_size: root mean square of each centred channel, float32 (channels,).
        component_size: of each component before the spatial transform, float32 (components,).
    """

    def __init__(
        self,
        code: PlaneCode,
        steps: Sequence[float],
        widths: Sequence[float],
        hidden: int,
        dead_zones: Array,
        channel_size: Array,
        component_size: Array,
    ) -> None:
        super().__init__()
        plane = code.plane
        self.plane: Plane = plane
        self.components = [share_of(width, code.components) for width in widths]
        self.hidden = [share_of(width, hidden) for width in widths]
        self.open_components = nn.Buffer(_first(self.components, code.components))
        self.open_hidden = nn.Buffer(_first(self.hidden, hidden))
        flat = plane.rows.side == plane.columns.side == 1
        self.analysis = nn.Parameter(torch.tensor(code.analysis))
        self.analysis_bias = nn.Parameter(torch.tensor(-(code.analysis @ code.mean)))
        self.synthesis = nn.Parameter(torch.tensor(code.synthesis))
        self.synthesis_bias = nn.Parameter(torch.tensor(code.mean))
        self.log_weight = nn.Parameter(torch.tensor(code.weight).log())
        gains = -torch.tensor(steps, dtype=torch.float32).log()[:, None].repeat(1, code.components)
        self.log_gains = nn.Parameter(gains)
        self.refiner = Refiner(plane.channels, hidden, code.components, flat)
        self.restorer = Restorer(plane.channels, len(steps), flat)
        self.mean = nn.Buffer(torch.tensor(code.mean))
        self.channel_size = nn.Buffer(torch.tensor(channel_size))
        self.component_size = nn.Buffer(torch.tensor(component_size))
        self.offset = nn.Buffer(torch.tensor(code.offset))
        self.dead_zones = nn.Buffer(torch.tensor(dead_zones))
        self.contexts = nn.Buffer(torch.tensor(code.contexts.astype("int64")))
        self.rows = nn.Buffer(torch.tensor(plane.rows.matrix))
        self.columns = nn.Buffer(torch.tensor(plane.columns.matrix))

    @property
    def linear_parameters(self) -> list[nn.Parameter]:
        """Those that start from `klt`."""
        return [self.analysis, self.analysis_bias, self.synthesis, self.synthesis_bias, self.log_weight]

    def _transform(self, values: Tensor, inverse: bool) -> Tensor:
        rows, columns = (self.rows.T, self.columns.T) if inverse else (self.rows, self.columns)
        if len(rows) == len(columns) == 1:
            return values
        shape = values.shape
        values = torch.matmul(values.reshape(-1, len(columns)), columns.T)
        return torch.matmul(rows, values.reshape(-1, len(rows), shape[-1])).reshape(shape)

    def _spread(self, values: Tensor) -> Tensor:
        """Values by frequency for every place, as `Plane.spread`."""
        axes = self.plane.rows, self.plane.columns
        repeats = [axis.side // axis.period for axis in axes]
        return values.repeat(*(1,) * (values.dim() - 2), *repeats)

    def _normalised(self, values: Tensor) -> Tensor:
        return (values - self.mean[:, None, None]) / self.channel_size[:, None, None]

    def coefficients(self, values: Tensor, level: Tensor) -> Tensor:
        """Coefficients (samples, components, height, width) of values (samples, channels, height, width).

        Those that the width of a sample's `level` leaves out are 0.
        """
        mixed = functional.conv2d(values, self.analysis[..., None, None], self.analysis_bias)
        refined: Tensor = self.refiner(self._normalised(values), self.open_hidden[level][..., None, None])
        mixed = mixed + refined * self.component_size[:, None, None]
        centred = self._transform(mixed, inverse=False) - self._spread(self.offset)
        return centred * self._spread(self.log_weight.exp()) * self.open_components[level][..., None, None]

    def linear(self, coefficients: Tensor) -> Tensor:
        """The linear part of what the decoder makes of coefficients."""
        mixed = coefficients / self._spread(self.log_weight.exp()) + self._spread(self.offset)
        mixed = self._transform(mixed, inverse=True)
        return functional.conv2d(mixed, self.synthesis[..., None, None], self.synthesis_bias)

    def gains(self, level: Tensor) -> Tensor:
        """Steps per unit, (samples, components, 1, 1)."""
        return self.log_gains[level].exp()[..., None, None]

    def zones(self, level: Tensor) -> Tensor:
        """Dead zone of every coefficient in steps, (samples, components, height, width)."""
        return self._spread(self.dead_zones[level][:, self.contexts])

    def forward(self, values: Tensor, level: Tensor) -> Coded:
        """Codes values (samples, channels, height, width) at `level` (samples,).

        Everything up to the symbols, and the linear part behind them, is float32 whatever autocast says.

        Rounding is exact forwards; its derivative is taken to be 1 (Bengio et al., arXiv 1308.3432), so that the
        decoder learns on what it will get and the gains feel what they cost and give. That holds inside the dead zone
        too; the rate, which sees `scaled`, is flat there.
        """
        with torch.autocast(values.device.type, enabled=False):
            gains, zones = self.gains(level), self.zones(level)
            exact = self.coefficients(values, level) * gains
            scaled = exact - torch.minimum(torch.maximum(exact, -zones), zones)
            symbols = scaled.detach().round()
            middles = symbols + symbols.sign() * zones
            linear = self.linear((exact + (middles - exact).detach()) / gains)
        correction: Tensor = self.restorer(self._normalised(linear), level)
        return Coded(linear + correction.float() * self.channel_size[:, None, None], scaled, symbols)


def share_of(width: float, whole: int) -> int:
    """How many of `whole` channels a width has, at least one."""
    return max(1, round(width * whole))


def _first(counts: Sequence[int], whole: int) -> Tensor:
    """1 for the first of `whole` channels, as many as each level has: (levels, whole)."""
    return (torch.arange(whole)[None] < torch.tensor(list(counts))[:, None]).float()


def split_planes(tensor: Tensor, planes: Sequence[Plane]) -> list[Tensor]:
    """The planes (samples, channels, height, width), float32, of a tensor (samples, …)."""
    parts = []
    for plane in planes:
        part = tensor
        if plane.tokens is not None:
            part = tensor[:, slice(*plane.tokens)].transpose(1, 2)
        elif patch := plane.patch:
            _, height, width = plane.shape
            part = tensor.reshape(len(tensor), height, patch, width, patch, -1).permute(0, 2, 4, 5, 1, 3)
        parts.append(part.float().reshape(len(part), *plane.shape))
    return parts


def join_planes(spec: TensorSpec, planes: Sequence[Plane], values: Sequence[Tensor]) -> Tensor:
    """Puts planes (samples, channels, height, width) together to tensors (samples, …) again."""
    if patch := planes[0].patch:
        count, _, height, width = values[0].shape
        patches = values[0].reshape(count, patch, patch, -1, height, width).permute(0, 4, 1, 5, 2, 3)
        return patches.reshape(count, *spec.shape[1:])
    if planes[0].tokens is None:
        return values[0].reshape(len(values[0]), *spec.shape[1:])
    tokens = [value.flatten(2).transpose(1, 2) for value in values]
    return torch.cat(tokens, dim=1)
