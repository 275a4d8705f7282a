"""Searches over a real bundle of a small network; what it costs to compute is counted, not timed."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from tests.support.networks import picture_folder, residual_net

from cutpoint.calibration.data import load_samples, open_dataset
from cutpoint.calibration.pipeline import run_calibration
from cutpoint.calibration.progress import SilentReporter
from cutpoint.calibration.search.constraints import Constraints, Weights
from cutpoint.calibration.search.front import Box, hypervolume
from cutpoint.calibration.search.halving import search
from cutpoint.calibration.search.measure import Answer, Bench, Probe, uncut_answers
from cutpoint.calibration.search.points import find_baselines
from cutpoint.calibration.search.scope import KNOWN_DEVICE, MODES, Scope
from cutpoint.calibration.search.trials import Trial, front_costs, report_trial
from cutpoint.calibration.settings import Settings
from cutpoint.calibration.tasks import Situation, make_judge
from cutpoint.calibration.work import WorkFolder
from cutpoint.sdk.bundle import Bundle, Measurement, Point
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.runtimes import create_runtime

SAMPLES = 48


class Counting(Bench):
    """A bench whose times are multiply-accumulates and values, ten thousand and one thousand for a millisecond.

    Attributes:
        judged: (point, sample) pairs that were run.
        seconds: of a clock that stands still but while answers are judged.
    """

    judged = 0
    seconds = 0.0

    def _counted(self, point: Point) -> Measurement:
        manifest = self._graphs.bundle.manifest
        head = manifest.boundaries[point.start].macs * (0.4 if point.precision == "int8" else 1.0)
        values = manifest.boundaries[point.start].nbytes / 4
        coding = 0.0 if point.codec is None else values / 1e3 * (3 if point.codec.endswith("klt") else 1)
        tail = manifest.boundaries[-1].macs - manifest.boundaries[point.end].macs
        return Measurement(0.0, 0.0, 0.0, head / 1e4, coding, coding, tail / 1e4)

    def probe(self, points: Sequence[Point], samples: int) -> dict[str, Probe]:
        found = super().probe(points, samples)
        return {p.id: msgspec.structs.replace(found[p.id], times=self._counted(p)) for p in points}

    def judge(
        self, points: Sequence[Point], start: int, stop: int, advance: Callable[[], None] = lambda: None
    ) -> dict[str, list[Answer]]:
        self.judged += len(points) * (stop - start)
        self.seconds += sum(self._counted(p).tail_ms for p in points) * (stop - start) / 1e3
        return super().judge(points, start, stop, advance)

    def times(self, points: Sequence[Point]) -> dict[str, Measurement]:
        return {point.id: self._counted(point) for point in points}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("search")
    onnx.save(residual_net(), str(folder / "net.onnx"))
    data = picture_folder(folder / "data", 12, classes=5)
    settings = Settings(str(folder / "net.onnx"), data, folder / "net", calibration_samples=6, samples=2, keep_all=True)
    return run_calibration(settings, SilentReporter()).bundle


@pytest.fixture
def bench(bundle: Bundle, tmp_path: Path) -> Counting:
    loaded = load_samples(
        open_dataset(picture_folder(tmp_path / "data", SAMPLES)).sources,
        SAMPLES,
        bundle.manifest.boundaries[0].tensors,
        bundle.manifest.preprocessing,
    )
    graphs = BundleGraphs(bundle, [create_runtime("onnx")])
    uncut = uncut_answers(graphs.span(0, bundle.manifest.last, "fp32"), loaded.tensors, lambda: None)
    outputs = bundle.manifest.boundaries[-1].tensors
    judge = make_judge("embedding", Situation(outputs, tuple(loaded.sources), uncut))
    return Counting(graphs, loaded.tensors, judge, WorkFolder(tmp_path / "work"), bundle.hash)


def _scope(bundle: Bundle, mode: str = "default", **changes: object) -> Scope:
    manifest = bundle.manifest
    baselines = find_baselines(manifest.points, manifest.codecs)
    return replace(Scope(MODES[mode], baselines, f"cut{manifest.last}-fp32"), **changes)  # type: ignore[arg-type]


def _search(bundle: Bundle, bench: Counting, scope: Scope, deadline: float | None = None) -> list[Trial]:
    bench.judged = 0
    return search(bundle.points, bench, scope, SilentReporter(), lambda: bench.seconds, deadline)


def _table(trials: Sequence[Trial]) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    return np.array([trial.metric for trial in trials]), front_costs([trial.measured for trial in trials])


def _kept(trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.kept]


@pytest.mark.parametrize("mode", ["default", "quick"])
def test_the_front_is_that_of_an_exhaustive_search(bundle: Bundle, bench: Counting, mode: str) -> None:
    everything = _search(bundle, bench, _scope(bundle, "exhaustive"))
    work = bench.judged
    assert work == len(bundle.points) * SAMPLES
    found = _search(bundle, bench, _scope(bundle, mode))
    assert bench.judged < work
    box = Box.around(*_table(everything), 0.5)
    best = hypervolume(*_table(_kept(everything)), box)
    assert best > 0.1
    assert hypervolume(*_table(_kept(found)), box) >= (0.98 if mode == "default" else 0.95) * best


def test_every_trial_has_a_reason_and_what_is_kept_was_measured_on_all(bundle: Bundle, bench: Counting) -> None:
    trials = _search(bundle, bench, _scope(bundle, most=8))
    assert [trial.point for trial in trials] == list(bundle.points)
    assert all(trial.reason for trial in trials)
    assert all(len(trial.verdicts) == SAMPLES for trial in trials if trial.kept)
    baselines = _scope(bundle).baselines
    assert {trial.id for trial in trials if trial.reason == "baseline"} == baselines
    assert len(_kept(trials)) <= 8 + len(baselines)
    for trial in trials:
        told = report_trial(trial, bundle.manifest)
        assert (told.point, told.kept, told.reason) == (trial.id, trial.kept, trial.reason)
        assert told.samples == len(trial.verdicts)


def test_the_same_seed_gives_the_same_points(bundle: Bundle, bench: Counting) -> None:
    first = [(t.id, t.reason) for t in _search(bundle, bench, _scope(bundle, most=6))]
    assert [(t.id, t.reason) for t in _search(bundle, bench, _scope(bundle, most=6))] == first


def test_constraints_bind_all_but_baselines(bundle: Bundle, bench: Counting) -> None:
    limits = Constraints(accuracy_drop=0.01, bytes=400, device_memory=1000)
    sizes = {point.id: 2000 if point.precision == "fp32" else 500 for point in bundle.points}
    scope = _scope(bundle, constraints=limits, memory=lambda point: sizes[point.id])
    trials = _search(bundle, bench, scope)
    uncut = next(trial.metric for trial in trials if trial.id == scope.uncut)
    assert uncut == pytest.approx(1.0)
    for trial in trials:
        if trial.kept and trial.reason != "baseline":
            assert trial.metric is not None
            assert trial.metric >= uncut - 0.01 - 1e-9
            assert trial.measured.bytes_mean <= 400
            assert trial.point.precision != "fp32"
    reasons = " ".join(trial.reason for trial in trials)
    assert "device_memory is 2,000, more than 1,000" in reasons
    assert "bytes is" in reasons
    assert all(trial.kept for trial in trials if trial.id in scope.baselines)


def test_weights_decide_what_is_kept(bundle: Bundle, bench: Counting) -> None:
    def mean_bytes(weights: Weights) -> float:
        trials = _search(bundle, bench, _scope(bundle, most=5, constraints=Constraints(weights=weights)))
        return float(np.mean([t.measured.bytes_mean for t in trials if t.kept and t.reason != "baseline"]))

    assert mean_bytes(Weights(bytes=3, accuracy=0.2)) < mean_bytes(Weights(bytes=0, accuracy=3))


def test_a_budget_is_kept_to(bundle: Bundle, bench: Counting) -> None:
    scope = _scope(bundle, "exhaustive")
    _search(bundle, bench, scope)
    everything, bench.seconds = bench.seconds, 0.0
    trials = _search(bundle, bench, scope, deadline=0.5 * everything)
    assert bench.seconds <= 0.5 * everything
    assert any(trial.reason.startswith("budget: no time for it in rung 1") for trial in trials)
    assert all(trial.kept for trial in trials if trial.id in scope.baselines)


def test_a_budget_that_is_spent_leaves_a_few_trials(bundle: Bundle, bench: Counting) -> None:
    scope = _scope(bundle)
    trials = _search(bundle, bench, scope, deadline=-1.0)
    judged = [trial for trial in trials if trial.verdicts]
    assert len(judged) <= len(scope.baselines) + 12
    assert len(_kept(trials)) > len(scope.baselines)


def test_all_can_be_kept(bundle: Bundle, bench: Counting) -> None:
    assert len(_kept(_search(bundle, bench, _scope(bundle, keep_all=True)))) == len(bundle.points)


def test_a_device_that_is_slow_at_one_precision_keeps_others(bundle: Bundle, bench: Counting) -> None:
    def slow_int8(point: Point) -> Point:
        factor = 50.0 if point.precision == "int8" else 1.0
        m = point.measured
        return msgspec.structs.replace(
            point, measured=msgspec.structs.replace(m, device_ms=factor * m.device_ms, energy_mj=None)
        )

    here = _kept(_search(bundle, bench, _scope(bundle)))
    there = _kept(_search(bundle, bench, _scope(bundle, on_device=slow_int8, slower=KNOWN_DEVICE)))
    baselines = _scope(bundle).baselines

    def int8(trials: Sequence[Trial]) -> float:
        chosen = [trial for trial in trials if trial.id not in baselines and trial.point.start]
        return float(np.mean([trial.point.precision == "int8" for trial in chosen]))

    assert int8(here) > 0
    assert int8(there) < int8(here)
    times = {trial.id: trial.measured.device_ms for trial in here}
    # What is published are still the times of the machine that measured.
    assert all(trial.measured.device_ms == times[trial.id] for trial in there if trial.id in times)


def test_constraints_are_those_of_the_device(bundle: Bundle, bench: Counting) -> None:
    def slow(point: Point) -> Point:
        measured = msgspec.structs.replace(point.measured, device_ms=point.measured.device_ms + 1000)
        return msgspec.structs.replace(point, measured=measured)

    scope = _scope(bundle, on_device=slow, constraints=Constraints(device_ms=500))
    trials = _search(bundle, bench, scope)
    assert {trial.id for trial in _kept(trials)} == set(scope.baselines)
    assert all("device_ms" in trial.reason for trial in trials if not trial.kept)
