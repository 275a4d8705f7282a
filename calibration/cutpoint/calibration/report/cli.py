"""`cutpoint report` and `cutpoint compare`."""

from __future__ import annotations

import json
from pathlib import Path

import click
import msgspec
from rich.console import Console

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.report.compare import compare_views
from cutpoint.calibration.report.page import compare_page, report_page
from cutpoint.calibration.report.switching import best_stretches
from cutpoint.calibration.report.text import comparison_text, report_text
from cutpoint.calibration.report.view import make_view
from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.errors import InputError
from cutpoint.sdk.files import write_file
from cutpoint.sdk.policy import admissible
from cutpoint.sdk.profiles import apply_profile, find_profile

__all__ = ["compare_command", "report_command"]


@click.command("report")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Write the interactive page here.")
@click.option("--open", "show", type=click.Choice(["yes", "no"]), default="no", help="Show --out in a browser.")
@click.option("--profile", metavar="NAME", help="Device: in the bundle, built in, or a device.json.")
@click.option("--device-scale", type=float, help="How much slower than that. Default: 20, or 1 with --profile.")
@click.option("--rtt", default=0.05, show_default=True, help="Seconds there and back.")
@click.option("--accuracy-drop", default=0.01, show_default=True, help="Against the uncut model, 0 to 1.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def report_command(
    bundle: Path,
    out: Path | None,
    show: str,
    profile: str | None,
    device_scale: float | None,
    rtt: float,
    accuracy_drop: float,
    as_json: bool,
) -> None:
    """Explain what BUNDLE trades: accuracy, bytes, latency and energy, and where one point takes over from another.

    Prints tables; with --out writes one HTML file that needs nothing else, for any browser.
    """
    if device_scale is None:
        device_scale = 20.0 if profile is None else 1.0
    if device_scale <= 0 or rtt < 0 or not 0 <= accuracy_drop <= 1:
        raise InputError("--device-scale is above 0, --rtt at least 0, --accuracy-drop between 0 and 1")
    if show == "yes" and out is None:
        raise InputError("--open yes shows what --out writes: give --out FILE.html")
    opened = Bundle.open(bundle)
    view = make_view(opened)
    there = opened if profile is None else apply_profile(opened, find_profile(opened, profile))
    points = admissible(there.points, view.uncut - accuracy_drop)
    stretches = best_stretches(points, view.answer_bytes, rtt, device_scale)
    if out is not None:
        _write(out, report_page(view))
    if as_json:
        fastest = [
            {"low": s.low, "high": s.high, "point": s.point.id, "latency_ms": round(s.latency_ms, 3)} for s in stretches
        ]
        click.echo(json.dumps(msgspec.to_builtins(view) | {"fastest": fastest}))
    else:
        device = f"{profile or 'device'} ×{device_scale:g}"
        about = f"{device}, round trip {rtt * 1e3:g} ms, at most {accuracy_drop:.1%} given up"
        Console().print(report_text(view, stretches, about))
        if out is not None:
            click.echo(f"{out} written")
    if out is not None and show == "yes":
        click.launch(str(out))


@click.command("compare")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Write both as one interactive page here.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def compare_command(a: Path, b: Path, out: Path | None, as_json: bool) -> None:
    """Compare bundles A and B: bytes at equal accuracy, and what either front has that the other lacks."""
    comparison = compare_views(make_view(Bundle.open(a)), make_view(Bundle.open(b)))
    if out is not None:
        _write(out, compare_page(comparison))
    if as_json:
        shown = msgspec.to_builtins(comparison)
        sides = {side: {key: shown[side][key] for key in ("name", "hash", "metric", "uncut")} for side in ("a", "b")}
        ratios = [row | {"ratio": each.ratio} for row, each in zip(shown["equal"], comparison.equal, strict=True)]
        click.echo(json.dumps(shown | sides | {"equal": ratios}))
    else:
        Console().print(comparison_text(comparison))
        if out is not None:
            click.echo(f"{out} written")


def _write(path: Path, page: str) -> None:
    try:
        write_file(path, page.encode())
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be written: {error.strerror}") from error
