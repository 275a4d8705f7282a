"""What symbols cost, as something that can be trained: CompressAI's `EntropyBottleneck` over groups of coefficients."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cutpoint.calibration.graphs.litert import quiet
from cutpoint.codecs import Array

__all__ = ["Rate"]

#: Coefficients of like magnitude that share a density.
_GROUP = 24
#: Places of a coefficient that a step looks at, at most: the mean over some is as good a teacher as over all.
_PLACES = 49


class Rate(nn.Module):
    """Bits of one plane's coefficients at every level.

    The density of each group of coefficients and level is learned without any assumption on its form (Ballé et al.,
    ICLR 2018, appendix 6.1) from values with uniform noise in place of rounding. It only steers training: what is
    shipped are integer tables, fitted to symbols.

    Args:
        size: mean magnitude of every coefficient in the beginning, (components, row period, column period).
        levels: number of levels.
        coded: where a coefficient is worth coding, same shape; the others cost nothing.
        places: how often the periods repeat in the plane.
    """

    def __init__(self, size: Array, levels: int, coded: Array, places: int) -> None:
        super().__init__()
        with quiet():
            from compressai.entropy_models import EntropyBottleneck
        sizes, chosen = torch.tensor(size).flatten(), torch.tensor(coded).flatten()
        order = torch.argsort(sizes, descending=True, stable=True)
        order = order[chosen[order]]
        each = max(1, _GROUP // places)
        groups = max(1, -(-len(order) // each))
        padding = groups * each - len(order)
        self.levels = levels
        self.periods = tuple(size.shape[1:])
        self.index = nn.Buffer(torch.cat([order, order.new_zeros(padding)]))
        self.real = nn.Buffer(torch.cat([torch.ones(len(order)), torch.zeros(padding)]).reshape(groups, each, 1))
        self.density = EntropyBottleneck(levels * groups, init_scale=2.0, filters=(3, 3, 3))
        self.density.quantiles.requires_grad_(False)  # They serve CompressAI's own coder.

    def forward(self, scaled: Tensor) -> Tensor:
        """Bits of each sample, (samples,); estimated from some of the places where there are many.

        Args:
            scaled: in steps, (samples, components, height, width); sample i at level i modulo levels.
        """
        samples, components, height, width = scaled.shape
        rows, columns = self.periods
        groups, each, _ = self.real.shape
        blocks = scaled.reshape(samples, components, height // rows, rows, width // columns, columns)
        values = blocks.permute(0, 1, 3, 5, 2, 4).reshape(samples, components * rows * columns, -1)
        places = values.shape[2]
        if places > _PLACES:
            values = values[:, :, torch.randperm(places, device=values.device)[:_PLACES]]
        seen = values.shape[2]
        values = values[:, self.index].reshape(-1, self.levels * groups, each * seen)
        with torch.autocast(scaled.device.type, enabled=False):
            _, likelihoods = self.density(values.float(), training=True)
        bits: Tensor = -likelihoods.log2().reshape(samples, groups, each, seen) * self.real
        return bits.sum((1, 2, 3)) * (places / seen)
