"""The toy bundle with a report of everything that a search may leave behind."""

from __future__ import annotations

import json

from tests.support.toy import toy_bundle

from cutpoint.calibration.report.data import (
    REPORT_NAME,
    CutReport,
    ReportData,
    SearchReport,
    TrialReport,
    encode_report,
)
from cutpoint.sdk.bundle import Bundle, Part

__all__ = ["reported_bundle"]

_REPORT = ReportData(
    search=SearchReport("quick", 180.0, 97.5, 3, {"accuracy_drop": 0.01}),
    trials=(
        TrialReport("features", 1, 1, "fp32", "affine", "fine", "front", 60, 0.98, 110, kept=True),
        TrialReport(
            "features",
            1,
            1,
            "int8",
            "affine",
            "coarse",
            "rung 1",
            20,
            0.90,
            58,
            point="cut1-int8-affine-coarse",
            reason="loses 8 points",
        ),
    ),
    cuts=(
        CutReport("early", macs=500, bytes=2048, predicted_ms=0.05, reason="larger than the input"),
        CutReport("features", (), 1000, 512, 0.1, 0.12, natural_bottleneck=True, kept=True),
    ),
    notes=("one picture could not be read",),
)


def reported_bundle(more: dict[str, bytes] | None = None) -> Bundle:
    """The bundle.

    Args:
        more: files of the report, beside or instead of its own.
    """
    bundle = toy_bundle()
    files: dict[str, tuple[Part, bytes]] = {
        entry.path: (entry.part, bundle.read(entry.path)) for entry in bundle.manifest.files
    }
    report = {REPORT_NAME: encode_report(_REPORT), "report/curves.json": json.dumps({"loss": [2, None, 0.5]}).encode()}
    files |= {path: ("report", data) for path, data in (report | (more or {})).items()}
    return Bundle.create(bundle.manifest, files)
