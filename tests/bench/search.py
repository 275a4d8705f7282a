"""What a search finds in each mode, beside measuring every combination on every sample.

MobileNetV1 0.25 on 200 photographs. The points that a mode keeps are looked up in the exhaustive run's figures, so that
only the choice is compared and not how busy the machine was.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from tests.support.torch_models import shared_root

from cutpoint.calibration.pipeline import run_calibration
from cutpoint.calibration.progress import SilentReporter
from cutpoint.calibration.report.data import ReportData, TrialReport
from cutpoint.calibration.search.front import Box, hypervolume
from cutpoint.calibration.search.trials import front_costs
from cutpoint.calibration.settings import Settings
from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Measurement

TITLE = "Search against exhaustive measurement"

_MODES = ("exhaustive", "default", "quick")


def _calibrate(folder: Path, mode: Any) -> ReportData:
    shared = shared_root()
    settings = Settings(
        str(shared / "models" / "mobilenet_v1_0.25_128.onnx"),
        shared / "images" / "imagenet-calibration",
        folder / mode,
        evaluation=shared / "images" / "imagenet-evaluation",
        preprocessing={"resize": 146, "scale": 1 / 128, "mean": [1, 1, 1]},
        mode=mode,
    )
    return run_calibration(settings, SilentReporter()).report


def _table(trials: Sequence[TrialReport]) -> tuple[Array, Array]:
    measured = [
        Measurement(
            t.metric or 0.0, t.bytes_mean or 0.0, 0.0, t.device_ms or 0.0, t.encode_ms or 0.0, t.decode_ms or 0.0,
            t.tail_ms or 0.0,
        )
        for t in trials
    ]  # fmt: skip
    return np.array([m.metric for m in measured]), front_costs(measured)


def run() -> dict[str, Any]:
    """Calibrates once in each mode."""
    with tempfile.TemporaryDirectory(prefix="cutpoint-") as folder:
        reports = {mode: _calibrate(Path(folder), mode) for mode in _MODES}
    everything = {trial.point: trial for trial in reports["exhaustive"].trials}
    uncut = next(t.metric for t in everything.values() if t.codec is None and t.precision == "fp32")
    metrics, costs = _table(list(everything.values()))
    box = Box.around(metrics, costs, (uncut or 0.0) / 2)
    rows = []
    for mode, report in reports.items():
        kept = [everything[trial.point] for trial in report.trials if trial.kept]
        rows.append(
            {
                "mode": mode,
                "points": len(kept),
                "samples_run": sum(trial.samples for trial in report.trials),
                "seconds": report.search.spent_s,
                "share_of_hypervolume": hypervolume(*_table(kept), box) / hypervolume(metrics, costs, box),
                "prediction_error": report.prediction_error,
            }
        )
    return {"rows": rows, "trials": len(everything)}


def table(result: dict[str, Any]) -> Table:
    """The hypervolume is a share of what all combinations have together."""
    out = Table(title=f"{result['trials']} combinations", title_justify="left")
    for column in ("mode", "points", "samples run", "seconds", "hypervolume", "head times predicted to"):
        out.add_column(column, justify="right")
    for row in result["rows"]:
        share, error = row["share_of_hypervolume"], row["prediction_error"]
        figures = (f"{row['samples_run']:,}", f"{row['seconds']:.0f}", f"{share:.1%}", f"{error:.0%}")
        out.add_row(row["mode"], str(row["points"]), *figures)
    return out
