"""How the head of a point is computed in slices (docs/overlap.md)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from cutpoint.sdk.bundle.files import GraphFile

if TYPE_CHECKING:
    from cutpoint.sdk.bundle.manifest import Manifest, Point

__all__ = ["RowRange", "Slice", "SliceStep", "Slicing", "fresh_rows", "slicing_problems"]

#: Rows `[a, b)` of a tensor.
RowRange = tuple[int, int]


class Slice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Some rows of a span's end, computed from the rows of its start that they depend on.

    Attributes:
        start: boundary of which it takes rows.
        end: boundary of which it gives rows.
        precision: as of spans.
        rows: of every tensor of `end`.
        needs: of each tensor of `start`.
        graphs: one per file format; they share weights with the spans.
    """

    start: int
    end: int
    precision: str
    rows: RowRange
    needs: tuple[RowRange, ...]
    graphs: tuple[GraphFile, ...]

    @property
    def key(self) -> tuple[int, int, str, RowRange]:
        """What identifies a slice in its bundle."""
        return self.start, self.end, self.precision, self.rows

    @property
    def name(self) -> str:
        """For people."""
        return f"slice {self.start}-{self.end}.{self.precision}, rows {self.rows[0]}-{self.rows[1]}"


class SliceStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A slice of a point's head, with what calibration measured of it; milliseconds on the calibrating machine.

    Attributes:
        rows: of the boundary where the head ends.
        device_ms: head and encoder of the slice, or the picture's encoder.
        nbytes: what they give, in the mean.
        server_ms: decoder, and the head where the server computes the slice.
    """

    rows: RowRange
    device_ms: float
    nbytes: float
    server_ms: float


class Slicing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """In which slices a head is computed, and by whom.

    The first `pictures` slices are sent as picture, each row of the picture once, and computed by the server; the
    device computes the others. Each is sent as soon as it is there.

    Attributes:
        steps: from the first row of the boundary to its last, without gaps; at least two.
        pictures: how many of them go as picture.
        picture_codec: `CodecEntry.id`, at boundary 0; None where no slice goes as picture.
        picture_level: of that codec.
    """

    steps: tuple[SliceStep, ...]
    pictures: int = 0
    picture_codec: str | None = None
    picture_level: int = 0

    def on_device(self, scale: float) -> Slicing:
        """The same on a device that computes so many times slower."""
        steps = (msgspec.structs.replace(step, device_ms=scale * step.device_ms) for step in self.steps)
        return msgspec.structs.replace(self, steps=tuple(steps))


def fresh_rows(slices: Sequence[Slice]) -> list[RowRange]:
    """Of each slice, from the top down, the rows of its start that no slice above it needs: a row is sent once."""
    stops = [0]
    for piece in slices:
        stops.append(max(stops[-1], *(stop for _, stop in piece.needs)))
    return list(pairwise(stops))


def slicing_problems(manifest: Manifest) -> Iterator[str]:
    """What is wrong with a manifest's slices and with the points that use them, for people."""
    slices = {piece.key: piece for piece in manifest.slices}
    if len(slices) < len(manifest.slices):
        yield "two slices have the same name"
    for boundary in manifest.boundaries:
        axis = boundary.row_axis
        if axis is not None:
            heights = {tensor.shape[axis] for tensor in boundary.tensors if 0 < axis < len(tensor.shape)}
            if len(heights) != 1 or any(axis >= len(tensor.shape) for tensor in boundary.tensors):
                yield f"boundary {boundary.index}: its tensors do not have one number of rows along axis {axis}"
                return
    for piece in manifest.slices:
        yield from _slice_problems(manifest, piece)
    for point in manifest.points:
        if point.slicing is not None:
            yield from _point_problems(manifest, point, point.slicing, slices)


def _slice_problems(manifest: Manifest, piece: Slice) -> Iterator[str]:
    what = f"slice {piece.start}-{piece.end}.{piece.precision} rows {piece.rows[0]}-{piece.rows[1]}"
    if not 0 <= piece.start < piece.end < manifest.last:
        yield f"{what} is not between two boundaries"
        return
    start, end = manifest.boundaries[piece.start], manifest.boundaries[piece.end]
    if len(piece.needs) != len(start.tensors):
        yield f"{what}: 'needs' is not for the {len(start.tensors)} tensors of boundary {piece.start}"
    for boundary, ranges in ((end, (piece.rows,)), (start, piece.needs)):
        height = boundary.height
        if not all(0 <= first < stop <= height for first, stop in ranges):
            yield f"{what}: boundary {boundary.index} has {height} rows, and not these"
    if not piece.graphs:
        yield f"{what} has no graph file"


def _point_problems(
    manifest: Manifest, point: Point, slicing: Slicing, slices: dict[tuple[int, int, str, RowRange], Slice]
) -> Iterator[str]:
    what = f"sliced point {point.id!r}"
    if point.codec is None or point.exit is not None or not 0 < point.start == point.end < manifest.last:
        yield f"{what} has an exit, no codec, or one that replaces layers"
        return
    rows = [step.rows for step in slicing.steps]
    borders = [0, *(stop for _, stop in rows)]
    if len(rows) < 2 or rows != list(pairwise(borders)) or borders[-1] != manifest.boundaries[point.start].height:
        yield f"{what}: its slices do not follow one another over all rows of boundary {point.start}"
    if not 0 <= slicing.pictures <= len(rows):
        yield f"{what}: {slicing.pictures} of {len(rows)} slices cannot go as picture"
    for number, part in enumerate(rows):
        precision = point.tail_precision if number < slicing.pictures else point.precision
        if (0, point.start, precision, part) not in slices:
            yield f"{what} has no slice 0-{point.start}.{precision} rows {part[0]}-{part[1]}"
    if (slicing.picture_codec is not None) != (slicing.pictures > 0):
        yield f"{what}: a codec for the picture is there where slices go as picture, and only there"
    if slicing.picture_codec is not None:
        codec = next((codec for codec in manifest.codecs if codec.id == slicing.picture_codec), None)
        if codec is None or codec.start != 0 or codec.end != 0 or not 0 <= slicing.picture_level < len(codec.levels):
            yield f"{what}: codec {slicing.picture_codec!r} is not at boundary 0, or lacks the level"
