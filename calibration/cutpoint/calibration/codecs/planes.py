"""A boundary's tensors as planes: (channels, height, width), whatever they were, and the spatial transform of a plane.

Feature maps are planes already. A picture becomes one by taking its square patches as positions and the pixels of a
patch as channels; those have no transform over space, because the edges in neighbouring patches have little to do with
each other (a DCT across them costs a fifth more bytes). Tokens (1, tokens, channels) of a vision transformer are a
square grid behind a few tokens that belong to no place (class token, registers): two planes. Vectors are planes of 1×1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isqrt, prod

import numpy as np

from cutpoint.calibration.errors import CalibrationError
from cutpoint.codecs import Array, TensorSpec

__all__ = ["Axis", "Plane", "dct_matrix", "find_planes", "tensor_of"]

#: Sides up to this are transformed as a whole.
_WHOLE = 20
#: Longer sides are cut into blocks of such a length where one divides the side; the best first.
_BLOCKS = (14, 16, 15, 13, 12, 11, 10, 9, 8, 20, 19, 18, 17, 7, 6)
#: Otherwise into blocks of nearly equal length, none longer than this.
_LONGEST = 16
#: The most tokens in front of a square grid that are taken to belong to no place.
_PREFIX = 8
#: Side of a picture's patches at most. 16 was no better than 8 on photographs of 224×224.
_PATCH = 8
_LEAST_PATCH = 4


def dct_matrix(length: int) -> Array:
    """The orthonormal DCT-II (Ahmed, Natarajan & Rao, 1974), float64 (length, length): ``matrix @ signal``."""
    k, x = np.arange(length)[:, None], np.arange(length)[None]
    matrix: Array = np.sqrt(2 / length) * np.cos(np.pi * (2 * x + 1) * k / (2 * length))
    matrix[0] /= np.sqrt(2)
    return matrix


@dataclass(frozen=True)
class Axis:
    """The transform along one side of a plane: a DCT for each block.

    Attributes:
        blocks: lengths, which sum to the side.
    """

    blocks: tuple[int, ...]

    @classmethod
    def of(cls, side: int) -> Axis:
        """The transform for a side of this length."""
        if side <= _WHOLE:
            return cls((side,))
        for block in _BLOCKS:
            if side % block == 0:
                return cls((block,) * (side // block))
        count = -(-side // _LONGEST)
        return cls(tuple(side // count + (i < side % count) for i in range(count)))

    @classmethod
    def plain(cls, side: int) -> Axis:
        """No transform: every place is a block of its own."""
        return cls((1,) * side)

    @property
    def side(self) -> int:
        """Length of the side."""
        return sum(self.blocks)

    @property
    def period(self) -> int:
        """After how many places the frequencies repeat; the side itself where the blocks differ."""
        return self.blocks[0] if len(set(self.blocks)) == 1 else self.side

    @cached_property
    def matrix(self) -> Array:
        """float32 (period, period), orthonormal: all blocks where they differ, otherwise the one that repeats."""
        if self.period != self.side or len(self.blocks) == 1:
            return dct_matrix(self.period).astype(np.float32)
        whole = np.zeros((self.side, self.side))
        start = 0
        for block in self.blocks:
            whole[start : start + block, start : start + block] = dct_matrix(block)
            start += block
        return whole.astype(np.float32)

    @cached_property
    def frequencies(self) -> Array:
        """The frequency of each place of a period, counted in half waves per block, int64 (period,)."""
        all_blocks: Array = np.concatenate([np.arange(block) for block in self.blocks])
        return all_blocks[: self.period]


@dataclass(frozen=True)
class Plane:
    """A part of one tensor as (channels, height, width).

    Attributes:
        name: unique among the planes of a boundary; begins the names of its nodes and symbols.
        channels: of the tensor.
        rows, columns: transforms along height and width.
        tokens: first and last + 1 token, for a tensor (1, tokens, channels); None: the whole tensor, channels in front.
        patch: side of the patches of a picture (1, height, width, 3); 0: the tensor is no picture.
    """

    name: str
    channels: int
    rows: Axis
    columns: Axis
    tokens: tuple[int, int] | None = None
    patch: int = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return self.channels, self.rows.side, self.columns.side

    def extract(self, tensors: Array) -> Array:
        """The plane of each of several tensors (samples, …): float32 (samples, channels, height, width)."""
        if self.tokens is not None:
            tensors = tensors[:, slice(*self.tokens)].swapaxes(1, 2)
        elif self.patch:
            _, height, width = self.shape
            patches = tensors.reshape(len(tensors), height, self.patch, width, self.patch, -1)
            tensors = patches.transpose(0, 2, 4, 5, 1, 3)
        return np.ascontiguousarray(tensors, dtype=np.float32).reshape(len(tensors), *self.shape)

    def transform(self, values: Array, inverse: bool = False) -> Array:
        """The spatial transform, or its inverse, of float32 (…, height, width)."""
        if self.rows.period == self.columns.period == 1:
            return values
        rows, columns = self.rows.matrix, self.columns.matrix
        if inverse:
            rows, columns = rows.T, columns.T
        shape = values.shape
        across: Array = np.matmul(values.reshape(-1, len(columns)), columns.T)
        down: Array = np.matmul(rows, across.reshape(-1, len(rows), shape[-1]))
        return down.reshape(shape)

    @cached_property
    def radius(self) -> Array:
        """Distance of each frequency from the constant one, float64 (row period, column period)."""
        radius: Array = np.hypot(self.rows.frequencies[:, None], self.columns.frequencies[None])
        return radius

    def spread(self, values: Array) -> Array:
        """Values by frequency, (…, row period, column period), for every place: (…, height, width)."""
        repeats = (self.rows.side // self.rows.period, self.columns.side // self.columns.period)
        return np.tile(values, (1,) * (values.ndim - 2) + repeats)

    def mean(self, values: Array) -> Array:
        """The mean over places of one frequency: the opposite of `spread`."""
        height, width = self.rows.period, self.columns.period
        front = values.shape[:-2]
        parts = values.reshape(*front, self.rows.side // height, height, self.columns.side // width, width)
        mean: Array = parts.mean(axis=(-4, -2))
        return mean


def find_planes(spec: TensorSpec) -> tuple[Plane, ...]:
    """The planes of a tensor, in the order of its tokens.

    Raises:
        CalibrationError: for a picture that cannot be divided into square patches.
    """
    if spec.dtype == "uint8" and len(spec.shape) == 4 and spec.shape[3] == 3:
        height, width = spec.shape[1:3]
        patch = max(side for side in range(1, _PATCH + 1) if height % side == width % side == 0)
        if patch < _LEAST_PATCH:
            raise CalibrationError(
                f"pictures of {height}×{width} cannot be divided into patches: choose a --size whose sides have a "
                f"common divisor between {_LEAST_PATCH} and {_PATCH}"
            )
        axes = Axis.plain(height // patch), Axis.plain(width // patch)
        return (Plane(spec.name, 3 * patch * patch, *axes, patch=patch),)
    if len(spec.shape) == 3:
        tokens, channels = spec.shape[1:]
        side = isqrt(tokens)
        prefix = tokens - side * side
        if side < 2 or prefix > _PREFIX:  # a sequence
            return (Plane(spec.name, channels, Axis.of(1), Axis.of(tokens), (0, tokens)),)
        grid = Plane(spec.name, channels, Axis.of(side), Axis.of(side), (prefix, tokens))
        if not prefix:
            return (grid,)
        return Plane(f"{spec.name}/prefix", channels, Axis.of(1), Axis.of(prefix), (0, prefix)), grid
    channels, *sides = spec.shape[1:] or (1,)
    height, width = prod(sides[:-1]), sides[-1] if sides else 1
    return (Plane(spec.name, channels, Axis.of(height), Axis.of(width)),)


def tensor_of(spec: TensorSpec, planes: Sequence[Plane], values: Sequence[Array]) -> Array:
    """Puts planes (samples, channels, height, width) together to tensors (samples, …) again."""
    if patch := planes[0].patch:
        count, _, height, width = values[0].shape
        patches = values[0].reshape(count, patch, patch, -1, height, width).transpose(0, 4, 1, 5, 2, 3)
        pixels = np.clip(np.rint(patches), 0, 255).astype(spec.dtype)
        return np.ascontiguousarray(pixels).reshape(count, *spec.shape[1:])
    if planes[0].tokens is None:
        return values[0].reshape(len(values[0]), *spec.shape[1:]).astype(spec.dtype)
    tokens = [plane.reshape(*plane.shape[:2], -1).swapaxes(1, 2) for plane in values]
    joined: Array = np.concatenate(tokens, axis=1)
    return joined.astype(spec.dtype)
