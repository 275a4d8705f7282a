"""A trained codec as a torch module: `klt` as the start, rates to train against, and the layers that it jumps over."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from cutpoint.calibration.codecs.klt import KltFit, design_dead_zones
from cutpoint.calibration.codecs.plane_code import PlaneCode
from cutpoint.calibration.training.families import BOTTLENECK, Family
from cutpoint.calibration.training.landing import Landing
from cutpoint.calibration.training.net import PlaneNet, join_planes, split_planes
from cutpoint.calibration.training.rate import Rate
from cutpoint.codecs import Array, TensorSpec

__all__ = ["Bottleneck", "start_bottleneck"]

#: Finest level, as a share of the way from the coarsest to the finest step of `klt` (logarithms). Beyond, `klt` loses
#: next to nothing already.
_FINEST = 0.6
#: Hidden channels of the device's network at most.
_REFINE_HIDDEN = 128


class Bottleneck(nn.Module):
    """A codec while it is trained.

    Args:
        family: which levels there are.
        specs: tensors of the start boundary.
        planes: numbers of the planes of each tensor.
        codes: the transform that each plane starts from.
        nets: the module of each plane.
        rates: the rate of each plane.
        landing: the layers from the start boundary to the end boundary; None where they are the same.
    """

    def __init__(
        self,
        family: Family,
        specs: Sequence[TensorSpec],
        planes: Sequence[Sequence[int]],
        codes: Sequence[PlaneCode],
        nets: Sequence[PlaneNet],
        rates: Sequence[Rate],
        landing: Landing | None = None,
    ) -> None:
        super().__init__()
        self.family = family
        self.levels = len(family.levels)
        self.specs = tuple(specs)
        self.planes = planes
        self.codes = codes
        self.nets = nn.ModuleList(nets)
        self.rates = nn.ModuleList(rates)
        self.landing = landing

    @property
    def plane_nets(self) -> list[PlaneNet]:
        """The module of each plane."""
        return [net for net in self.nets if isinstance(net, PlaneNet)]

    def extract(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The planes (samples, channels, height, width) of the start boundary's tensors (samples, …)."""
        found = []
        for tensor, numbers in zip(tensors, self.planes, strict=True):
            found += split_planes(tensor, [self.plane_nets[number].plane for number in numbers])
        return found

    def join(self, values: Sequence[Tensor]) -> list[Tensor]:
        """The start boundary's tensors, float32, of planes."""
        nets = self.plane_nets
        return [
            join_planes(spec, [nets[n].plane for n in numbers], [values[n] for n in numbers])
            for spec, numbers in zip(self.specs, self.planes, strict=True)
        ]

    def land(self, tensors: list[Tensor]) -> list[Tensor]:
        """The end boundary's tensors for the start boundary's."""
        return tensors if self.landing is None else self.landing(tensors)

    def forward(self, tensors: Sequence[Tensor]) -> tuple[list[Tensor], Tensor, Tensor]:
        """Codes tensors (samples, …), sample i at level i modulo levels.

        Returns:
            The end boundary's tensors; bits of each sample (samples,); squared error of each sample's planes (samples,)
            as a share of the variance.
        """
        level = torch.arange(len(tensors[0]), device=tensors[0].device) % self.levels
        values, bits, errors = [], [], []
        for net, rate, plane in zip(self.plane_nets, self.rates, self.extract(tensors), strict=True):
            coded = net(plane, level)
            values.append(coded.values)
            bits.append(rate(coded.scaled))
            errors.append(((coded.values - plane) / net.channel_size[:, None, None]).square().flatten(1).mean(1))
        return self.land(self.join(values)), torch.stack(bits).sum(0), torch.stack(errors).mean(0)

    def symbols(self, tensors: Sequence[Tensor], level: int) -> list[Tensor]:
        """Symbols of each plane, float."""
        levels = torch.full((len(tensors[0]),), level, dtype=torch.int64, device=tensors[0].device)
        return [net(plane, levels).symbols for net, plane in zip(self.plane_nets, self.extract(tensors), strict=True)]


def start_bottleneck(
    fit: KltFit,
    steps: Sequence[float],
    family: Family = BOTTLENECK,
    landing: Landing | None = None,
    macs: float | None = None,
) -> Bottleneck:
    """The module that computes what `klt` does between the steps of the levels, and then `landing`.

    Args:
        fit: of the start boundary.
        steps: of the coarsest and of the finest level, and any between.
        family: which levels there are.
        landing: see `Bottleneck`.
        macs: multiply-accumulates that the encoder may take; None: whatever it likes.
    """
    finest = max(steps) * (min(steps) / max(steps)) ** (_FINEST if landing is None else 1.0)
    chosen = [float(step) for step in np.geomspace(max(steps), finest, family.qualities)] * len(family.widths)
    nets, rates, codes = [], [], []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for code, coefficients in zip(fit.codes, fit.coefficients, strict=True):
            zones = np.stack([design_dead_zones(code, coefficients, step) for step in chosen])
            symbols = np.abs(code.quantise(coefficients, min(chosen), zones[int(np.argmin(chosen))]))
            most, hidden = _afforded(code, None if macs is None else macs / len(fit.codes))
            used = _used(symbols, coefficients, most, in_order=len(family.widths) > 1)
            values = code.inverse(coefficients)
            code, coefficients = code.kept(used), coefficients[:, used]
            mixed = np.einsum("mc,nchw->nmhw", code.analysis, values - code.mean[:, None, None])
            sizes = _size(values - code.mean[:, None, None]), _size(mixed)
            nets.append(PlaneNet(code, chosen, family.level_widths, hidden, zones, *sizes))
            plane = code.plane
            size = plane.mean(np.abs(coefficients).mean(axis=0))
            places = plane.rows.side * plane.columns.side // size[0].size
            coded = plane.mean(symbols[:, used].max(axis=0)) > 0
            rates.append(Rate(size, len(chosen), coded, places))
            codes.append(code)
    return Bottleneck(family, fit.specs, fit.planes, codes, nets, rates, landing)


def _afforded(code: PlaneCode, macs: float | None) -> tuple[int, int]:
    """How many components, and hidden channels of the device's network, so many multiply-accumulates allow."""
    channels, height, width = code.plane.shape
    hidden = min(channels, _REFINE_HIDDEN)
    if macs is None:
        return code.components, hidden
    each = macs / (height * width)
    components = max(1, min(code.components, int(each / 2 / channels)))
    rest = each - components * channels
    return components, max(1, min(hidden, int(rest / (channels + 9 + components))))


def _used(symbols: Array, coefficients: Array, most: int, in_order: bool) -> Array:
    """The components that are worth keeping; `in_order`: the largest first, otherwise as they are."""
    used = np.flatnonzero(symbols.max(axis=(0, 2, 3)))
    used = used if len(used) else np.zeros(1, np.int64)
    size = np.abs(coefficients[:, used]).mean(axis=(0, 2, 3))
    largest = used[np.argsort(-size, kind="stable")][:most]
    return largest if in_order else np.sort(largest)


def _size(values: Array) -> Array:
    """Root mean square of each channel of (samples, channels, height, width), never 0."""
    size = np.sqrt(np.square(values, dtype=np.float64).mean(axis=(0, 2, 3)))
    return np.asarray(np.maximum(size, max(float(size.max()) * 1e-4, 1e-12)), np.float32)
