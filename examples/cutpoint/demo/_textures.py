"""Tileable noise tables from which every natural-looking surface of the demo scenes is cut.

A table costs some milliseconds once per process; pictures then only gather from it, which is what keeps one picture
below ten milliseconds on one core.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

TABLE = 1024
"""Side of every table in texels; a power of two, so that wrapping is a bit mask."""

_MASK = TABLE - 1


def _resize_wrapped(grid: FloatArray) -> FloatArray:
    """Enlarge a small periodic square grid to TABLE × TABLE, bilinear, still periodic."""
    n = grid.shape[0]
    at = np.arange(TABLE, dtype=np.float32) * (n / TABLE)
    low = at.astype(np.int64)
    part = (at - low).astype(np.float32)
    part = part * part * (3.0 - 2.0 * part)
    high = (low + 1) % n
    rows = grid[low] * (1.0 - part)[:, None] + grid[high] * part[:, None]
    out: FloatArray = rows[:, low] * (1.0 - part)[None, :] + rows[:, high] * part[None, :]
    return out


@cache
def fractal(which: int) -> FloatArray:
    """Periodic 1/f-like noise.

    Args:
        which: number of the table, 0 … 7; different numbers are independent. 0 … 3 are smooth (clouds, outlines), 4 … 7
            are rough (leaves, asphalt, plaster).

    Raises:
        ValueError: there is no such table.

    Returns:
        float32 (TABLE, TABLE), mean about 0, standard deviation 1.
    """
    if not 0 <= which < 8:
        raise ValueError(f"no noise table {which}")
    # Amplitude ratio from one octave to the next finer one.
    roughness = 0.6 if which < 4 else 0.84
    rng = np.random.default_rng((0x7E47, which))
    out = np.zeros((TABLE, TABLE), np.float32)
    amplitude, side = 1.0, 4
    while side <= TABLE:
        out += np.float32(amplitude) * _resize_wrapped(rng.standard_normal((side, side), dtype=np.float32))
        amplitude *= roughness
        side *= 2
    out -= out.mean()
    out /= out.std()
    out.setflags(write=False)
    return out


@cache
def white(which: int) -> FloatArray:
    """Independent standard normal numbers, float32 (TABLE, TABLE)."""
    out = np.random.default_rng((0x3017E, which)).standard_normal((TABLE, TABLE), dtype=np.float32)
    out.setflags(write=False)
    return out


def gather(table: FloatArray, u: FloatArray, v: FloatArray) -> FloatArray:
    """Read a table at texel coordinates (nearest, wrapping); u and v broadcast against each other."""
    row = v.astype(np.int32) & _MASK
    column = u.astype(np.int32) & _MASK
    out: FloatArray = table.ravel()[row * TABLE + column]
    return out


def window(table: FloatArray, rng: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
    """A rectangle of the table at a random place, float32 `shape`; larger shapes wrap."""
    top, left = (int(v) for v in rng.integers(0, TABLE, 2))
    height, width = shape
    if top + height <= TABLE and left + width <= TABLE:
        return table[top : top + height, left : left + width]
    rows = (top + np.arange(height)) & _MASK
    columns = (left + np.arange(width)) & _MASK
    wrapped: FloatArray = table[rows[:, None], columns[None, :]]
    return wrapped
