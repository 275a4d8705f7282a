"""Heads in slices for real: a client and a server process that overlap, beside the ways without, over an emulated link.

`cutpoint calibrate --slices` makes the bundle of a torchvision architecture (random weights; VGG-19 has one dense layer
behind global pooling). Every way to an answer is asked for by the same client, in turns, through the link emulator.

Device and server are this machine, slowed by waiting in proportion to the processor time of their own threads, so that
other work on it is absorbed as long as it takes less than that: the server 4 times, the device 2.5 times as much. Link
and round trip are slowed by the same factor that brings VGG-19 on the device to the 87 ms behind Intra-DP's logs (arXiv
2507.05829), so that computing and sending are in the proportion of that device and 88 Mbit/s, 2 ms. The table is in the
undelayed milliseconds of that set-up. What event loops and threads take is not slowed; it counts less here than there.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torchvision
from PIL import Image
from rich.table import Table
from tests.bench._slow_server import slow_server
from tests.bench.overlap import Network, pooled

from cutpoint.calibration.pipeline import run_calibration
from cutpoint.calibration.progress import SilentReporter
from cutpoint.calibration.settings import Settings
from cutpoint.demo.scenes import render
from cutpoint.sdk import Bundle, Client, Conditions, EnergyModel, Objective, Point
from cutpoint.sdk.channel import Channel
from cutpoint.sdk.predictor import Predictor
from cutpoint.sdk.testing import LinkEmulator, Trace

TITLE = "Slices through a real client and server"

_SIDE = 224
_UPLINK, _RTT = 88e6, 0.002
#: The published device on VGG-19; how many times slower than the server it is; and the server than this machine.
_DEVICE_VGG_MS, _FACTOR, _SERVER = 87.0, 2.5, 4.0
_NETWORKS = ("vgg19", "resnet50", "mobilenet_v2")
#: Requests of each way that count, and before them; ways of each kind that are run: the best by prediction.
_ROUNDS, _WARM, _BEST = 7, 1, 2


def _pictures(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        picture = Image.fromarray(render(number).image).resize((_SIDE, _SIDE))
        picture.save(folder / f"{number}.png")
    return folder


def calibrate(name: str, folder: Path, uplink: float) -> Bundle:
    """The bundle of an architecture, with slices for a link of so many bit/s beside this machine's own speed."""
    torch.manual_seed(0)
    module = torchvision.models.get_model(name, weights=None)
    module = pooled(module) if name.startswith("vgg") else module
    model = folder / f"{name}.onnx"
    torch.onnx.export(module.eval(), (torch.zeros(1, 3, _SIDE, _SIDE),), str(model), dynamo=False)
    settings = Settings(
        str(model),
        _pictures(folder / f"{name}-data", 6),
        folder / f"{name}.cutpoint",
        cuts=5,
        codecs=("raw", "webp", "affine"),
        precisions=("fp32",),
        runtimes=("onnx",),
        calibration_samples=3,
        samples=3,
        keep_all=True,
        slices=(uplink / 1e6,),
    )
    run_calibration(settings, SilentReporter())
    return Bundle.open(settings.out)


def _kind(point: Point) -> str:
    if point.local:
        return "device alone"
    exact = "raw-exact" in point.id
    if point.slicing is not None:
        return "sliced, exact" if exact else "sliced, lossy"
    if point.start == 0:
        return "picture, exact" if exact else "picture, WebP" if point.id == "cut0-webp-q85" else ""
    return "cut, exact" if exact else "cut, 8 bits" if "affine-8bit" in point.id else ""


def candidates(bundle: Bundle, conditions: Conditions) -> dict[str, list[tuple[float, Point]]]:
    """Of each kind of way the best by prediction, with the predicted milliseconds."""
    points = sorted(bundle.points, key=lambda point: (not point.local, point.slicing is not None))
    answer = bundle.manifest.boundaries[-1].nbytes
    latency = Predictor(points, EnergyModel(), answer).predict(conditions).latency_ms[3]
    found: dict[str, list[tuple[float, Point]]] = {}
    for ms, point in sorted(zip(latency.tolist(), points, strict=True), key=lambda item: item[0]):
        if kind := _kind(point):
            found.setdefault(kind, []).append((ms, point))
    return {kind: ways[:_BEST] for kind, ways in found.items()}


async def drive(bundle: Bundle, uplink: float, rtt: float) -> dict[str, Any]:
    """Runs the best of each kind and the policy, in turns; milliseconds of this machine."""
    picture = Image.fromarray(render(99).image).resize((_SIDE, _SIDE))
    device = _FACTOR * _SERVER
    conditions = Conditions(Channel(uplink, rtt, downlink=uplink), device_scale=device, server_scale=_SERVER)
    ways = candidates(bundle, conditions)
    times: dict[str, list[float]] = {point.id: [] for kind in ways.values() for _, point in kind}
    chosen: list[tuple[str, float, float]] = []
    link = Trace.constant(uplink)
    async with (
        slow_server(Path(bundle.origin), _SERVER, "--threads", "1") as server,
        LinkEmulator(server.url, link, link, delay=rtt / 2) as emulator,
        Client(emulator.url, bundle, mode="edge", slowdown=device) as edge,
        Client(bundle=bundle, mode="device", slowdown=device) as alone,
        Client(emulator.url, bundle, objective=Objective(accuracy_floor=0.0), slowdown=device) as auto,
    ):
        for number in range(_WARM + _ROUNDS):
            for name, taken in times.items():
                local = bundle.points[bundle.point_number(name)].local
                result = await (alone if local else edge).infer(picture, point=name)
                if number >= _WARM:
                    taken.append(result.timing.total)
            result = await auto.infer(picture)
            if number >= _WARM:
                chosen.append((result.plan.point.id, result.plan.predicted_ms, result.timing.total))
    kinds = {}
    for kind, its in ways.items():
        ms, predicted, point = min((median(times[point.id]), predicted, point) for predicted, point in its)
        kinds[kind] = {"point": point.id, "ms": ms, "predicted_ms": predicted, "slicing": _describe(bundle, point)}
    policy = {
        "points": sorted({name for name, _, _ in chosen}),
        "predicted_ms": median(ms for _, ms, _ in chosen),
        "ms": median(ms for _, _, ms in chosen),
    }
    return {"kinds": kinds, "policy": policy, "requests": times}


def _describe(bundle: Bundle, point: Point) -> str:
    if point.slicing is None:
        return ""
    rows = [stop - first for first, stop in (step.rows for step in point.slicing.steps)]
    shape = "×".join(map(str, bundle.manifest.boundaries[point.start].tensors[0].shape[1:]))
    pictures = point.slicing.pictures
    return f"{shape}: {'+'.join(map(str, rows[:pictures])) or '–'}; {'+'.join(map(str, rows[pictures:])) or '–'}"


def _scaled(result: dict[str, Any], dilation: float) -> dict[str, Any]:
    for way in (*result["kinds"].values(), result["policy"]):
        way["ms"], way["predicted_ms"] = way["ms"] / dilation, way["predicted_ms"] / dilation
    return result


def run(names: Sequence[str] = _NETWORKS) -> dict[str, Any]:
    """Calibrates and measures; see the module's docstring."""
    here_ms = Network.whole("vgg19")
    dilation = here_ms * _FACTOR * _SERVER / _DEVICE_VGG_MS
    uplink, rtt = _UPLINK / dilation, _RTT * dilation
    networks = []
    with tempfile.TemporaryDirectory(prefix="overlap-") as folder:
        for name in names:
            # Beside this machine, which is `_SERVER` times as fast as the server, the link is as much faster.
            bundle = calibrate(name, Path(folder), uplink * _SERVER)
            measured = asyncio.run(drive(bundle, uplink, rtt))
            networks.append({"name": name, **_scaled(measured, dilation)})
    return {"dilation": dilation, "uplink": _UPLINK, "rtt_ms": _RTT * 1e3, "networks": networks}


def table(result: dict[str, Any]) -> Table:
    """A row for each network and kind of way."""
    mbits, dilation = result["uplink"] / 1e6, result["dilation"]
    title = f"{mbits:.0f} Mbit/s, {result['rtt_ms']:.0f} ms; milliseconds, {dilation:.0f} times slower in the run"
    table = Table(title=title)
    for column in ("network", "way", "measured", "predicted", "/ best of others", "rows: server; device"):
        table.add_column(column, justify="right" if column in ("measured", "predicted", "/ best of others") else "left")
    for network in result["networks"]:
        kinds = network["kinds"]
        alone = kinds["device alone"]["ms"]
        exact = [way["ms"] for kind, way in kinds.items() if kind in ("picture, exact", "cut, exact")]
        lossy = [way["ms"] for kind, way in kinds.items() if kind in ("picture, WebP", "cut, 8 bits")]
        for kind, way in kinds.items():
            ratio = ""
            if kind.startswith("sliced"):
                others = exact if kind.endswith("exact") else lossy
                ratio = f"{way['ms'] / min(alone, *others):.2f}"
            cells = f"{way['ms']:.1f}", f"{way['predicted_ms']:.1f}", ratio, way["slicing"] or way["point"]
            table.add_row(network["name"], kind, *cells)
        policy = network["policy"]
        best = min(way["ms"] for kind, way in kinds.items() if not kind.startswith("sliced"))
        cells = f"{policy['ms']:.1f}", f"{policy['predicted_ms']:.1f}", f"{policy['ms'] / best:.2f}"
        table.add_row(network["name"], "policy's choice", *cells, ", ".join(policy["points"]))
        table.add_section()
    return table
