import numpy as np
import pytest
import torch

from cutpoint.calibration.training.rate import Rate


def _trained(rate: Rate, scaled: torch.Tensor, steps: int = 300) -> float:
    optimiser = torch.optim.Adam([p for p in rate.parameters() if p.requires_grad], 3e-2)
    torch.manual_seed(0)
    for _ in range(steps):
        optimiser.zero_grad()
        rate(scaled).mean().backward()
        optimiser.step()
    with torch.no_grad():
        return float(torch.stack([rate(scaled).mean() for _ in range(10)]).mean())


@pytest.mark.parametrize("side", [4, 28])
def test_bits_come_near_the_entropy(side: int) -> None:
    """Also where only some of the places are looked at."""
    rng = np.random.default_rng(0)
    scale = np.array([6.0, 1.5])[:, None, None]
    scaled = torch.tensor(np.round(rng.laplace(0, scale, (16, 2, side, side))), dtype=torch.float32)
    size = np.abs(scaled.numpy()).mean(axis=(0, 2, 3))[:, None, None]
    found = _trained(Rate(size, 1, size > 0, side * side), scaled)
    entropy = 0.0
    for component in range(2):
        _, counts = np.unique(scaled[:, component].numpy(), return_counts=True)
        shares = counts / counts.sum()
        entropy -= float((shares * np.log2(shares)).sum()) * side * side
    assert found == pytest.approx(entropy, rel=0.08)


def test_what_is_not_coded_costs_nothing() -> None:
    size, coded = np.ones((2, 3, 3), np.float32), np.zeros((2, 3, 3), bool)
    coded[0] = True
    rate = Rate(size, 1, coded, 1)
    near, far = torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3, 3)
    far[:, 1] = 50.0
    bits = []
    for values in (near, far):
        torch.manual_seed(0)
        bits.append(rate(values).item())
    assert bits[0] == bits[1] > 0


def test_each_level_has_densities_of_its_own() -> None:
    size = np.ones((1, 1, 1), np.float32)
    scaled = torch.zeros(4, 1, 6, 6)
    scaled[1::2] = torch.randn(2, 1, 6, 6, generator=torch.Generator().manual_seed(0)) * 20
    rate = Rate(size, 2, size > 0, 36)
    _trained(rate, scaled, 100)
    bits = rate(scaled)
    assert bits[[0, 2]].max() < bits[[1, 3]].min()
