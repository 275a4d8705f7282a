"""The device's share of a sliced point: one part of the payload after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Point, RowRange
from cutpoint.sdk.bundle.slicing import fresh_rows
from cutpoint.sdk.device_output import DeviceOutput
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.laps import Laps
from cutpoint.sdk.runtimes import Stop

__all__ = ["cut_rows", "run_slices"]


def cut_rows(tensors: Sequence[Array], axis: int | None, ranges: Sequence[RowRange]) -> tuple[Array, ...]:
    """Some rows of each of a boundary's tensors."""
    assert axis is not None, "the manifest was checked: slices begin and end where there are rows"
    front = (slice(None),) * axis
    return tuple(np.ascontiguousarray(t[(*front, slice(*rows))]) for t, rows in zip(tensors, ranges, strict=True))


def run_slices(
    graphs: BundleGraphs, point: Point, tensors: tuple[Array, ...], stop: Stop, laps: Laps
) -> Iterator[DeviceOutput]:
    """The parts of the payload, in their order; see `Head.run_parts`."""
    slicing = point.slicing
    assert slicing is not None
    assert point.codec is not None, "the manifest was checked"
    axis = graphs.bundle.manifest.boundaries[0].row_axis
    slices = graphs.bundle.slices_of(point)
    laps.begin()
    for number, rows in enumerate(fresh_rows(slices[: slicing.pictures])):
        payload = b""
        if rows[0] < rows[1]:
            assert slicing.picture_codec is not None, "the manifest was checked"
            codec = graphs.row_codec(slicing.picture_codec, rows[1] - rows[0])
            payload = codec.encode(cut_rows(tensors, axis, [rows] * len(tensors)), slicing.picture_level)
        yield DeviceOutput(payload, None, 0.0, laps.lap((point.id, number)))
        laps.begin()
    for piece in slices[slicing.pictures :]:
        outputs = graphs.slice(piece).run(cut_rows(tensors, axis, piece.needs), stop)
        head_ms = laps.lap(piece.key)
        codec = graphs.row_codec(point.codec, piece.rows[1] - piece.rows[0])
        yield DeviceOutput(
            codec.encode(outputs, point.level), None, head_ms, laps.lap((point.codec, point.level, piece.key))
        )
        laps.begin()
