import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.toy import toy_bundle

from cutpoint.calibration.report.compare import compare_views, front, hypervolume
from cutpoint.calibration.report.view import ShownPoint, View, make_view


def shown(nbytes: float, metric: float, name: str = "p") -> ShownPoint:
    return ShownPoint(name, 1, "cut 1", "", "affine", "int8", metric, nbytes, nbytes, nbytes + 120, 1.0)


def smaller(view: View, factor: float) -> View:
    points = tuple(
        msgspec.structs.replace(point, bytes=point.bytes * factor, id=f"{point.id}-small") if point.wire else point
        for point in view.points
    )
    return msgspec.structs.replace(view, points=points)


def test_a_bundle_and_itself() -> None:
    view = make_view(toy_bundle())
    same = compare_views(view, view)
    assert {row.ratio for row in same.equal} == {1.0}
    assert same.a_volume == same.b_volume > 0
    assert same.only_a == same.only_b == ()


def test_half_the_bytes_at_equal_accuracy() -> None:
    view = make_view(toy_bundle())
    found = compare_views(view, smaller(view, 0.5))
    assert [row.ratio for row in found.equal] == [pytest.approx(0.5)] * len(found.equal)
    assert found.b_volume > found.a_volume
    assert "cut1-fp32-affine-fine-small" in found.only_b
    assert "cut1-fp32-affine-fine" in found.only_a
    # All of the metric from 110 bytes on.
    assert found.equal[0].a_bytes == 110


def test_what_a_bundle_does_not_reach_has_no_bytes() -> None:
    view = make_view(toy_bundle())
    poor = msgspec.structs.replace(view, points=tuple(p for p in view.points if p.metric < 0.95))
    found = compare_views(view, poor)
    assert (found.equal[0].b_bytes, found.equal[0].ratio) == (None, None)
    # The local point alone is no front.
    nothing = msgspec.structs.replace(view, points=tuple(p for p in view.points if not p.wire))
    assert compare_views(nothing, nothing).a_volume == 0


def test_volume_of_a_square() -> None:
    points = front([shown(100, 0.5), shown(10, 0.5), shown(1000, 1.0)])
    assert [p.bytes for p in points] == [10, 1000]
    # Over three decades from 1 to 10,000: half of the height from 10 on, all of it from 1000 on.
    assert hypervolume(points, 1, 10_000, 0.0, 1.0) == pytest.approx((2 * 0.5 + 1 * 1.0) / 4)
    assert hypervolume((), 1, 10, 0, 1) == 0


@given(st.lists(st.tuples(st.floats(1, 1e6), st.floats(0, 1)), max_size=20), st.floats(1, 1e6), st.floats(0, 1))
def test_another_point_never_makes_it_smaller(pairs: list[tuple[float, float]], nbytes: float, metric: float) -> None:
    points = [shown(*pair) for pair in pairs]
    before = hypervolume(front(points), 1, 1e6, 0, 1)
    after = hypervolume(front([*points, shown(nbytes, metric)]), 1, 1e6, 0, 1)
    assert -1e-12 <= before <= after + 1e-12
    assert after <= 1 + 1e-12
    assert math.isfinite(after)
