from pathlib import Path

import numpy as np
import pytest
from tests.support.toy import picture, toy_bundle

from cutpoint.calibration.data import Source
from cutpoint.calibration.search.measure import Bench, answers, uncut_answers
from cutpoint.calibration.search.points import group_by_head
from cutpoint.calibration.tasks import Situation, make_judge
from cutpoint.calibration.work import WorkFolder
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


def _bench(bundle: Bundle, folder: Path) -> Bench:
    graphs = BundleGraphs(bundle, [create_runtime("onnx")])
    samples = _samples(Head(graphs))
    steps: list[None] = []
    uncut = uncut_answers(graphs.span(0, bundle.manifest.last, "fp32"), samples, lambda: steps.append(None))
    assert len(steps) == 6
    sources = tuple(Source(Path(f"{number}"), f"{number}", number % 3) for number in range(6))
    judge = make_judge("auto", Situation(bundle.manifest.boundaries[-1].tensors, sources, uncut))
    return Bench(graphs, samples, judge, WorkFolder(folder), "key")


def test_a_first_look(bundle: Bundle, tmp_path: Path) -> None:
    bench = _bench(bundle, tmp_path)
    for group in group_by_head(bundle.points):
        for key, probe in bench.probe(group, 3).items():
            point = bundle.points[bundle.point_number(key)]
            assert (probe.distortion is None) == point.local
            assert (probe.bytes_mean == 0) == point.local
            assert (probe.times.tail_ms > 0) == (not point.local)
            if key.endswith("fp32-raw-exact") or key == "cut0-raw-exact":
                assert probe.distortion == pytest.approx(0, abs=1e-9)


def test_answers_come_in_parts_and_are_kept(bundle: Bundle, tmp_path: Path) -> None:
    bench = _bench(bundle, tmp_path)
    (group, *_) = group_by_head(bundle.points)
    steps: list[None] = []
    whole = bench.judge(group, 0, 6)
    first, second = bench.judge(group, 0, 2), bench.judge(group, 2, 6, lambda: steps.append(None))
    assert len(steps) == 4
    assert {key: first[key] + second[key] for key in first} == whole
    assert bench.judge(group, 2, 6, lambda: steps.append(None)) == second
    assert len(steps) == 4
    for found in whole.values():
        assert 0 <= bench.score({n: answer.verdict for n, answer in enumerate(found)}) <= 1


def test_times(bundle: Bundle, tmp_path: Path) -> None:
    bench = _bench(bundle, tmp_path)
    for group in group_by_head(bundle.points):
        for key, times in bench.times(group).items():
            point = bundle.points[bundle.point_number(key)]
            assert (times.device_ms > 0) == (point.start > 0)
            assert (times.tail_ms > 0) == (not point.local)
        assert bench.times(group) == bench.times(group)
