from __future__ import annotations

import msgspec
import numpy as np
import pytest
from tests.support.toy import toy_bundle

from cutpoint.sdk import Bundle
from cutpoint.server.nodes.handover import Handover
from cutpoint.server.shared_slices import SliceTable


def _without(bundle: Bundle, point_id: str) -> Bundle:
    """The bundle with one point less."""
    points = tuple(point for point in bundle.points if point.id != point_id)
    manifest = msgspec.structs.replace(bundle.manifest, points=points, files=())
    return Bundle.create(manifest, {e.path: (e.part, bundle.read(e.path)) for e in bundle.manifest.files})


def _with_half(bundle: Bundle) -> Bundle:
    """The bundle with the point at half precision in place of the exact one."""
    points = tuple(
        msgspec.structs.replace(point, id="cut1-fp32-raw-fp16", level=0) if point.id == "cut1-fp32-raw-exact" else point
        for point in bundle.points
    )
    manifest = msgspec.structs.replace(bundle.manifest, points=points, files=())
    return Bundle.create(manifest, {e.path: (e.part, bundle.read(e.path)) for e in bundle.manifest.files})


def _handover(bundle: Bundle) -> Handover:
    return Handover(bundle, SliceTable(bundle))


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return toy_bundle()


def _features() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, 8, 4, 4)).astype(np.float32)


def test_nodes_hand_over_where_there_is_a_raw_point(bundle: Bundle) -> None:
    assert _handover(bundle).places["fp32"].nbytes == {0: 768, 1: 512, 2: 12}
    assert _handover(_without(bundle, "cut1-fp32-raw-exact")).places["fp32"].nbytes == {0: 768, 2: 12}


def test_tensors_go_as_they_are(bundle: Bundle) -> None:
    sample = _handover(bundle).onward(1, "fp32", (_features(),))
    assert sample.point.id == "cut1-fp32-raw-exact"
    assert sample.payload == _features().tobytes()


def test_or_at_half_precision_where_that_is_all_there_is(bundle: Bundle) -> None:
    sample = _handover(_with_half(bundle)).onward(1, "fp32", (_features(),))
    assert sample.point.id == "cut1-fp32-raw-fp16"
    assert sample.payload == _features().astype(np.float16).tobytes()
