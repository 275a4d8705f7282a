"""The demo's network: a small MobileNetV2-style classifier of the rendered street scenes.

Input: float32 (N, 3, 224, 224), RGB, (value − 127.5) / 127.5. Output: float32 (N, 16) logits in the order of
`cutpoint.demo.scenes.CLASSES`. Natural places to cut are the outputs of the stages at 56 × 56, 28 × 28, 14 × 14 and
7 × 7.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

WEIGHTS = Path(__file__).with_name("scenes.pt")
"""The trained weights: a state dict of float16 tensors."""

# output channels, expansion, stride, number of blocks
_STAGES = (
    (12, 1, 1, 1),  # 112 × 112
    (20, 3, 2, 2),  # 56 × 56
    (32, 4, 2, 3),  # 28 × 28
    (64, 4, 2, 3),  # 14 × 14
    (96, 4, 2, 2),  # 7 × 7
)
_STEM = 16
_HEAD = 320


def _unit(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, *, act: bool = True
) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    if act:
        layers.append(nn.ReLU6(inplace=True))
    return nn.Sequential(*layers)


class InvertedResidual(nn.Module):
    """Widen by a 1×1 convolution, filter each channel, narrow again; add the input where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        middle = inputs * expansion
        layers = [] if expansion == 1 else [_unit(inputs, middle, 1)]
        layers += [_unit(middle, middle, 3, stride, middle), _unit(middle, outputs, 1, act=False)]
        self.layers = nn.Sequential(*layers)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        out: Tensor = self.layers(x)
        return x + out if self.adds else out


class ScenesNet(nn.Module):
    """The classifier, untrained.

    Args:
        classes: number of logits.
    """

    def __init__(self, classes: int = 16) -> None:
        super().__init__()
        self.stem = _unit(3, _STEM, 3, 2)
        stages, channels = [], _STEM
        for outputs, expansion, stride, count in _STAGES:
            blocks = []
            for k in range(count):
                blocks.append(InvertedResidual(channels, outputs, expansion, stride if k == 0 else 1))
                channels = outputs
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.head = _unit(channels, _HEAD, 1)
        self.classifier = nn.Linear(_HEAD, classes)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, classes); trained at H = W = 224."""
        features: Tensor = self.head(self.stages(self.stem(image)))
        logits: Tensor = self.classifier(features.mean((2, 3)))
        return logits


def scenes_net() -> nn.Module:
    """The trained network in evaluation mode, float32, on the CPU.

    Raises:
        FileNotFoundError: `scenes.pt` is not beside this module (train it with `train_scenes.py`).
    """
    net = ScenesNet()
    state = torch.load(WEIGHTS, map_location="cpu", weights_only=True)
    net.load_state_dict({name: value.float() if value.is_floating_point() else value for name, value in state.items()})
    return net.eval()
