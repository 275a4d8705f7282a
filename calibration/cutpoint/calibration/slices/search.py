"""The best schedule of a sliced head: many ways by arithmetic, the promising ones by measurement."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, product

from cutpoint.calibration.slices.rows import Rows, even_rows, tapered_rows
from cutpoint.sdk.overlap import ChannelState, Schedule, SlicedHead, best_schedule

__all__ = ["Cutting", "cuttings", "search_schedule"]

#: Seams between the server's rows and the device's that are tried at a boundary.
_SEAMS = 14
#: Slices that either of them gets at most.
_MOST = {"server": 4, "device": 3}


@dataclass(frozen=True, slots=True)
class Cutting:
    """The rows of a boundary in slices, from the top down."""

    boundary: int
    slices: tuple[Rows, ...]


def cuttings(boundary: int, height: int) -> Iterator[Cutting]:
    """Ways of cutting `height` rows: a seam, even or tapered slices on both sides of it. One slice is among them."""
    seen = set()
    seams = sorted({height * number // _SEAMS for number in range(_SEAMS + 1)})
    for seam, above, below in product(seams, _splits("server"), _splits("device")):
        lower = (Rows(seam + rows.start, seam + rows.stop) for rows in below(height - seam))
        slices = (*above(seam), *lower)
        if slices not in seen:
            seen.add(slices)
            yield Cutting(boundary, slices)


def _splits(side: str) -> list[Callable[[int], tuple[Rows, ...]]]:
    """Ways of cutting what lies on one side of the seam."""
    counts = range(1, _MOST[side] + 1)
    return [partial(split, count=count) for split in (even_rows, tapered_rows) for count in counts]


def search_schedule(
    ways: Sequence[Cutting],
    unsliced: Sequence[SlicedHead],
    local_ms: float,
    state: ChannelState,
    estimate: Callable[[Cutting], SlicedHead],
    measure: Callable[[Cutting], SlicedHead],
    finalists: int = 4,
) -> tuple[Schedule, Cutting | None]:
    """The best schedule for a state, no worse than any of `unsliced` or the device alone: they are measured, too.

    Args:
        ways: to consider.
        unsliced: cuts as usual, and the whole picture to the server; measured.
        local_ms: the whole model on the calibrating machine; measured.
        state: of link, device and server.
        estimate: what the slices of a way will take, without running them.
        measure: what they do take.
        finalists: how many ways are measured: those with the best estimates.

    Returns:
        The schedule, and the cutting behind it; None if that is one of `unsliced` or the device alone.
    """
    nothing = float("inf")  # The device alone is no rival here.
    ranked = sorted(ways, key=lambda way: best_schedule([estimate(way)], nothing, state).latency_ms)
    measured = {measure(way): way for way in ranked[:finalists]}
    best = best_schedule(chain(unsliced, measured), local_ms, state)
    return best, measured.get(best.head) if best.head is not None else None
