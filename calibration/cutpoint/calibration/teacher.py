"""The rest of the model as a torch module, frozen: what a codec is trained against. No labels are needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.litert import plain_reshapes, quiet

__all__ = ["Teacher", "to_torch"]

#: Probabilities below this are taken as this.
_LEAST = 1e-12


def to_torch(model: onnx.ModelProto) -> nn.Module:
    """A span as a torch module that computes the same.

    Raises:
        CalibrationError: if a layer has no counterpart in torch.
    """
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    plain_reshapes(plain)
    with quiet():
        import onnx2torch

        try:
            module: nn.Module = onnx2torch.convert(plain).eval()
        except Exception as error:  # The converter raises whatever its parts raise.
            reason = (str(error).strip().splitlines() or ["no message"])[0]
            raise CalibrationError(f"layers cannot become a torch module: {reason[:300]}") from error
    # Convolutions on processors are up to twice as fast in this layout.
    return module.to(memory_format=torch.channels_last)


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
        module = to_torch(tail).to(device)
        for parameter in module.parameters():
            parameter.requires_grad_(False)
        self.device = device
        self._module = module
        self._classes = classes
        self._batch = batch

    def __call__(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The model's outputs for a boundary's tensors (samples, …)."""
        if self._batch or len(tensors[0]) == 1:
            return self._outputs(self._module(*tensors))
        single = [self._outputs(self._module(*(t[i : i + 1] for t in tensors))) for i in range(len(tensors[0]))]
        return tuple(torch.cat(parts) for parts in zip(*single, strict=True))

    @staticmethod
    def _outputs(outputs: Any) -> tuple[Tensor, ...]:
        return tuple(output.float() for output in ((outputs,) if isinstance(outputs, Tensor) else outputs))

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
