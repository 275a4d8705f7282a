"""Spans as torch modules: to train against, and to train."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import torch
from torch import Tensor, nn

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.graphs.litert import plain_reshapes, quiet

__all__ = ["TorchSpan"]


class TorchSpan(nn.Module):
    """Computes what a span does, differentiably.

    Args:
        span: any; it is not changed.
        batch: whether it takes several samples at once; otherwise they go one by one.

    Raises:
        CalibrationError: if a layer has no counterpart in torch.
    """

    def __init__(self, span: onnx.ModelProto, batch: bool) -> None:
        super().__init__()
        plain = onnx.ModelProto()
        plain.CopyFrom(span)
        plain_reshapes(plain)
        with quiet():
            import onnx2torch

            try:
                layers: nn.Module = onnx2torch.convert(plain).eval()
            except Exception as error:  # The converter raises whatever its parts raise.
                reason = (str(error).strip().splitlines() or ["no message"])[0]
                raise CalibrationError(f"layers cannot become a torch module: {reason[:300]}") from error
        # Convolutions on processors are up to twice as fast in this layout.
        self.layers = layers.to(memory_format=torch.channels_last)
        self._batch = batch

    def forward(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The end boundary's tensors for the start boundary's, (samples, …) each."""
        if self._batch or len(tensors[0]) == 1:
            return self._outputs(tensors)
        single = [self._outputs([tensor[i : i + 1] for tensor in tensors]) for i in range(len(tensors[0]))]
        return tuple(torch.cat(parts) for parts in zip(*single, strict=True))

    def _outputs(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        outputs = self.layers(*tensors)
        return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
