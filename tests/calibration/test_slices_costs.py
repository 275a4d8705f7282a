"""What slices take: by arithmetic, and run by themselves."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from tests.support.networks import inspect, residual_net

from cutpoint.calibration.codecs.entries import raw_codec
from cutpoint.calibration.slices import Rows
from cutpoint.calibration.slices.costs import SliceCosts, Wire
from cutpoint.calibration.slices.points import local_boundaries
from cutpoint.calibration.slices.search import Cutting
from cutpoint.sdk.bundle import Boundary, Bundle, GraphFile, Manifest, Measurement, Point, Span, Task
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.runtimes import create_runtime

SIDE = 64
EXACT = Wire("raw", 1, "0-raw", 1)


@pytest.fixture(scope="module")
def costs() -> SliceCosts:
    graph = inspect(residual_net(side=SIDE))
    inner = Boundary(1, (graph.specs["r4"],), macs=sum(graph.macs[:-3]))
    plain = (Boundary(0, graph.inputs), inner, Boundary(2, graph.outputs))
    prefix, boundaries, local = local_boundaries(graph, plain)
    assert local == [1]
    assert [boundary.row_axis for boundary in boundaries[:2]] == [2, 2]
    whole = Span(0, 2, "fp32", (GraphFile("onnx", "spans/0-2.fp32.onnx"),))
    codecs = tuple(raw_codec(boundary).entry for boundary in boundaries[:2])
    local_point = Point("cut2-fp32", 2, 2, Measurement(1.0, 0, 0, 1.0), "fp32")
    task = Task("agreement", "agreement", 1.0, 1)
    manifest = Manifest(1, "net", "tests", task, boundaries, (whole,), codecs, (local_point,))
    bundle = Bundle.create(manifest, {"spans/0-2.fp32.onnx": ("both", graph.model.SerializeToString())})
    runtime = create_runtime()
    picture = np.random.default_rng(0).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)
    return SliceCosts(graph, prefix, BundleGraphs(bundle, [runtime]), runtime, [(picture,)])


WAY = Cutting(1, (Rows(0, 20), Rows(20, 32)))


def test_bytes_are_those_of_the_rows_and_each_row_of_the_picture_is_sent_once(costs: SliceCosts) -> None:
    for head in (costs.estimate(WAY, EXACT), costs.measure(WAY, EXACT)):
        upper, lower = head.slices
        assert (upper.nbytes, lower.nbytes) == (20 * 32 * 16 * 4, 12 * 32 * 16 * 4)
        row = SIDE * 3 * 4
        above = costs.piece(1, Rows(0, 20)).needs[0].stop
        assert 40 < above < SIDE
        assert (upper.picture_bytes, lower.picture_bytes) == pytest.approx((above * row, (SIDE - above) * row))
        assert upper.device_ms > lower.device_ms > 0
        assert upper.server_ms > lower.server_ms > 0
        assert head.tail_ms > 0


def test_what_is_measured_is_kept(costs: SliceCosts) -> None:
    assert costs.measure(WAY, EXACT) == costs.measure(WAY, EXACT)


def test_estimates_share_out_the_heads_time_by_computation(costs: SliceCosts) -> None:
    head_ms, (crossing,) = costs.head(1, None)
    assert crossing[0].shape == (1, 16, 32, 32)
    upper, _ = costs.estimate(WAY, EXACT).slices
    share = costs.piece(1, Rows(0, 20)).macs / costs.piece(1, Rows(0, 32)).macs
    assert upper.device_ms == pytest.approx(head_ms * share, rel=0.5)


def test_cuts_as_usual_are_one_slice(costs: SliceCosts) -> None:
    cut, picture = costs.unsliced(1, EXACT), costs.unsliced(0, EXACT)
    assert cut.slices[0].nbytes == 32 * 32 * 16 * 4
    assert picture.slices[0].nbytes == SIDE * SIDE * 3 * 4
    assert picture.tail_ms > cut.tail_ms
    # The server cannot be given a slice of these.
    assert cut.slices[0].picture_ms == inf
