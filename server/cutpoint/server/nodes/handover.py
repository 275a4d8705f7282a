"""Tensors that go from one node to another."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

from cutpoint.codecs import Array, CodecParts, RawCodec
from cutpoint.sdk.bundle import Bundle, Manifest, Point
from cutpoint.server.nodes.planner import RowSlice, Span, Way
from cutpoint.server.nodes.roster import Places
from cutpoint.server.nodes.slicing import find_ways
from cutpoint.server.shared_slices import SliceTable
from cutpoint.server.tails import Encoded

__all__ = ["Handover"]


class Handover:
    """How a model's tensors go from one node to another: as the point with the codec `raw` at their boundary.

    Exactly, where the bundle has a point for that; otherwise at half precision.

    Args:
        bundle: of the model.
        slices: of the bundle.
    """

    def __init__(self, bundle: Bundle, slices: SliceTable) -> None:
        manifest = bundle.manifest
        codecs = {entry.id: entry for entry in manifest.codecs if entry.codec == RawCodec.codec_id}
        #: By boundary and precision of the tail behind it.
        self._points: dict[tuple[int, str], Point] = {}
        for point in bundle.points:
            if point.codec in codecs and point.tail_precision is not None and point.slicing is None:
                place = point.end, point.tail_precision
                if place not in self._points or codecs[point.codec].levels[point.level] == "exact":
                    self._points[place] = point
        self._codecs = {
            point.id: RawCodec(
                CodecParts(
                    source=manifest.boundaries[point.end].tensors,
                    target=manifest.boundaries[point.end].tensors,
                    levels=codecs[point.codec or ""].levels,
                )
            )
            for point in self._points.values()
        }
        macs = tuple(boundary.macs for boundary in manifest.boundaries)
        last = manifest.boundaries[-1]
        #: By precision.
        self.places = {
            precision: Places({last.index: last.nbytes}, macs)
            for precision in {point.tail_precision for point in bundle.points if point.tail_precision is not None}
        }
        for boundary, precision in self._points:
            nbytes = self.places[precision].nbytes | {boundary: manifest.boundaries[boundary].nbytes}
            self.places[precision] = Places(nbytes, macs)
        for precision, places in self.places.items():
            self.places[precision] = replace(places, ways=_ways(manifest, slices, precision, places.nbytes))

    def onward(self, boundary: int, precision: str, tensors: tuple[Array, ...]) -> Encoded:
        """A boundary's tensors as a request of their own. Copying them is too little work for a thread."""
        point = self._points[boundary, precision]
        return Encoded(point, self._codecs[point.id].encode(tensors, point.level))


def _ways(
    manifest: Manifest, slices: SliceTable, precision: str, usable: Container[int]
) -> dict[Span, tuple[Way, ...]]:
    """The ways in which spans are there in slices: those behind which nodes can hand over, too."""
    pieces: dict[Span, dict[tuple[int, int], RowSlice]] = {}
    for number, piece in enumerate(slices.slices):
        if piece.precision == precision and piece.end in usable:
            found = RowSlice(number, slices.takes(number), slices.gives(number))
            pieces.setdefault((piece.start, piece.end), {})[piece.rows] = found
    found_ways = {span: find_ways(its, manifest.boundaries[span[1]].height) for span, its in pieces.items()}
    return {span: ways for span, ways in found_ways.items() if ways}
