"""Receptive-field arithmetic: which rows of its input an operator needs for some rows of its output."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

__all__ = ["Rows", "Window", "balanced_rows", "even_rows", "hull", "tapered_rows"]

#: Halvings of the range in which the least longest time of balanced slices lies.
_HALVINGS = 30


@dataclass(frozen=True, slots=True, order=True)
class Rows:
    """Rows of a tensor, `start` … `stop` − 1."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def within(self, height: int) -> Rows:
        """Those that a tensor of `height` rows has; what is missing is padding."""
        return Rows(max(0, self.start), min(height, self.stop))

    def after(self, first: int) -> Rows:
        """The same rows, counted from row `first`."""
        return Rows(self.start - first, self.stop - first)


@dataclass(frozen=True, slots=True)
class Window:
    """How an operator uses rows: output row r · factor + i, i < factor, needs `size` rows from r · stride − before.

    The defaults are a pointwise operator.

    Attributes:
        size: rows from the first to the last that it needs, dilation included.
        stride: rows of input from one output row to the next.
        before: rows of padding above the tensor.
        factor: output rows that are made of the same input rows; more than one where rows are repeated.
    """

    size: int = 1
    stride: int = 1
    before: int = 0
    factor: int = 1

    def needs(self, rows: Rows) -> Rows:
        """The rows of input that `rows` of output need, those in the padding included."""
        first, last = rows.start // self.factor, (rows.stop - 1) // self.factor
        return Rows(first * self.stride - self.before, last * self.stride - self.before + self.size)

    def gives(self, rows: Rows) -> Rows:
        """The rows of output that come of what `rows` need: where rows are repeated, all repetitions."""
        return Rows(rows.start // self.factor * self.factor, -(-rows.stop // self.factor) * self.factor)


def hull(several: Iterable[Rows]) -> Rows:
    """The smallest range that holds all of `several`."""
    starts, stops = zip(*((rows.start, rows.stop) for rows in several), strict=True)
    return Rows(min(starts), max(stops))


def even_rows(height: int, count: int) -> tuple[Rows, ...]:
    """`height` rows in `count` slices whose heights differ by one at most. There are never more slices than rows."""
    return _in_parts(height, [1] * min(count, height))


def tapered_rows(height: int, count: int) -> tuple[Rows, ...]:
    """`height` rows in at most `count` slices, each about half as high as the one above: the last is soon done."""
    return _in_parts(height, [2**number for number in reversed(range(count))])


def balanced_rows(height: int, speeds: Sequence[float], macs: Callable[[Rows], int]) -> tuple[Rows, ...]:
    """`height` rows in slices, from the top down one for each of `speeds`, of which the longest takes the least time.

    Args:
        height: at least as many as there are speeds.
        speeds: of the machines that compute the slices, relative to each other; above 0.
        macs: multiply-accumulates of some rows; more for more rows.
    """

    def reach(start: int, speed: float, longest: float) -> int:
        """The row behind the last that a slice from `start` on can have in that time."""
        low, high = start, height
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if macs(Rows(start, middle)) / speed <= longest else (low, middle - 1)
        return low

    def slices(longest: float) -> tuple[Rows, ...] | None:
        """As high as they can be in that time, from the top down; None if that is not all rows."""
        found = [0]
        for left, speed in zip(reversed(range(len(speeds))), speeds, strict=True):
            stop = min(reach(found[-1], speed, longest), height - left)
            if stop == found[-1]:
                return None
            found.append(stop)
        return tuple(Rows(*pair) for pair in pairwise(found)) if found[-1] == height else None

    low, high = 0.0, macs(Rows(0, height)) / min(speeds)
    best = slices(high)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        found = slices(middle)
        low, high, best = (middle, high, best) if found is None else (low, middle, found)
    assert best is not None, "in the time that all rows take the slowest, there is a way"
    return best


def _in_parts(height: int, shares: list[int]) -> tuple[Rows, ...]:
    """Slices whose heights are in proportion to `shares`, without empty ones."""
    borders = [height * done // (sum(shares) or 1) for done in accumulate(shares, initial=0)]
    return tuple(Rows(*pair) for pair in pairwise(borders) if pair[0] < pair[1])
