import numpy as np
import pytest
from tests.support.toy import picture, toy_bundle

from cutpoint.calibration.measure import answers, measure_points, uncut_answers
from cutpoint.calibration.points import group_by_head
from cutpoint.calibration.tasks import Judge
from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.head import Head
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.sdk.tail import Tail


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return toy_bundle()


def _samples(head: Head) -> list[tuple[Array, ...]]:
    return [head.prepare(picture(number % 3, seed=number)) for number in range(6)]


def test_what_is_measured_is_what_runs(bundle: Bundle) -> None:
    graphs = BundleGraphs(bundle, [create_runtime("onnx")])
    head, tail = Head(graphs), Tail(graphs)
    for group in group_by_head(bundle.points):
        for sample in _samples(head):
            for point, answer, size in answers(graphs, group, sample):
                device = head.run(point, sample)
                wanted = device.outputs if device.payload is None else tail.run(point, device.payload).outputs
                assert wanted is not None
                assert size == len(device.payload or b"")
                np.testing.assert_array_equal(answer[0], wanted[0])


def test_metric_bytes_and_times(bundle: Bundle) -> None:
    graphs = BundleGraphs(bundle, [create_runtime("onnx")])
    samples = _samples(Head(graphs))
    steps: list[None] = []
    uncut = uncut_answers(graphs, samples, lambda: steps.append(None))
    judge = Judge(bundle.manifest.boundaries[-1].tensors, [number % 3 for number in range(6)], uncut)
    assert len(steps) == 6
    for group in group_by_head(bundle.points):
        for key, measured in measure_points(graphs, group, samples, judge).items():
            point = bundle.points[bundle.point_number(key)]
            assert 0 <= measured.metric <= 1
            assert measured.bytes_mean <= measured.bytes_p95 or measured.bytes_mean == pytest.approx(
                measured.bytes_p95, rel=0.2
            )
            assert (measured.bytes_mean == 0) == point.local
            assert (measured.device_ms > 0) == (point.start > 0)
            assert (measured.tail_ms > 0) == (not point.local)
