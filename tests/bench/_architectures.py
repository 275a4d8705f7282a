"""Networks of torchvision for benchmarks of time."""

from __future__ import annotations

import torch
import torchvision

__all__ = ["architecture"]


class _Pooled(torch.nn.Module):
    """Convolutions, global pooling, one dense layer."""

    def __init__(self, features: torch.nn.Module, channels: int) -> None:
        super().__init__()
        self.features = features
        self.dense = torch.nn.Linear(channels, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dense(self.features(x).mean((2, 3)))  # type: ignore[no-any-return]


def architecture(name: str) -> torch.nn.Module:
    """An architecture with random weights; VGG with one dense layer behind global pooling instead of its three."""
    torch.manual_seed(0)
    module: torch.nn.Module = torchvision.models.get_model(name, weights=None)
    return _Pooled(module.features, 512) if name.startswith("vgg") else module  # type: ignore[arg-type]


def alexnet() -> torch.nn.Module:
    """AlexNet with random weights: 94 % of them in three dense layers behind the convolutions."""
    return architecture("alexnet").eval()
