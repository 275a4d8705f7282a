"""Slices in a manifest: what may be said of them, and what readers refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.slices import HEAD_ROWS, sliced_bundle
from tests.support.toy import toy_bundle

from cutpoint.sdk.bundle import Bundle, Slice, decode_manifest, encode_manifest
from cutpoint.sdk.bundle.slicing import fresh_rows
from cutpoint.sdk.errors import BundleError


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return sliced_bundle()


def test_what_was_written_is_read(bundle: Bundle) -> None:
    assert decode_manifest(encode_manifest(bundle.manifest)) == bundle.manifest
    point = bundle.points[bundle.point_number("sliced-affine-1")]
    assert [piece.rows for piece in bundle.slices_of(point)] == list(HEAD_ROWS)
    assert bundle.steps(point) == ()
    assert bundle.slice(0, 1, "fp32", (2, 3)).needs == ((8, 12),)
    with pytest.raises(BundleError, match="no slice for rows 1-3 of span 0-1 at precision 'fp32'"):
        bundle.slice(0, 1, "fp32", (1, 3))


def test_other_bundles_say_nothing_of_slices() -> None:
    plain = toy_bundle()
    text = encode_manifest(plain.manifest).decode()
    assert not any(word in text for word in ("slic", "row_axis"))
    assert plain.slices_of(plain.points[1]) == ()


def test_both_parts_hold_slices(bundle: Bundle) -> None:
    paths = {graph.file for piece in bundle.manifest.slices for graph in piece.graphs}
    for part in (bundle.part("device"), bundle.part("server"), bundle.part("device", runtime="onnx", precision="fp32")):
        assert all(path in part for path in paths)


def _change(manifest: Any, what: str, value: Any) -> None:
    *way, key = what.split("/")
    place = manifest
    for step in way:
        place = place[int(step) if isinstance(place, list) else step]
    place[int(key) if isinstance(place, list) else key] = value


@pytest.mark.parametrize(
    ("what", "value", "message"),
    [
        ("boundaries/1/row_axis", 4, "boundary 1: its tensors do not have one number of rows along axis 4"),
        ("boundaries/1/row_axis", 0, "boundary 1: its tensors"),
        ("boundaries/0/row_axis", None, r"rows 0-2: boundary 0 has 0 rows"),
        ("slices/0/end", 2, "slice 0-2.fp32 rows 0-2 is not between two boundaries"),
        ("slices/0/rows", [0, 5], "boundary 1 has 4 rows"),
        ("slices/0/rows", [2, 2], "boundary 1 has 4 rows"),
        ("slices/1/rows", [0, 2], "two slices have the same name"),
        ("slices/0/needs", [], "'needs' is not for the 1 tensors of boundary 0"),
        ("slices/0/needs", [[0, 17]], "boundary 0 has 16 rows"),
        ("slices/0/graphs", [], "slice 0-1.fp32 rows 0-2 has no graph file"),
        ("slices/0/graphs/0/file", "x.onnx", "slice 0-1.fp32 refers to 'x.onnx'"),
        ("points/8/slicing/steps/1/rows", [2, 4], "do not follow one another over all rows of boundary 1"),
        ("points/8/slicing/pictures", 4, "4 of 3 slices cannot go as picture"),
        ("points/8/slicing/pictures", 0, "a codec for the picture is there where slices go as picture"),
        ("points/8/slicing/picture_codec", "1-raw", "codec '1-raw' is not at boundary 0"),
        ("points/8/slicing/picture_level", 1, "or lacks the level"),
        ("points/8/precision", "int8", r"'sliced-raw-1' has no slice 0-1.int8 rows 2-3"),
        ("points/8/tail_precision", "int8", r"'sliced-raw-1' has no slice 0-1.int8 rows 0-2"),
        ("points/8/start", 0, "'sliced-raw-1' has an exit, no codec, or one that replaces layers"),
        ("points/8/slicing/unknown", 1, "unknown field"),
    ],
)
def test_what_does_not_hold_together_is_named(bundle: Bundle, what: str, value: Any, message: str) -> None:
    manifest = json.loads(encode_manifest(bundle.manifest))
    _change(manifest, what, value)
    with pytest.raises(BundleError, match=message):
        decode_manifest(json.dumps(manifest).encode())


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50)), min_size=1))
def test_a_row_is_sent_once(sizes: list[tuple[int, int]]) -> None:
    slices = [Slice(0, 1, "fp32", (0, 1), ((start, start + size),), ()) for start, size in sizes]
    fresh = fresh_rows(slices)
    sent = [row for start, stop in fresh for row in range(start, stop)]
    assert sent == list(range(max(start + size for start, size in sizes)))
    for (start, size), (_, there) in zip(sizes, fresh, strict=True):
        assert there >= start + size
