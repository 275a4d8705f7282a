"""The rest of the model as a torch module, frozen: what a codec is trained against. No labels are needed."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import torch
from torch import Tensor
from torch.nn import functional

from cutpoint.calibration.training.torch_span import TorchSpan

__all__ = ["Teacher"]

#: Probabilities below this are taken as this.
_LEAST = 1e-12


class Teacher:
    """The tail behind a boundary, differentiable, and how far its outputs are from the undisturbed ones.

    Attributes:
        device: where it computes.

    Args:
        tail: the span from the boundary to the outputs.
        classes: whether the only output are scores of classes.
        batch: whether the tail takes several samples at once; otherwise they go one by one.

    Raises:
        CalibrationError: if a layer has no counterpart in torch.
    """

    def __init__(self, tail: onnx.ModelProto, classes: bool, batch: bool, device: torch.device) -> None:
        module = TorchSpan(tail, batch).to(device)
        for parameter in module.parameters():
            parameter.requires_grad_(False)
        self.device = device
        self._module = module
        self._classes = classes

    def __call__(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The model's outputs, float32, for a boundary's tensors (samples, …)."""
        return tuple(output.float() for output in self._module(tensors))

    def distance(self, given: Sequence[Tensor], wanted: Sequence[Tensor], temperature: float = 1.0) -> Tensor:
        """Divergence of each sample's outputs, (samples,).

        For class scores the Kullback–Leibler divergence in nats, logarithms of probabilities divided by `temperature`
        beforehand (Hinton et al., arXiv 1503.02531); for other outputs the squared error as a share of the squared
        output, the mean over the outputs.
        """
        if self._classes:
            probable = bool(wanted[0].min() >= 0) and bool(((wanted[0].sum(-1) - 1).abs() < 1e-3).all())
            scores = (x[0].clamp_min(_LEAST).log() if probable else x[0] for x in (given, wanted))
            a, b = (functional.log_softmax(values / temperature, -1) for values in scores)
            return (b.exp() * (b - a)).flatten(1).sum(-1)
        shares = [
            (a - b).float().square().flatten(1).sum(1) / b.float().square().flatten(1).sum(1).clamp_min(1e-30)
            for a, b in zip(given, wanted, strict=True)
        ]
        return torch.stack(shares).mean(0)
