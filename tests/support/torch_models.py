"""Factories of real torch models, for ``path/to/torch_models.py:factory``."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

__all__ = ["deit_tiny", "resnet20", "shared_root"]


def shared_root() -> Path:
    """The folder with real models, photographs and traces."""
    return Path(os.environ.get("CUTPOINT_SHARED_DATA") or Path(__file__).parents[3] / "shared" / "data")


class BasicBlock(nn.Module):
    """Two convolutions beside a shortcut that pads new channels with zeros (He et al., 2015, option A)."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self._padding = (outside - inside) // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        if self._padding:
            x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self._padding, self._padding))
        return functional.relu(y + x)


class ResNet20(nn.Module):
    """The CIFAR-10 network of He et al., 2015; parameter names as in akamaster/pytorch_resnet_cifar10."""

    input_shape = (1, 3, 32, 32)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(BasicBlock(16, 16, 1) for _ in range(3)))
        self.layer2 = nn.Sequential(BasicBlock(16, 32, 2), BasicBlock(32, 32, 1), BasicBlock(32, 32, 1))
        self.layer3 = nn.Sequential(BasicBlock(32, 64, 2), BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


def _weights(name: str) -> dict[str, torch.Tensor]:
    loaded = torch.load(shared_root() / "models" / name, map_location="cpu", weights_only=True)
    state = loaded.get("state_dict", loaded)
    return {key.removeprefix("module."): value.float() for key, value in state.items()}


def resnet20() -> nn.Module:
    """ResNet-20 for CIFAR-10 with trained weights."""
    model = ResNet20()
    model.load_state_dict(_weights("resnet20-12fca82f.th"))
    return model.eval()


def deit_tiny() -> nn.Module:
    """DeiT-tiny for ImageNet with trained weights."""
    import timm

    model: nn.Module = timm.create_model("deit_tiny_patch16_224")
    model.load_state_dict(_weights("deit_tiny_patch16_224_fp16_statedict.pth"))
    return model.eval()
