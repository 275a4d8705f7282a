"""What symbols cost, as something that can be trained: CompressAI's `EntropyBottleneck` over groups of coefficients."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cutpoint.calibration.litert import quiet
from cutpoint.codecs import Array

__all__ = ["Rate"]

#: Coefficients of like magnitude that share a density.
_GROUP = 24


class Rate(nn.Module):
    """Bits of one plane's coefficients at every level.

    The density of each group of coefficients and level is learned without any assumption on its form (Ballé et al.,
    ICLR 2018, appendix 6.1) from values with uniform noise in place of rounding. It only steers training: what is
    shipped are integer tables, fitted to symbols.

    Args:
        size: mean magnitude of every coefficient in the beginning, any shape.
        levels: number of levels.
        coded: where a coefficient is worth coding, same shape; the others cost nothing.
    """

    def __init__(self, size: Array, levels: int, coded: Array) -> None:
        super().__init__()
        with quiet():
            from compressai.entropy_models import EntropyBottleneck
        sizes, chosen = torch.tensor(size).flatten(), torch.tensor(coded).flatten()
        order = torch.argsort(sizes, descending=True, stable=True)
        order = order[chosen[order]]
        groups = max(1, -(-len(order) // _GROUP))
        padding = groups * _GROUP - len(order)
        self.levels = levels
        self.groups = groups
        self.index = nn.Buffer(torch.cat([order, order.new_zeros(padding)]))
        self.real = nn.Buffer(torch.cat([torch.ones(len(order)), torch.zeros(padding)]).reshape(groups, _GROUP))
        self.density = EntropyBottleneck(levels * groups, init_scale=2.0, filters=(3, 3, 3))
        self.density.quantiles.requires_grad_(False)  # They serve CompressAI's own coder.

    def forward(self, scaled: Tensor) -> Tensor:
        """Bits of each sample, (samples,).

        Args:
            scaled: in steps, (samples, components, height, width); sample i at level i modulo levels.
        """
        samples = len(scaled)
        rows = scaled.flatten(1)[:, self.index].reshape(-1, self.levels * self.groups, _GROUP)
        _, likelihoods = self.density(rows, training=True)
        bits: Tensor = -likelihoods.log2().reshape(-1, self.levels, self.groups, _GROUP) * self.real
        return bits.sum((2, 3)).reshape(samples)
