"""A trial: one combination of cut, precision, codec and level, what is known of it, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log

import numpy as np

from cutpoint.calibration.report.data import TrialReport
from cutpoint.calibration.tasks import Verdict
from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Manifest, Measurement, Point

__all__ = ["Trial", "front_costs", "report_trial"]

#: Times that are closer together than this count as equal: they would change places in another run.
_TIME_STEP = 0.1


@dataclass
class Trial:
    """A point, what is known of it, and what became of it.

    Attributes:
        point: as it would be in the bundle, unmeasured.
        measured: times and bytes, as good as they are known.
        distortion: of the proxy.
        verdicts: sample number → what the judge said.
        sizes: of the payloads of these samples.
        metric: over these samples.
        memory: of the device, bytes.
        stage: the last one that it took part in.
        reason: why it was kept or not; empty while that is open.
        kept: whether it is a point of the bundle.
    """

    point: Point
    measured: Measurement
    distortion: float | None
    memory: int
    stage: str = "proxy"
    verdicts: dict[int, Verdict] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    metric: float | None = None
    reason: str = ""
    kept: bool = False

    @property
    def id(self) -> str:
        """Of the point."""
        return self.point.id

    @property
    def seconds(self) -> float:
        """Of one sample from the boundary on, one after the other."""
        return (self.measured.encode_ms + self.measured.decode_ms + self.measured.tail_ms) / 1e3


def front_costs(measured: Sequence[Measurement]) -> Array:
    """What points cost, float (points, 3): bytes, device ms, tail ms; one more, energy, where it is known of all.

    Times are rounded to steps that two runs on one machine agree on.
    """
    columns = [
        [m.bytes_mean for m in measured],
        [_stepped(m.device_ms + m.encode_ms) for m in measured],
        [_stepped(m.decode_ms + m.tail_ms) for m in measured],
    ]
    energies = [m.energy_mj for m in measured if m.energy_mj is not None]
    if len(energies) == len(measured):
        columns.append(energies)
    return np.array(columns, dtype=np.float64).T


def _stepped(value: float) -> float:
    step = log(1 + _TIME_STEP)
    return float(np.exp(round(log(value) / step) * step)) if value > 0 else 0.0


def report_trial(trial: Trial, manifest: Manifest) -> TrialReport:
    """A trial for the report.

    Args:
        trial: decided.
        manifest: of the bundle that it was measured in.
    """
    point, m = trial.point, trial.measured
    codec = next((entry for entry in manifest.codecs if entry.id == point.codec), None)
    return TrialReport(
        cut=manifest.boundaries[point.start].label,
        start=point.start,
        end=point.end,
        precision=point.precision,
        codec=point.codec.split("-", 1)[1] if point.codec is not None else None,
        level=codec.levels[point.level] if codec is not None else None,
        stage=trial.stage,
        samples=len(trial.verdicts),
        metric=trial.metric,
        bytes_mean=m.bytes_mean,
        device_ms=m.device_ms,
        encode_ms=m.encode_ms,
        decode_ms=m.decode_ms,
        tail_ms=m.tail_ms,
        distortion=trial.distortion,
        memory=trial.memory or None,
        kept=trial.kept,
        point=point.id,
        reason=trial.reason,
    )
