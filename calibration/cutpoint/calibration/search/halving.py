"""Which operating points are worth measuring on all samples, and which are worth keeping.

Everything that spans and codecs make together is tried, and most of it is not tried for long:

1. *proxy*: each trial once on few samples, without judging its outputs: bytes, times, distortion of the boundary. Out
   goes what breaks a constraint, and what is larger and twice as distorted as another trial with the same tail.
2. *rungs*: the task's metric on a part of the samples, then on twice as many, and so on (successive halving: Jamieson
   and Talwalkar, arXiv 1502.07943). After each, out goes what another trial beats by more than chance, then what
   is of least use to a policy, until half is left.
3. *front*: exact times of those that are left; the points on the front are kept, thinned to the most useful.

Where a time budget would not last, fewer trials go on. Baselines always do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, sqrt
from typing import Protocol

import msgspec
import numpy as np

from cutpoint.calibration.progress import Reporter
from cutpoint.calibration.search.front import dominators
from cutpoint.calibration.search.measure import Answer, Probe
from cutpoint.calibration.search.points import group_by_head
from cutpoint.calibration.search.scope import Scope
from cutpoint.calibration.search.trials import Trial, front_costs
from cutpoint.calibration.search.usefulness import order_by_use
from cutpoint.calibration.tasks import Verdict
from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Measurement, Point

__all__ = ["SearchBench", "search"]

#: Samples of the proxy.
_PROBES = 8
#: A trial is out where another one, no larger and no slower on the device, has at most this share of its distortion.
_CLEARER = 0.5
#: Points that lose more than this share of the uncut model's metric are worth nothing.
_FLOOR = 0.5
#: A point of the front is kept if it saves at least this share of the latency.
_WORTH = 0.0005
#: At least so many cuts stay, where the front has them.
_CUTS = 4
#: Runs that exact times take for each point.
_TIMED = 24
#: However small the budget, so many trials are measured beside the baselines.
_LEAST = 12


class SearchBench(Protocol):
    """What a search measures with: see `cutpoint.calibration.search.measure.Bench`."""

    def __len__(self) -> int: ...

    def probe(self, points: Sequence[Point], samples: int) -> dict[str, Probe]: ...

    def judge(
        self, points: Sequence[Point], start: int, stop: int, advance: Callable[[], None] = ...
    ) -> dict[str, list[Answer]]: ...

    def score(self, verdicts: Mapping[int, Verdict]) -> float: ...

    def times(self, points: Sequence[Point]) -> dict[str, Measurement]: ...


def search(
    points: Sequence[Point],
    bench: SearchBench,
    scope: Scope,
    reporter: Reporter,
    clock: Callable[[], float],
    deadline: float | None = None,
) -> list[Trial]:
    """Tries `points`, and keeps some.

    Args:
        points: every combination, those with one head in common side by side.
        bench: measures them.
        scope: what to go by.
        reporter: hears what is done.
        clock: seconds; only differences count.
        deadline: when to be done, by `clock`; None: no limit.

    Returns:
        A trial for each point, in their order. Those that are kept were measured on all samples, unless the budget
        ended first.
    """
    return _Search(points, bench, scope, reporter, clock, deadline).run()


class _Search:
    def __init__(
        self,
        points: Sequence[Point],
        bench: SearchBench,
        scope: Scope,
        reporter: Reporter,
        clock: Callable[[], float],
        deadline: float | None,
    ) -> None:
        self._bench = bench
        self._scope = scope
        self._reporter = reporter
        self._clock = clock
        self._deadline = deadline
        self._trials = self._probed(points)
        self._slowness = 1.0  # seconds that judging took for each second foreseen

    def run(self) -> list[Trial]:
        mode = self._scope.mode
        self._check_limits()
        if mode.proxy and not self._scope.keep_all:
            self._drop_distorted()
        rungs = [ceil(share * len(self._bench)) for share in mode.rungs]
        done = 0
        for number, stop in enumerate(rungs, start=1):
            self._fit_budget(
                number, [b - a for a, b in zip([done, *rungs[number - 1 :]], rungs[number - 1 :], strict=False)]
            )
            self._judge(number, done, stop)
            self._check_accuracy(stop, last=number == len(rungs))
            if number < len(rungs) and not self._scope.keep_all:
                self._halve(number, stop)
            done = stop
        self._time()
        self._check_limits()
        self._keep()
        return self._trials

    @property
    def _open(self) -> list[Trial]:
        return [trial for trial in self._trials if not trial.reason]

    def _baseline(self, trial: Trial) -> bool:
        return trial.id in self._scope.baselines

    def _on_device(self, trial: Trial) -> Measurement:
        """What the trial costs on the device that the front is chosen for."""
        return self._scope.on_device(msgspec.structs.replace(trial.point, measured=trial.measured)).measured

    def _costs(self, trials: Sequence[Trial]) -> Array:
        return front_costs([self._on_device(trial) for trial in trials])

    def _left(self) -> float:
        return float("inf") if self._deadline is None else self._deadline - self._clock()

    # -- proxy ---------------------------------------------------------------------------------------------------

    def _probed(self, points: Sequence[Point]) -> list[Trial]:
        samples = min(_PROBES, len(self._bench))
        groups = list(group_by_head(points))
        trials = []
        with self._reporter.stage("a first look at points", len(points)) as advance:
            for group in groups:
                found = self._bench.probe(group, samples)
                for point in group:
                    probe = found[point.id]
                    times = msgspec.structs.replace(probe.times, bytes_mean=probe.bytes_mean)
                    trials.append(Trial(point, times, probe.distortion, self._scope.memory(point)))
                    advance()
        return trials

    def _check_limits(self) -> None:
        limits = self._scope.constraints
        for trial in self._open:
            m = self._on_device(trial)
            for name, value, limit in (
                ("bytes", m.bytes_mean, limits.bytes),
                ("device_ms", m.device_ms + m.encode_ms, limits.device_ms),
                ("tail_ms", m.decode_ms + m.tail_ms, limits.tail_ms),
                ("device_memory", trial.memory, limits.device_memory),
            ):
                if limit is not None and value > limit and not self._baseline(trial):
                    trial.reason = f"constraint: {name} is {value:,.4g}, more than {limit:,.4g}"

    def _drop_distorted(self) -> None:
        """Out goes what another trial with the same tail beats clearly in all that the proxy sees."""
        trials = [trial for trial in self._open if trial.distortion is not None]
        costs = self._costs(trials)[:, :2] if trials else np.zeros((0, 2))
        for number, trial in enumerate(trials):
            tail = trial.point.end, trial.point.tail_precision
            assert trial.distortion is not None, "local trials are left out above"
            for other, cost in zip(trials, costs, strict=True):
                if (
                    (other.point.end, other.point.tail_precision) == tail
                    and (cost <= costs[number]).all()
                    and (other.distortion or 0.0) < _CLEARER * trial.distortion
                    and not self._baseline(trial)
                ):
                    trial.reason = (
                        f"proxy: distortion {trial.distortion:.3g}; {other.id} has {other.distortion:.3g} for no more "
                        "bytes and device time"
                    )
                    break

    # -- rungs ---------------------------------------------------------------------------------------------------

    def _fit_budget(self, rung: int, samples: Sequence[int]) -> None:
        """Sends home what is of least use where the trials that are open would take longer than there is time.

        Args:
            rung: the next one.
            samples: of it and of those after it.
        """
        left = self._left()
        if left == float("inf"):
            return
        # Half goes home after each rung; what is left is timed in the end.
        share, weight = 1.0, 0.0
        for count in samples:
            weight += share * count
            share *= self._scope.mode.keep
        fixed = sum(trial.seconds for trial in self._open if self._baseline(trial))
        heads = {(t.point.start, t.point.precision): t.measured.device_ms / 1e3 for t in self._open}
        fixed += sum(heads.values())
        left -= fixed * sum(samples) / self._scope.workers * self._slowness
        for trial in self._ranked()[_LEAST:]:
            timed = share * _TIMED * (trial.seconds + trial.measured.device_ms / 1e3)
            left -= self._slowness * (trial.seconds * weight / self._scope.workers + timed)
            if left < 0:
                seen = len(trial.verdicts)
                trial.reason = f"budget: no time for it in rung {rung}" + (f", after {seen} samples" if seen else "")

    def _ranked(self) -> list[Trial]:
        """The open trials that are no baselines, the most useful first, as far as one knows."""
        trials = [trial for trial in self._open if not self._baseline(trial)]
        if not trials:
            return []
        return [trials[number] for number, _ in self._order(trials)]

    def _order(self, trials: Sequence[Trial]) -> list[tuple[int, float]]:
        """Numbers of `trials`, the most useful first, and what each saves beside the baselines and those before it."""
        baselines = [trial for trial in self._open if self._baseline(trial)]
        judged = all(trial.metric is not None for trial in baselines)

        def table(trials: Sequence[Trial]) -> tuple[Array, Array]:
            # Before anything was judged, little distortion stands for a good metric.
            metrics = [1 - (t.distortion or 0.0) if t.metric is None else t.metric for t in trials]
            return np.array(metrics), self._costs(trials)

        top = self._uncut() if judged else 1.0
        return order_by_use(
            *table(trials),
            table(baselines),
            top,
            self._scope.seed,
            self._scope.constraints.weights.axes,
            self._scope.slower,
        )

    def _judge(self, rung: int, start: int, stop: int) -> None:
        groups = sorted(
            group_by_head([trial.point for trial in self._open]),
            key=lambda group: not any(point.id in self._scope.baselines for point in group),
        )
        by_id = {trial.id: trial for trial in self._trials}
        title = f"measuring points, rung {rung}"
        began = self._clock()
        foreseen = 0.0
        with self._reporter.stage(title, len(groups) * (stop - start)) as advance:
            for group in groups:
                for key, answers in self._bench.judge(group, start, stop, advance).items():
                    trial = by_id[key]
                    trial.verdicts |= {start + n: answer.verdict for n, answer in enumerate(answers)}
                    trial.sizes += [answer.size for answer in answers]
                    foreseen += trial.seconds * (stop - start) / self._scope.workers
                foreseen += by_id[group[0].id].measured.device_ms / 1e3 * (stop - start) / self._scope.workers
        if foreseen:
            self._slowness = max(1.0, (self._clock() - began) / foreseen)
        for trial in self._open:
            trial.stage = f"rung {rung}"
            trial.metric = self._bench.score(trial.verdicts)
            trial.measured = msgspec.structs.replace(
                trial.measured,
                metric=trial.metric,
                bytes_mean=float(np.mean(trial.sizes)),
                bytes_p95=float(np.percentile(trial.sizes, 95)),
            )

    def _uncut(self) -> float:
        """The uncut model's metric on the samples so far."""
        return next(trial.metric or 0.0 for trial in self._trials if trial.id == self._scope.uncut)

    def _floor(self) -> float:
        return _FLOOR * self._uncut()

    def _margin(self, samples: int) -> float:
        """By how much metrics over `samples` differ by chance; 0 over all of them, which are what is asked about."""
        return 2 * (self._uncut() - self._floor()) / sqrt(samples) if samples < len(self._bench) else 0.0

    def _check_accuracy(self, samples: int, last: bool) -> None:
        drop, uncut, margin = self._scope.constraints.accuracy_drop, self._uncut(), self._margin(samples)
        for trial in self._open:
            assert trial.metric is not None, "judged in the rung before"
            if self._baseline(trial):
                continue
            if drop is not None and trial.metric + margin < uncut - drop - 1e-9:
                trial.reason = (
                    f"constraint: {trial.metric:.1%} on {samples} samples, the uncut model has {uncut:.1%}; "
                    f"accuracy_drop is {drop:.1%}"
                )
            elif trial.metric + margin < self._floor() and not self._scope.keep_all:
                trial.reason = (
                    f"{trial.metric:.1%} on {samples} samples: less than half of the uncut model's {uncut:.1%}"
                )

    def _halve(self, rung: int, samples: int) -> None:
        trials = self._open
        metrics = np.array([trial.metric for trial in trials], dtype=np.float64)
        costs = self._costs(trials)
        for trial, better in zip(trials, dominators(metrics, costs, self._margin(samples)), strict=True):
            if better is not None and not self._baseline(trial):
                trial.reason = (
                    f"rung {rung}: {trial.metric:.1%} on {samples} samples; {trials[better].id} has "
                    f"{trials[better].metric:.1%} and costs no more"
                )
        ranked = self._ranked()
        enough = max(ceil(len(ranked) * self._scope.mode.keep), ceil(1.5 * self._most))
        for place, trial in enumerate(ranked[enough:], start=enough + 1):
            trial.reason = f"rung {rung}: of little use after {samples} samples (place {place}, {enough} go on)"

    @property
    def _most(self) -> int:
        return self._scope.mode.most if self._scope.most is None else self._scope.most

    # -- front ---------------------------------------------------------------------------------------------------

    def _time(self) -> None:
        groups = list(group_by_head([trial.point for trial in self._open]))
        by_id = {trial.id: trial for trial in self._trials}
        with self._reporter.stage("timing points", len(groups)) as advance:
            for group in groups:
                for key, times in self._bench.times(group).items():
                    trial = by_id[key]
                    m = trial.measured
                    trial.measured = msgspec.structs.replace(
                        times, metric=m.metric, bytes_mean=m.bytes_mean, bytes_p95=m.bytes_p95
                    )
                    trial.stage = "front"
                advance()

    def _keep(self) -> None:
        trials = self._open
        metrics = np.array([trial.metric for trial in trials], dtype=np.float64)
        costs = self._costs(trials)
        front = []
        for trial, better in zip(trials, dominators(metrics, costs), strict=True):
            if self._baseline(trial):
                trial.kept, trial.reason = True, "baseline"
            elif self._scope.keep_all:
                trial.kept, trial.reason = True, "all were asked for"
            elif better is not None:
                trial.reason = f"not on the front: {trials[better].id} is as good and costs no more"
            else:
                front.append(trial)
        if not front:
            return
        cuts, kept = set[int](), 0
        for number, saved in self._order(front):
            trial = front[number]
            another = trial.point.start not in cuts and len(cuts) < _CUTS
            if kept < self._most and (saved >= _WORTH or another):
                trial.kept, trial.reason = True, f"on the front: saves {saved:.2%} of the latency over all conditions"
                cuts.add(trial.point.start)
                kept += 1
            else:
                trial.reason = f"on the front, thinned: saves {saved:.3%} of the latency beside those that are kept"
