"""`cutpoint calibrate`."""

from __future__ import annotations

import json
import sys
import tomllib
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from cutpoint.calibration.errors import CalibrationError
from cutpoint.calibration.extras import ONNX_PACKAGES, require
from cutpoint.calibration.progress import ConsoleReporter
from cutpoint.calibration.report.data import ReportData
from cutpoint.calibration.search.constraints import Constraints, load_constraints
from cutpoint.calibration.settings import CODECS, PRECISIONS, TRAINED, USUAL_PRECISIONS, Settings
from cutpoint.calibration.tasks import TASKS
from cutpoint.codecs.errors import CutpointError
from cutpoint.sdk.bundle import Bundle

__all__ = ["calibrate"]


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _ways(text: str) -> tuple[tuple[float, ...], ...]:
    """Ways of cutting spans: ``2,3`` are halves and thirds, ``1:0.6:0.4`` slices for such speeds."""
    ways = []
    for word in text.split(","):
        try:
            speeds = tuple(float(speed) for speed in word.split(":")) if ":" in word else (1.0,) * int(word)
        except ValueError:
            speeds = ()
        if len(speeds) < 2 or not all(0 < speed < float("inf") for speed in speeds):
            raise CalibrationError(
                f"{word!r} is no way to cut a span: give a number of slices from 2 on, or speeds such as 1:0.6:0.4"
            )
        ways.append(speeds)
    return tuple(ways)


def _cuts(text: str) -> int | tuple[str, ...]:
    return int(text) if text.strip().isdigit() else _list(text)


def _sides(text: str) -> tuple[int, ...]:
    try:
        sides = tuple(int(side) for side in text.lower().split("x"))
    except ValueError:
        sides = (0,)
    if min(sides) < 1:
        raise CalibrationError(f"{text!r} is not a shape: write sides with an x between them, such as 1x3x224x224")
    return sides


def _number(text: str) -> float:
    try:
        return float(Fraction(text.strip()))
    except (ValueError, ZeroDivisionError):
        raise CalibrationError(f"{text!r} is not a number: write 0.5 or 1/255") from None


def _seconds(text: str) -> float:
    units = {"s": 1, "m": 60, "h": 3600}
    try:
        return float(text[:-1]) * units[text[-1]] if text[-1] in units else float(text)
    except ValueError:
        raise CalibrationError(f"--budget {text}: not a time: write 90s, 10m or 2h") from None


def _preprocessing(file: Path | None, flags: dict[str, Any]) -> dict[str, Any]:
    """Fields of `Preprocessing` from a TOML file, overridden by flags."""
    fields: dict[str, Any] = {}
    if file is not None:
        try:
            fields = tomllib.loads(file.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise CalibrationError(f"{file}: not a readable TOML file: {error}") from error
        fields = fields.get("preprocessing", fields)
        fields = {key: _number(v) if key == "scale" and isinstance(v, str) else v for key, v in fields.items()}
    if flags["size"]:
        sides = _sides(flags["size"])
        if len(sides) > 2:
            raise CalibrationError(f"--size {flags['size']}: write one side, or height x width")
        fields["height"], fields["width"] = sides[0], sides[-1]
    if flags["scale"]:
        fields["scale"] = _number(flags["scale"])
    for key in ("mean", "std"):
        if flags[key]:
            values = [_number(value) for value in _list(flags[key])]
            fields[key] = values * 3 if len(values) == 1 else values
    for key in ("resize", "pad", "channels", "interpolation"):
        if flags[key] is not None:
            fields[key] = flags[key]
    if flags["letterbox"]:
        fields["letterbox"] = True
    return fields


@click.command()
@click.argument("model")
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of pictures: a folder per class, a labels.tsv (file, class index), or no labels. Or of .npy tensors.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Bundle to write: a folder, or a file ending in .cutpoint.",
)
@click.option("--evaluation", type=click.Path(path_type=Path), help="Folder to measure on. Default: a part of --data.")
@click.option(
    "--input", "input_shape", metavar="SHAPE", help="The model's input where it does not say it: 1x3x224x224."
)
@click.option("--weights", type=click.Path(path_type=Path), help="State dict of a torch model: .pth, .safetensors.")
@click.option("--name", help="Name of the model in the bundle.")
@click.option(
    "--labels", type=click.Path(path_type=Path), help="Class names, one per line, in the order of the scores."
)
@click.option(
    "--cuts", default="8", show_default=True, help="How many cuts to keep, or tensor names with commas between."
)
@click.option(
    "--codecs",
    default=",".join(codec for codec in CODECS if codec not in TRAINED),
    show_default=True,
    help=f"Of {', '.join(CODECS)}; {', '.join(TRAINED)} take training.",
)
@click.option("--streams", is_flag=True, help="For video: code differences to earlier frames where that is smaller.")
@click.option("--tiers", is_flag=True, help="For servers with a next tier: what passes requests on at a later cut.")
@click.option(
    "--node-slices",
    metavar="WAYS",
    help="For servers that share one request: 2,3 cuts spans into halves and thirds, 1:0.6:0.4 for such speeds.",
)
@click.option(
    "--precisions",
    default=",".join(USUAL_PRECISIONS),
    show_default=True,
    help=f"Of the device's spans: of {', '.join(PRECISIONS)}.",
)
@click.option(
    "--int8-drop",
    default=0.01,
    show_default=True,
    help="Of the metric that int8 may cost; the layers that cost more stay in floats.",
)
@click.option("--runtimes", help="Of the heads: onnx, or onnx,tflite. Default: both for torch models, where possible.")
@click.option(
    "--calibration-samples", default=100, show_default=True, help="Pictures that ranges and tables come from."
)
@click.option("--samples", default=200, show_default=True, help="Pictures that points are measured on.")
@click.option(
    "--task",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", *TASKS]),
    help="What the outputs mean. auto: what outputs and labels look like.",
)
@click.option("--quick", "mode", flag_value="quick", help="Halve harder, keep less: minutes.")
@click.option("--exhaustive", "mode", flag_value="exhaustive", help="Measure every combination on every sample.")
@click.option("--budget", metavar="TIME", help="Time for all of it: 90s, 10m, 2h. Default: 15m, with --quick 4m.")
@click.option(
    "--constraints", type=click.Path(path_type=Path), help="TOML file with limits of points and weights of the front."
)
@click.option("--points", type=int, help="How many points to keep beside the baselines. Default: 48, with --quick 32.")
@click.option("--keep-all", is_flag=True, help="Measure and keep every combination within the constraints.")
@click.option("--seed", default=0, show_default=True, help="Of what the search draws.")
@click.option("--threads", default=1, show_default=True, help="Of the runtime while measuring.")
@click.option(
    "--train-cuts", default="2", show_default=True, help="Where to train codecs: how many cuts, or tensor names."
)
@click.option(
    "--early-encoders",
    default="slimmable",
    show_default=True,
    help="Trained codecs whose encoder starts at the picture and replaces layers; 'none' for none.",
)
@click.option("--landing", metavar="TENSOR", help="The cut where their decoders end. Default: chosen.")
@click.option("--train-data", type=click.Path(path_type=Path), help="Folder to train on, no labels needed.")
@click.option("--train-steps", default=1500, show_default=True, help="Length of each training.")
@click.option("--train-minutes", type=float, help="Length of each training in minutes instead.")
@click.option("--exits", default="0", help="Where to train exits: how many cuts, or tensor names. Default: none.")
@click.option(
    "--exit-drop",
    default="0.01",
    show_default=True,
    help="Share of all inputs that an exit may answer worse than the model; several with commas between.",
)
@click.option("--exit-steps", default=1000, show_default=True, help="Length of each exit's training.")
@click.option(
    "--exit-views", default=1, show_default=True, help="Views of each picture that exits learn from: it, and sections."
)
@click.option(
    "--slices",
    default="",
    metavar="MBITS",
    help="Rates of links, Mbit/s, to look for heads in slices for: 88, or 10,30,88. Default: none.",
)
@click.option("--preprocess", type=click.Path(path_type=Path), help="TOML file with the options below as keys.")
@click.option("--size", help="Of boundary 0: a side, or HEIGHTxWIDTH. Default: the model's.")
@click.option("--resize", type=int, help="Scale the short side to this before the centre crop.")
@click.option("--letterbox", is_flag=True, help="Fit the whole picture, top left, and pad the rest.")
@click.option("--pad", type=int, help="Grey value of the letterbox.")
@click.option("--interpolation", type=click.Choice(["bilinear", "bicubic"]))
@click.option("--channels", type=click.Choice(["rgb", "bgr"]), help="Order that the model wants.")
@click.option("--scale", help="Pixels are multiplied by this (default 1/255), …")
@click.option("--mean", help="… then this is subtracted (one number, or three) …")
@click.option("--std", help="… then divided by this.")
@click.option(
    "--device",
    "devices",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Profile that `cutpoint profile` wrote; points are chosen for the first.",
)
@click.option("--work", type=click.Path(path_type=Path), help="Folder for finished steps. Default: beside --out.")
@click.option("--overwrite", is_flag=True, help="Replace a bundle that is there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def calibrate(model: str, data: Path, out: Path, as_json: bool, **options: Any) -> None:
    """Cuts MODEL, measures every operating point on real data, and writes a bundle.

    MODEL is an .onnx file, an exported program (.pt2), torchvision:NAME or timm:NAME, or a function that returns a
    torch module: package.module:factory or path/to/file.py:factory.

    An interrupted calibration goes on where it stopped when it is started again.
    """
    console = Console(stderr=True)
    try:
        require(ONNX_PACKAGES, "calibration")
        from cutpoint.calibration.pipeline import run_calibration

        settings = _settings(model, data, out, options)
        result = run_calibration(settings, ConsoleReporter(console))
    except CutpointError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        told = f"{place}{error.strerror or error}; finished steps are kept, the same command goes on from them"
        raise click.ClickException(told) from error
    except KeyboardInterrupt:
        click.echo("Interrupted. Start the same command again to go on.", err=True)
        sys.exit(130)
    if as_json:
        click.echo(json.dumps(_summary(out, result.bundle, result.skipped, result.calibrated_on, result.report)))
    else:
        _print(Console(), out, result.bundle, result.report)


def _settings(model: str, data: Path, out: Path, options: dict[str, Any]) -> Settings:
    labels: tuple[str, ...] = ()
    if options["labels"] is not None:
        try:
            labels = tuple(options["labels"].read_text("utf-8").splitlines())
        except (OSError, UnicodeDecodeError) as error:
            raise CalibrationError(f"{options['labels']}: cannot be read: {error}") from error
    return Settings(
        model=model,
        data=data,
        out=out,
        evaluation=options["evaluation"],
        input_shape=_sides(options["input_shape"]) if options["input_shape"] else None,
        weights=options["weights"],
        name=options["name"],
        labels=labels,
        preprocessing=_preprocessing(options["preprocess"], options),
        cuts=_cuts(options["cuts"]),
        codecs=_list(options["codecs"]),
        streams=options["streams"],
        tiers=options["tiers"],
        node_slices=_ways(options["node_slices"]) if options["node_slices"] else (),
        precisions=_list(options["precisions"]),
        int8_drop=options["int8_drop"],
        runtimes=_list(options["runtimes"]) if options["runtimes"] is not None else None,
        calibration_samples=options["calibration_samples"],
        samples=options["samples"],
        task=options["task"],
        mode=options["mode"] or "default",
        budget_s=_seconds(options["budget"]) if options["budget"] else None,
        constraints=load_constraints(options["constraints"]) if options["constraints"] else Constraints(),
        points=options["points"],
        keep_all=options["keep_all"],
        seed=options["seed"],
        threads=options["threads"],
        overwrite=options["overwrite"],
        work=options["work"],
        train_cuts=_cuts(options["train_cuts"]),
        early_encoders=() if options["early_encoders"] == "none" else _list(options["early_encoders"]),
        landing=options["landing"],
        train_data=options["train_data"],
        train_steps=options["train_steps"],
        train_minutes=options["train_minutes"],
        exits=_cuts(options["exits"]),
        exit_drops=tuple(_number(drop) for drop in _list(options["exit_drop"])),
        exit_steps=options["exit_steps"],
        exit_views=options["exit_views"],
        slices=tuple(_number(rate) for rate in _list(options["slices"])),
        devices=options["devices"],
    )


def _summary(
    out: Path, bundle: Bundle, skipped: tuple[tuple[str, str], ...], calibrated_on: int, report: ReportData
) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "bundle": str(out),
        "hash": bundle.hash,
        "name": manifest.name,
        "task": {
            "kind": manifest.task.kind,
            "metric": manifest.task.metric,
            "uncut": manifest.task.uncut,
            "samples": manifest.task.samples,
        },
        "calibrated_on": calibrated_on,
        "boundaries": [
            {"index": b.index, "label": b.label, "shapes": [list(t.shape) for t in b.tensors], "macs": b.macs}
            for b in manifest.boundaries
        ],
        "points": [
            {
                "id": point.id,
                "metric": point.measured.metric,
                "bytes_mean": point.measured.bytes_mean,
                "bytes_p95": point.measured.bytes_p95,
                "device_ms": point.measured.device_ms,
                "encode_ms": point.measured.encode_ms,
                "decode_ms": point.measured.decode_ms,
                "tail_ms": point.measured.tail_ms,
            }
            for point in manifest.points
        ],
        "trials": len(report.trials),
        "spent_s": report.search.spent_s,
        "skipped": [{"file": name, "reason": reason} for name, reason in skipped],
    }


def _size(value: float) -> str:
    return f"{value:,.0f}" if value < 10_000 else f"{value / 1000:.0f} k"


def _print(console: Console, out: Path, bundle: Bundle, report: ReportData) -> None:
    task = bundle.manifest.task
    uncut = f"{task.metric} of the uncut model {task.uncut:.1%} on {task.samples} samples"
    title = f"{bundle.manifest.name}: {uncut}; times in ms"
    table = Table(title=title, title_justify="left")
    table.add_column("point", no_wrap=True)
    for column in (task.metric, "bytes", "p95", "device", "encode", "decode", "tail"):
        table.add_column(column, justify="right")
    for point in bundle.points:
        m = point.measured.expected
        times = (f"{value:.2f}" for value in (m.device_ms, m.encode_ms, m.decode_ms, m.tail_ms))
        table.add_row(point.id, f"{m.metric:.1%}", _size(m.bytes_mean), _size(m.bytes_p95), *times)
    console.print(table)
    told = f"{len(bundle.points)} points of {len(report.trials)} trials, {report.search.spent_s:.0f} s"
    console.print(f"{out}: {told}, hash {bundle.hash[:12]}", highlight=False)
