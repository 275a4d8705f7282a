"""What the queue calls the slices of sliced points: spans, the precision of which names their rows."""

from __future__ import annotations

from collections.abc import Iterable

from cutpoint.sdk.bundle import Point

__all__ = ["slice_key", "slice_seconds"]


def slice_key(point: Point, number: int) -> tuple[int, int, str]:
    """Boundaries and precision of a slice. One that the device computes begins and ends at the same boundary."""
    assert point.slicing is not None
    first, stop = point.slicing.steps[number].rows
    start = 0 if number < point.slicing.pictures else point.end
    return start, point.end, f"{point.tail_precision} rows {first}-{stop}"


def slice_seconds(points: Iterable[Point]) -> dict[tuple[int, int, str], float]:
    """Seconds of a worker for every slice of `points`, as calibration measured them."""
    return {
        slice_key(point, number): step.server_ms / 1e3
        for point in points
        if point.slicing is not None
        for number, step in enumerate(point.slicing.steps)
    }
