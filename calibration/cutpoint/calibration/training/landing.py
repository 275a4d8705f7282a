"""The model's own layers between two boundaries as the last part of a decoder, trained along with it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn

from cutpoint.calibration.training.torch_span import TorchSpan

__all__ = ["Landing"]


class Landing(nn.Module):
    """Copies of the layers that a codec jumps over.

    An encoder that starts at an earlier boundary than its decoder ends leaves layers out on the device. The decoder
    catches up on them: it begins as those very layers, and learns to get along with what quantisation left.

    Args:
        span: the layers. Where it takes a uint8 picture, the landing takes the same values as float32.
        batch: whether it takes several samples at once; otherwise they go one by one.

    Attributes:
        batch: as given; true of `graph` too.
    """

    def __init__(self, span: onnx.ModelProto, batch: bool) -> None:
        super().__init__()
        self.batch = batch
        self._span = onnx.ModelProto()
        self._span.CopyFrom(span)
        self.pictures = [v.type.tensor_type.elem_type == TensorProto.UINT8 for v in self._span.graph.input]
        for value in self._span.graph.input:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
        self.layers = TorchSpan(self._span, batch)
        self._names = self._match()

    def _match(self) -> dict[str, str]:
        """Parameter → the initialiser that it came from. Parameters that came from none are not trained."""
        free = {value.name: numpy_helper.to_array(value) for value in self._span.graph.initializer}
        found = {}
        for name, parameter in self.layers.named_parameters():
            value = parameter.detach().numpy()
            same = (k for k, v in free.items() if v.shape == value.shape and np.array_equal(v, value))
            origin = next(same, None)
            parameter.requires_grad_(origin is not None)
            if origin is not None:
                found[name] = origin
                del free[origin]
        return found

    def forward(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The end boundary's tensors for the start boundary's (samples, …)."""
        tensors = [t.clamp(0, 255) if picture else t for t, picture in zip(tensors, self.pictures, strict=True)]
        return list(self.layers(tensors))

    def graph(self) -> onnx.ModelProto:
        """The layers as they are now, with float32 inputs."""
        model = onnx.ModelProto()
        model.CopyFrom(self._span)
        values = dict(self.layers.named_parameters())
        trained = {origin: values[name].detach().cpu().numpy() for name, origin in self._names.items()}
        for value in model.graph.initializer:
            if value.name in trained:
                value.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(trained[value.name]), value.name))
        return model
