"""How the queue tells slices apart."""

from __future__ import annotations

from tests.support.slices import sliced_bundle

from cutpoint.sdk import create_runtime
from cutpoint.server.slice_keys import slice_key, slice_seconds
from cutpoint.server.tails import load_tails


def test_slices_are_named_by_who_computes_them_and_their_rows() -> None:
    bundle = sliced_bundle()
    point = bundle.points[bundle.point_number("sliced-raw-1")]
    assert slice_key(point, 0) == (0, 1, "fp32 rows 0-2")
    assert slice_key(point, 2) == (1, 1, "fp32 rows 3-4")
    assert slice_seconds(bundle.points)[0, 1, "fp32 rows 0-2"] == 1e-4
    assert slice_seconds(bundle.points[:7]) == {}


def test_a_server_knows_what_parts_may_hold() -> None:
    bundle = sliced_bundle()
    _, loaded = load_tails(bundle.part("server"), create_runtime())
    number = bundle.point_number("sliced-raw-1")
    # Half of the picture's pixels; one row of eight channels of four floats.
    assert loaded.max_parts[number] == (8 * 16 * 3, 128, 128)
    assert loaded.max_parts.keys() == {bundle.point_number(p.id) for p in bundle.points if p.slicing is not None}
    assert set(loaded.slices) == set(slice_seconds(bundle.points))
    # What is done for slices does not count as the tail's.
    assert loaded.tails[1, "fp32"].seconds < 2e-4
