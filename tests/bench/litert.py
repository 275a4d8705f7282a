"""Heads in LiteRT beside those in onnxruntime: time, accuracy, how far they are apart, and what a device downloads.

MobileNetV2 on photographs and the demo's network on rendered scenes, with every cut and precision.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from tests.support.torch_models import shared_root

from cutpoint.calibration.pipeline import run_calibration
from cutpoint.calibration.progress import SilentReporter
from cutpoint.calibration.report.data import REPORT_NAME, decode_report
from cutpoint.calibration.settings import PRECISIONS, Settings
from cutpoint.demo.scenes import write_folder
from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.errors import BundleError

TITLE = "LiteRT and onnxruntime"

_SAMPLES = 200
#: Codecs with large encoders, and one without.
_CODECS = ("raw", "klt")


def _networks(folder: Path) -> dict[str, dict[str, Any]]:
    write_folder(folder / "calibration", 200, 2**30)
    write_folder(folder / "evaluation", _SAMPLES, 2**30 + 2**20)
    shared = shared_root()
    return {
        "MobileNetV2": {
            "model": str(shared / "models" / "mobilenet_v2_1.0_224.onnx"),
            "data": shared / "images" / "imagenet-calibration",
            "evaluation": shared / "images" / "imagenet-evaluation",
            "preprocessing": {"resize": 256, "scale": 1 / 128, "mean": [1, 1, 1]},
        },
        "scenes": {
            "model": str(Path(__file__).parents[2] / "examples" / "scenes.onnx"),
            "data": folder / "calibration",
            "evaluation": folder / "evaluation",
            "preprocessing": {
                "resize": 256,
                "height": 224,
                "width": 224,
                "scale": 1,
                "mean": [127.5] * 3,
                "std": [127.5] * 3,
            },
        },
    }


def _sizes(bundle: Bundle, folder: Path) -> list[dict[str, Any]]:
    """What a device downloads for one runtime and precision; None where that is not enough to answer alone."""
    rows = []
    files = {entry.path: entry.size for entry in bundle.manifest.files}
    for runtime in ("onnx", "tflite"):
        for precision in PRECISIONS:
            try:
                part = bundle.part("device", runtime=runtime, precision=precision)
            except BundleError:
                continue
            part.save(folder / "part.cutpoint", overwrite=True)
            whole = [g for g in bundle.span(0, bundle.manifest.last, precision).graphs if g.format == runtime]
            rows.append(
                {
                    "runtime": runtime,
                    "precision": precision,
                    "cuts": sum(
                        0 < span.end < bundle.manifest.last and any(graph.format == runtime for graph in span.graphs)
                        for span in bundle.manifest.spans
                        if span.start == 0 and span.precision == precision
                    ),
                    "files": sum(size for path, size in files.items() if path in part),
                    "sent": (folder / "part.cutpoint").stat().st_size,
                    "uncut": sum(files[path] for graph in whole for path in graph.paths()),
                }
            )
    return rows


def run() -> dict[str, Any]:
    """Calibrates with everything kept."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="cutpoint-") as name:
        folder = Path(name)
        for network, given in _networks(folder).items():
            settings = Settings(
                out=folder / network,
                samples=_SAMPLES,
                codecs=_CODECS,
                precisions=PRECISIONS,
                runtimes=("onnx", "tflite"),
                keep_all=True,
                **given,
            )
            bundle = run_calibration(settings, SilentReporter()).bundle
            report = decode_report(bundle.read(REPORT_NAME))
            found[network] = {
                "uncut": bundle.manifest.task.uncut,
                "heads": [{key: getattr(head, key) for key in head.__struct_fields__} for head in report.litert],
                "parts": _sizes(bundle, folder),
            }
    return {"samples": _SAMPLES, "networks": found}


def table(result: dict[str, Any]) -> Group:
    """Metrics are means over the points of a head."""
    shown = []
    for network, found in result["networks"].items():
        title = f"{network}, int8 heads: metric of the uncut model {found['uncut']:.1%} of {result['samples']}"
        heads = Table(title=title, title_justify="left")
        for column in ("cut", "onnxruntime", "LiteRT", "chance", "apart", "bytes", "ms", "LiteRT ms", ""):
            heads.add_column(column, justify="right")
        for head in found["heads"]:
            ratio = head["bytes_ratio"]
            heads.add_row(
                head["cut"],
                f"{head['metric']:.1%}",
                f"{head['litert_metric']:.1%}",
                f"{head['chance']:.1%}",
                f"{head['apart']:.1%}",
                "" if ratio is None else f"{ratio - 1:+.1%}",
                f"{head['ms']:.2f}",
                f"{head['litert_ms']:.2f}",
                "rejected" if head["reason"] else "",
            )
        parts = Table(title=f"{network}, device parts", title_justify="left")
        for column in ("runtime", "precision", "cuts", "files", "sent", "uncut model", "ratio"):
            parts.add_column(column, justify="right")
        for part in found["parts"]:
            sizes = [f"{part[key] / 1e6:.2f} MB" for key in ("files", "sent", "uncut")]
            ratio = f"{part['files'] / part['uncut']:.2f}"
            parts.add_row(part["runtime"], part["precision"], str(part["cuts"]), *sizes, ratio)
        shown += [heads, parts]
    return Group(*shown)
