"""What the device sends of a sliced point, and what the server makes of it."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import pytest
from tests.support.slices import sliced_bundle
from tests.support.toy import noise

from cutpoint.codecs import BitstreamError, CodecError
from cutpoint.sdk import create_runtime
from cutpoint.sdk.bundle import Bundle, Point
from cutpoint.sdk.errors import GraphError
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.head import Head
from cutpoint.sdk.runtimes import Stop
from cutpoint.sdk.tail import Tail

SLICED = ["raw-0", "raw-1", "raw-3", "affine-0", "affine-1", "affine-2"]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return sliced_bundle()


@pytest.fixture(scope="module")
def head(bundle: Bundle) -> Head:
    return Head(BundleGraphs(bundle.part("device"), [create_runtime()]))


@pytest.fixture(scope="module")
def tail(bundle: Bundle) -> Tail:
    return Tail(BundleGraphs(bundle.part("server"), [create_runtime()]))


def point_of(bundle: Bundle, name: str) -> Point:
    return bundle.points[bundle.point_number(name)]


@pytest.mark.parametrize("name", SLICED)
def test_slices_give_what_the_whole_gives(bundle: Bundle, head: Head, tail: Tail, name: str) -> None:
    point = point_of(bundle, f"sliced-{name}")
    picture = head.prepare(noise(3))
    outputs = list(head.run_parts(point, picture))
    payloads = [output.payload or b"" for output in outputs]
    assert len(payloads) == 3
    assert all(len(part) <= most for part, most in zip(payloads, tail.slices.max_parts(point), strict=True))
    whole = point_of(bundle, "cut1-fp32-raw-exact" if "raw" in name else "cut1-fp32-affine-fine")
    sent = head.run(whole, picture).payload
    assert sent is not None
    (expected,), (got,) = tail.decode(whole, sent), tail.slices.assemble(point, payloads)
    if name in ("raw-0", "raw-1", "raw-3", "affine-0"):
        # Symbols of a slice are those of the whole: not even quantisation tells them apart.
        np.testing.assert_allclose(got, expected, atol=1e-4)
    elif name == "affine-2":
        np.testing.assert_allclose(got[:, :, 3:], expected[:, :, 3:], atol=1e-4)
    else:
        np.testing.assert_allclose(got[:, :, 2:], expected[:, :, 2:], atol=1e-4)
    (scores,) = tail.graph(point).run((got,))
    assert scores.shape == (1, 3)


def test_times_are_of_each_part(bundle: Bundle, head: Head) -> None:
    picture = head.prepare(noise(1))
    first, *rest = head.run_parts(point_of(bundle, "sliced-affine-1"), picture)
    assert first.head_ms == 0
    assert first.encode_ms > 0
    assert all(output.head_ms > 0 and output.encode_ms > 0 for output in rest)


def test_a_slow_device_waits_behind_every_slice(bundle: Bundle) -> None:
    waits: list[Hashable] = []

    def stretch(what: Hashable, processor: float, wall: float, stop: Stop) -> None:
        waits.append(what)

    slow = Head(BundleGraphs(bundle.part("device"), [create_runtime()]), stretch)
    parts = slow.run_parts(point_of(bundle, "sliced-raw-1"), slow.zeros())
    counts = []
    for _ in parts:
        counts.append(len(waits))
    # The picture's codec, and head and codec of two slices.
    assert counts == [1, 3, 5]
    assert len(set(waits)) == 5, "each is another computation"


def test_stops_between_slices(bundle: Bundle, head: Head) -> None:
    stop = Stop()
    parts = head.run_parts(point_of(bundle, "sliced-raw-0"), head.zeros(), stop)
    next(parts)
    stop.set()
    with pytest.raises(GraphError):
        next(parts)


def test_a_device_supports_what_it_has_files_for(bundle: Bundle) -> None:
    graphs = BundleGraphs(bundle.part("device"), [create_runtime()])
    assert all(graphs.supports(point) for point in bundle.points)
    none = BundleGraphs(bundle.part("device"), [])
    assert not any(none.supports(point_of(bundle, f"sliced-{name}")) for name in ("raw-1", "affine-1"))
    # Where the server computes everything, the device needs no graph.
    assert none.supports(point_of(bundle, "sliced-raw-3"))


def test_all_of_it_warms_up(bundle: Bundle, head: Head, tail: Tail) -> None:
    head.warm_up(bundle.points)
    tail.warm_up(bundle.points)
    assert tail.slices.max_parts(bundle.points[0]) == ()


def test_bytes_that_nobody_encoded(bundle: Bundle, tail: Tail) -> None:
    point = point_of(bundle, "sliced-raw-1")
    with pytest.raises(BitstreamError, match="5 bytes received"):
        tail.slices.rows(point, 2, b"short")
    with pytest.raises(BitstreamError):
        tail.slices.strip(point_of(bundle, "sliced-affine-1"), 0, b"no webp")


def test_codecs_that_look_at_all_rows_cannot_be_sliced(bundle: Bundle) -> None:
    graphs = BundleGraphs(bundle, [create_runtime()])
    with pytest.raises(CodecError, match=r"'delta' looks at all rows at once.*'raw' or 'affine'"):
        graphs.row_codec("1-delta", 2)
