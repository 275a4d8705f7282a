"""Bytes against accuracy for every codec family at several cuts, beside what apps send today.

MobileNetV2 and DeiT-tiny, calibrated on one set of photographs and measured on another with the code that serves
requests. The references are JPEG and WebP (method 6) of the picture, and 8-bit features through zstd -9 at the same
cut.

Needs the shared data (see tests/conftest.py) and takes about an hour and a half on two cores, most of it training;
`CUTPOINT_BENCH_PHOTOGRAPHS` sets how many evaluation photographs are used instead of all, `CUTPOINT_BENCH_STEPS` how
long each codec is trained. Calibrated bundles stay in `bench/rate-accuracy` and are taken from there the next time; an
interrupted run goes on where it was. A run with all photographs draws
`docs/rate-accuracy.svg`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import onnx
import zstandard
from onnx import numpy_helper
from PIL import Image
from rich.table import Table
from tests.bench._plot import Curve, draw
from tests.support.torch_models import shared_root

from cutpoint.calibration.data import Samples, load_samples, open_dataset, shuffled
from cutpoint.calibration.pipeline import run_calibration
from cutpoint.calibration.progress import SilentReporter
from cutpoint.calibration.settings import Settings
from cutpoint.codecs import Array, Codec
from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.runtimes import Graph, create_runtime

__all__ = ["FAMILIES", "TITLE", "run", "table"]

TITLE = "rate and accuracy"
#: The families that are measured at every cut, those that are trained at some, and from the picture on.
FAMILIES = ("affine", "klt")
TRAINED = ("bottleneck",)
EARLY = ("slimmable",)
#: Loss of accuracy at which sizes are compared.
LOSS = 0.01

_ALL = 911
_CALIBRATION = 300
_STEPS = 1000
_SWITCHES = 50
_FOLDER = Path("bench") / "rate-accuracy"
_QUALITIES = {"jpeg": (10, 25, 50, 75, 88), "webp": (5, 15, 35, 60, 80, 90)}
_PLOT = Path(__file__).parents[2] / "docs" / "rate-accuracy.svg"

Row = dict[str, Any]


def _networks() -> dict[str, dict[str, Any]]:
    imagenet = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    return {
        "MobileNetV2": {
            "model": "mobilenet_v2_1.0_224.onnx",
            "preprocessing": {"resize": 256, "scale": 1 / 128, "mean": [1, 1, 1]},
            "cuts": ("t66", "t86", "t99", "t126", "t146"),
            "trained": ("t126", "t146"),
            "landing": "t126",
        },
        "DeiT-tiny": {
            "model": "deit_tiny_patch16_224.onnx",
            "preprocessing": {"resize": 256, "interpolation": "bicubic", **imagenet},
            "cuts": tuple(f"/blocks/blocks.{block}/Add_1_output_0" for block in (2, 5, 8)),
            "trained": ("/blocks/blocks.8/Add_1_output_0",),
            "landing": None,
        },
    }


def run() -> dict[str, Any]:
    """Calibrates and measures both networks."""
    count = int(os.environ.get("CUTPOINT_BENCH_PHOTOGRAPHS", _ALL))
    steps = int(os.environ.get("CUTPOINT_BENCH_STEPS", _STEPS))
    networks = [_network(name, count, steps, **settings) for name, settings in _networks().items()]
    result = {"photographs": count, "calibration": _CALIBRATION, "steps": steps, "networks": networks}
    if count >= _ALL:
        _PLOT.write_text(plot(result))
    return result


def _network(
    name: str,
    count: int,
    steps: int,
    model: str,
    preprocessing: dict[str, Any],
    cuts: tuple[str, ...],
    trained: tuple[str, ...],
    landing: str | None,
) -> dict[str, Any]:
    settings = _settings(name, count, steps, model, preprocessing, cuts, trained)
    early = None
    if landing is not None:
        early = _from_picture(_calibrated(_early(settings, landing)), landing)
    bundle = _calibrated(settings)
    sources = shuffled(open_dataset(settings.evaluation or settings.data).sources)
    manifest = bundle.manifest
    samples = load_samples(sources, count, manifest.boundaries[0].tensors, manifest.preprocessing)
    graphs = BundleGraphs(bundle, [create_runtime("onnx")])
    return {
        "name": name,
        "uncut": manifest.task.uncut,
        "pictures": {codec: _pictures(graphs, samples, codec) for codec in _QUALITIES},
        "early": early,
        "cuts": [_cut(bundle, graphs, samples, index, label) for index, label in enumerate(cuts, start=1)],
    }


def _settings(
    name: str,
    count: int,
    steps: int,
    model: str,
    preprocessing: dict[str, Any],
    cuts: tuple[str, ...],
    trained: tuple[str, ...],
) -> Settings:
    shared = shared_root()
    images = shared / "images"
    folder = _FOLDER / f"{name}-{count}-{steps}"
    return Settings(
        str(shared / "models" / model),
        images / "imagenet-calibration",
        folder / "cuts",
        evaluation=images / "imagenet-evaluation",
        preprocessing=preprocessing,
        cuts=cuts,
        codecs=(*FAMILIES, *TRAINED),
        precisions=("fp32",),
        runtimes=("onnx",),
        keep_all=True,
        calibration_samples=_CALIBRATION,
        samples=count,
        train_cuts=trained,
        train_data=shared / "photos",
        train_steps=steps,
    )


def _early(settings: Settings, landing: str) -> Settings:
    """The same for encoders that start at the picture."""
    return replace(settings, out=settings.out.with_name("early"), cuts=(landing,), codecs=EARLY, landing=landing)


def _calibrated(settings: Settings) -> Bundle:
    """The bundle of an earlier run, or a new one."""
    if settings.out.exists():
        return Bundle.open(settings.out)
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    return run_calibration(settings, SilentReporter()).bundle


def _from_picture(bundle: Bundle, landing: str) -> dict[str, Any]:
    """Curves of the encoders that start at the picture; what each level computes, and what it costs to change level."""
    curves = _curves(bundle, 0)
    graphs = BundleGraphs(bundle.part("device"), [create_runtime("onnx")])
    picture = np.random.default_rng(0).integers(0, 256, bundle.manifest.boundaries[0].tensors[0].shape, np.uint8)
    switching = {}
    for name, rows in curves.items():
        (entry,) = (codec for codec in bundle.manifest.codecs if codec.codec == name)
        (file,) = entry.encoder
        encoder = onnx.load_model_from_string(bundle.read(file.file))
        places = int(np.prod(entry.symbols[0].shape[2:]))
        for level, row in enumerate(rows):
            row["mmac"] = _weights(encoder.graph, level) * places / 1e6
        switching[name] = _switching_ms(graphs.codec(entry.id), (picture,), len(rows))
    return {"landing": landing, "curves": curves, "switching_ms": switching}


def _weights(graph: onnx.GraphProto, level: int) -> int:
    """Weights of the convolutions that an encoder runs at a level."""
    constants = {value.name: value for value in graph.initializer}
    total, narrow = 0, False
    for node in graph.node:
        if node.op_type == "Conv":
            total += int(np.prod(constants[node.input[1]].dims))
        elif node.op_type == "LessOrEqual":
            narrow = level <= int(numpy_helper.to_array(constants[node.input[1]]))
        elif node.op_type == "If":
            bodies = {attribute.name: attribute.g for attribute in node.attribute}
            total += _weights(bodies["then_branch" if narrow else "else_branch"], level)
    return total


def _switching_ms(codec: Codec, tensors: tuple[Array, ...], levels: int) -> float:
    """How much longer requests take where each has another level than the one before."""

    ends = 0, levels - 1

    def medians(order: Sequence[int]) -> float:
        """Of the first and the last level, their mean."""
        times: dict[int, list[float]] = {level: [] for level in ends}
        for level in order:
            started = perf_counter()
            codec.encode(tensors, level)
            times[level].append((perf_counter() - started) * 1e3)
        return float(np.mean([np.median(found) for found in times.values()]))

    medians([*ends] * 3)
    return medians([*ends] * _SWITCHES) - medians([level for level in ends for _ in range(_SWITCHES)])


def _parallel(work: Callable[[int], Any], count: int) -> list[Any]:
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(work, range(count)))


def _pictures(graphs: BundleGraphs, samples: Samples, codec: str) -> list[Row]:
    """Curve of a picture codec, the smallest first."""
    model = graphs.span(0, graphs.bundle.manifest.last, "fp32")
    return [_picture_point(model, samples, codec, quality) for quality in _QUALITIES[codec]]


def _picture_point(model: Graph, samples: Samples, codec: str, quality: int) -> Row:
    options = {"method": 6} if codec == "webp" else {"optimize": True, "subsampling": "4:2:0"}

    def one(number: int) -> tuple[int, bool]:
        buffer = io.BytesIO()
        Image.fromarray(samples.tensors[number][0][0]).save(buffer, codec.upper(), quality=quality, **options)
        with Image.open(buffer) as picture:
            pixels = np.asarray(picture.convert("RGB"))[None]
        scores = model.run([pixels])[0]
        return len(buffer.getvalue()), int(scores.argmax()) == samples.sources[number].label

    sizes, right = zip(*_parallel(one, len(samples.tensors)), strict=True)
    return {"level": f"q{quality}", "bytes": float(np.mean(sizes)), "metric": float(np.mean(right))}


def _cut(bundle: Bundle, graphs: BundleGraphs, samples: Samples, index: int, label: str) -> dict[str, Any]:
    boundary = bundle.manifest.boundaries[index]
    return {
        "label": label,
        "shape": list(boundary.tensors[0].shape[1:]),
        "macs": boundary.macs / bundle.manifest.boundaries[-1].macs,
        "int8_zstd": _int8_zstd(graphs, samples, index),
        "curves": _curves(bundle, index),
    }


def _curves(bundle: Bundle, index: int) -> dict[str, list[Row]]:
    """What was measured of every codec that starts at a boundary, the smallest level first."""
    whole = bundle.points[bundle.point_number(f"cut{bundle.manifest.last}-fp32")].measured.device_ms
    curves: dict[str, list[Row]] = {}
    for point in bundle.points:
        if point.start != index or point.codec is None:
            continue
        codec = bundle.codec(point.codec)
        found = point.measured
        curves.setdefault(codec.codec, []).append(
            {
                "level": codec.levels[point.level],
                "bytes": found.bytes_mean,
                "metric": found.metric,
                "share": (found.device_ms + found.encode_ms) / whole,
                "encode_ms": found.encode_ms,
                "decode_ms": found.decode_ms,
            }
        )
    return curves


def _int8_zstd(graphs: BundleGraphs, samples: Samples, index: int) -> dict[str, float]:
    """Mean bytes of 8-bit features behind zstd -9, with ranges per channel (`affine`) and with one range."""
    head = graphs.span(0, index, "fp32")
    affine: Any = graphs.codec(f"{index}-affine")
    top = max(float(np.abs(head.run(sample)[0]).max()) for sample in samples.tensors[:100])

    def packed(values: Array) -> int:
        return len(zstandard.ZstdCompressor(level=9).compress(np.ascontiguousarray(values).tobytes()))

    def one(number: int) -> tuple[int, int]:
        crossing = head.run(samples.tensors[number])
        (symbols,) = affine.symbols(crossing, 2)
        single = np.clip(np.rint(crossing[0] * (127 / top)), -127, 127).astype(np.int8)
        return packed(symbols), packed(single)

    channels, single = zip(*_parallel(one, len(samples.tensors)), strict=True)
    return {"per_channel": float(np.mean(channels)), "per_tensor": float(np.mean(single))}


def bytes_at(curve: Sequence[Row], metric: float) -> float | None:
    """The size at which a curve first reaches `metric`: logarithm of bytes, interpolated. None where it does not."""
    before: Row | None = None
    for row in curve:
        if row["metric"] >= metric:
            if before is None:
                return float(row["bytes"])
            share = (metric - before["metric"]) / (row["metric"] - before["metric"])
            return float(np.exp(np.log(before["bytes"]) * (1 - share) + np.log(row["bytes"]) * share))
        before = row
    return None


def _ratio(size: float | None, reference: float | None) -> str:
    if size is None or reference is None:
        return "–"
    return f"1/{reference / size:.1f}" if size <= reference else f"{size / reference:.1f}×"


def _size(size: float | None) -> str:
    return "–" if size is None else f"{size:,.0f}"


def table(result: dict[str, Any]) -> Table:
    """A row per cut and family: the curve, and sizes at one point of accuracy lost beside the references'."""
    out = Table(title=f"{TITLE}: {result['photographs']} photographs, sizes compared at {100 * LOSS:.0f} point lost")
    for column in ("cut", "device", "codec", "bytes → top-1 %", "bytes", "of int8+zstd", "of WebP"):
        out.add_column(column, justify="right" if column in ("device", "bytes", "of int8+zstd", "of WebP") else "left")
    for network in result["networks"]:
        wanted = network["uncut"] - LOSS
        out.add_section()
        out.add_row(f"{network['name']}, uncut {network['uncut']:.1%}")
        webp = bytes_at(network["pictures"]["webp"], wanted)
        for codec, curve in network["pictures"].items():
            out.add_row("0", "–", codec, _points(curve), _size(bytes_at(curve, wanted)), "", "")
        if network["early"] is not None:
            landing = network["early"]["landing"]
            for codec, curve in network["early"]["curves"].items():
                for width, rows in _by_width(curve).items():
                    size, share = bytes_at(rows, wanted), f"{np.median([row['share'] for row in rows]):.1%}"
                    name = f"{codec} {width} ({rows[0]['mmac']:.0f} MMAC, {rows[-1]['encode_ms']:.2f} ms)"
                    out.add_row(f"0 → {landing}", share, name, _points(rows), _size(size), "", _ratio(size, webp))
                change = network["early"]["switching_ms"][codec]
                out.add_row("", "", f"changing the level: {change:+.2f} ms", "", "", "", "")
        for cut in network["cuts"]:
            shape = "×".join(map(str, cut["shape"]))
            int8 = cut["int8_zstd"]["per_tensor"]
            for codec, curve in cut["curves"].items():
                size = bytes_at(curve, wanted)
                share = f"{np.median([row['share'] for row in curve]):.0%}"
                ratios = (_ratio(size, int8), _ratio(size, webp))
                out.add_row(f"{cut['label']} ({shape})", share, codec, _points(curve), _size(size), *ratios)
            out.add_row("", "", "int8+zstd", "", _size(int8), "", "")
    return out


def _by_width(curve: Sequence[Row]) -> dict[str, list[Row]]:
    """The levels of each width; of all, under an empty name, where there are no widths."""
    widths: dict[str, list[Row]] = {}
    for row in curve:
        name = row["level"]
        widths.setdefault(name.split("-")[0] if name.startswith("w") else "", []).append(row)
    return widths


def _points(curve: Sequence[Row]) -> str:
    return ", ".join(f"{row['bytes']:,.0f} → {100 * row['metric']:.1f}" for row in curve)


def plot(result: dict[str, Any]) -> str:
    """The curves as an SVG, a panel per network."""
    panels = []
    for network in result["networks"]:
        curve = partial(_curve, uncut=network["uncut"])
        curves = [curve(name, rows, dashed=True) for name, rows in network["pictures"].items()]
        if network["early"] is not None:
            for codec, rows in network["early"]["curves"].items():
                for width, level in _by_width(rows).items():
                    curves.append(curve(f"{codec} {width}, from the picture", level, dashed=False))
        for cut in network["cuts"]:
            for codec, rows in cut["curves"].items():
                if codec != "affine" or cut is network["cuts"][-1]:
                    depth = f"{cut['macs']:.0%} of the computation"
                    curves.append(curve(f"{codec}, {depth}", rows, dashed=False))
        panels.append((f"{network['name']}, uncut {network['uncut']:.1%}", curves))
    return draw(panels, "bytes for one picture", "top-1, points from the uncut model")


def _curve(name: str, rows: Sequence[Row], uncut: float, dashed: bool) -> Curve:
    return Curve(name, [(row["bytes"], 100 * (row["metric"] - uncut)) for row in rows], dashed)
