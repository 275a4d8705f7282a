"""What a tensor looks like, without its values."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from cutpoint.codecs.errors import CodecError

__all__ = ["DTYPES", "Array", "TensorSpec", "check_tensors"]

Array = NDArray[Any]

#: The element types that may cross a boundary, in the order of their codes on the wire (docs/protocol.md).
DTYPES: tuple[str, ...] = (
    "float32",
    "float16",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "bool",
    "uint16",
    "float64",
)


class TensorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Name, shape and element type of one tensor.

    Attributes:
        name: the tensor's name in the graph files.
        shape: with the batch axis in front, always 1 there.
        dtype: one of `DTYPES`.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"tensor {self.name!r}: element type {self.dtype!r} is not one of {', '.join(DTYPES)}")
        if any(side < 1 for side in self.shape):
            raise ValueError(f"tensor {self.name!r}: shape {self.shape} has a side below 1")

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size of the values in bytes."""
        return self.size * np.dtype(self.dtype).itemsize

    def with_side(self, axis: int, side: int) -> TensorSpec:
        """The same tensor with another side: some rows of it, where `axis` is that of the rows."""
        return TensorSpec(self.name, (*self.shape[:axis], side, *self.shape[axis + 1 :]), self.dtype)

    def accepts(self, tensor: Array) -> bool:
        """Whether `tensor` has this shape and element type."""
        return tensor.shape == self.shape and tensor.dtype == self.dtype


def check_tensors(specs: Sequence[TensorSpec], tensors: Sequence[Array], what: str) -> None:
    """Raises `CodecError` unless `tensors` are what `specs` describe; `what` begins the message."""
    if len(tensors) != len(specs):
        raise CodecError(f"{what}: {len(tensors)} tensors given, {len(specs)} expected")
    for spec, tensor in zip(specs, tensors, strict=True):
        if not spec.accepts(tensor):
            raise CodecError(
                f"{what}: tensor {spec.name!r} is {tensor.dtype}{list(tensor.shape)}, "
                f"expected {spec.dtype}{list(spec.shape)}"
            )
