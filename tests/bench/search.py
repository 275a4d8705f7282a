"""What a search finds in each mode and with several seeds, beside every combination on every sample.

MobileNetV1 0.25 on 200 photographs. Every combination is measured once; the searches take what they ask for from these
figures, and their clock goes on by the time that it took. So only the choice is compared, not how busy the machine was,
and a seed costs no time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from rich.table import Table
from tests.support.torch_models import shared_root

from cutpoint.calibration.data import load_samples, open_dataset, shuffled
from cutpoint.calibration.pipeline import run_calibration
from cutpoint.calibration.progress import SilentReporter
from cutpoint.calibration.search.front import Box, hypervolume
from cutpoint.calibration.search.halving import search
from cutpoint.calibration.search.measure import WORKERS, Answer, Bench, Probe, uncut_answers
from cutpoint.calibration.search.points import find_baselines, group_by_head
from cutpoint.calibration.search.scope import MODES, Scope
from cutpoint.calibration.search.trials import Trial, front_costs
from cutpoint.calibration.settings import Settings
from cutpoint.calibration.tasks import Situation, Verdict, make_judge
from cutpoint.calibration.work import WorkFolder
from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Bundle, Measurement, Point
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.runtimes import create_runtime

TITLE = "Search against exhaustive measurement"

_SAMPLES = 200
_PROBES = 8
_SEEDS = range(5)


class _Recorded:
    """A bench that has measured all points, and tells what a search asks for. Its clock counts what that took.

    Attributes:
        seconds: of the clock.
        judged: answers that were asked for.
    """

    def __init__(self, bench: Bench, points: Sequence[Point]) -> None:
        self._bench = bench
        self._probes: dict[str, Probe] = {}
        self._answers: dict[str, list[Answer]] = {}
        self._times: dict[str, Measurement] = {}
        self._took: dict[str, float] = {}
        for group in group_by_head(points):
            started = perf_counter()
            self._answers |= bench.judge(group, 0, len(bench))
            took = (perf_counter() - started) / len(bench) / len(group)
            self._took |= {point.id: took for point in group}
            self._probes |= bench.probe(group, _PROBES)
            self._times |= bench.times(group)
        self.seconds = 0.0
        self.judged = 0

    def __len__(self) -> int:
        return len(self._bench)

    def probe(self, points: Sequence[Point], samples: int) -> dict[str, Probe]:
        assert samples == _PROBES
        self.seconds += sum(self._took[point.id] for point in points) * samples
        return {point.id: self._probes[point.id] for point in points}

    def judge(
        self, points: Sequence[Point], start: int, stop: int, advance: Callable[[], None] = lambda: None
    ) -> dict[str, list[Answer]]:
        self.seconds += sum(self._took[point.id] for point in points) * (stop - start)
        self.judged += len(points) * (stop - start)
        return {point.id: self._answers[point.id][start:stop] for point in points}

    def score(self, verdicts: Mapping[int, Verdict]) -> float:
        return self._bench.score(verdicts)

    def times(self, points: Sequence[Point]) -> dict[str, Measurement]:
        return {point.id: self._times[point.id] for point in points}


def _everything(folder: Path) -> Bundle:
    """A bundle of all combinations; what they are worth is measured later."""
    shared = shared_root()
    settings = Settings(
        str(shared / "models" / "mobilenet_v1_0.25_128.onnx"),
        shared / "images" / "imagenet-calibration",
        folder / "bundle",
        evaluation=shared / "images" / "imagenet-evaluation",
        preprocessing={"resize": 146, "scale": 1 / 128, "mean": [1, 1, 1]},
        samples=_PROBES,
        runtimes=("onnx",),
        keep_all=True,
    )
    return run_calibration(settings, SilentReporter()).bundle


def _recorded(bundle: Bundle, folder: Path) -> _Recorded:
    manifest = bundle.manifest
    sources = shuffled(open_dataset(shared_root() / "images" / "imagenet-evaluation").sources)
    samples = load_samples(sources, _SAMPLES, manifest.boundaries[0].tensors, manifest.preprocessing)
    graphs = BundleGraphs(bundle, [create_runtime("onnx")])
    uncut = uncut_answers(graphs.span(0, manifest.last, "fp32"), samples.tensors, lambda: None)
    situation = Situation(manifest.boundaries[-1].tensors, tuple(samples.sources), uncut, manifest.preprocessing)
    judge = make_judge("classification", situation)
    return _Recorded(Bench(graphs, samples.tensors, judge, WorkFolder(folder / "work"), bundle.hash), bundle.points)


def _table(trials: Sequence[Trial]) -> tuple[Array, Array]:
    return np.array([trial.metric for trial in trials]), front_costs([trial.measured for trial in trials])


def run() -> dict[str, Any]:
    """Measures everything once, then searches."""
    with tempfile.TemporaryDirectory(prefix="cutpoint-") as folder:
        bundle = _everything(Path(folder))
        bench = _recorded(bundle, Path(folder))

    def find(mode: str, seed: int) -> tuple[list[Trial], dict[str, Any]]:
        bench.seconds, bench.judged = 0.0, 0
        scope = Scope(
            MODES[mode],
            find_baselines(bundle.points, bundle.manifest.codecs),
            f"cut{bundle.manifest.last}-fp32",
            seed=seed,
            workers=WORKERS,
        )
        budget = MODES[mode].budget_s
        trials = search(bundle.points, bench, scope, SilentReporter(), lambda: bench.seconds, budget)
        kept = [trial for trial in trials if trial.kept]
        row = {"mode": mode, "seed": seed, "points": len(kept), "answers": bench.judged, "seconds": bench.seconds}
        return trials, row | {"kept": [trial.id for trial in kept]}

    everything, first = find("exhaustive", 0)
    by_id = {trial.id: trial for trial in everything}
    uncut = by_id[f"cut{bundle.manifest.last}-fp32"].metric or 0.0
    metrics, costs = _table(everything)
    box = Box.around(metrics, costs, uncut / 2)
    rows = [first, *(find(mode, seed)[1] for mode in ("default", "quick") for seed in _SEEDS)]
    volumes = [hypervolume(*_table([by_id[name] for name in row.pop("kept")]), box) for row in rows]
    for row, volume in zip(rows, volumes, strict=True):
        row |= {"of_everything": volume / hypervolume(metrics, costs, box), "of_exhaustive": volume / volumes[0]}
    return {"rows": rows, "combinations": len(everything), "samples": len(bench)}


def table(result: dict[str, Any]) -> Table:
    """Hypervolumes: as a share of what all combinations have together, and of what `--exhaustive` keeps."""
    title = f"{result['combinations']} combinations, {result['samples']} samples; the least and the most of the seeds"
    out = Table(title=title, title_justify="left")
    for column in ("mode", "seeds", "points", "answers", "seconds", "of all combinations", "of --exhaustive"):
        out.add_column(column, justify="right")
    for mode in dict.fromkeys(row["mode"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["mode"] == mode]
        cells = [
            _span([row[key] for row in rows], form)
            for key, form in (
                ("points", "{:.0f}"),
                ("answers", "{:,.0f}"),
                ("seconds", "{:.0f}"),
                ("of_everything", "{:.1%}"),
                ("of_exhaustive", "{:.1%}"),
            )
        ]
        out.add_row(mode, str(len(rows)), *cells)
    return out


def _span(values: Sequence[float], form: str) -> str:
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low} – {high}"
