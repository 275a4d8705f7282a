"""Heads in slices for real: a client and a server that overlap, beside the ways without, over an emulated link.

Bundles of torchvision architectures (random weights; VGG-19 has one dense layer behind global pooling) get slices as
from `cutpoint calibrate --slices`. Every way to an answer is asked for by one client, in turns, through the emulator.

Device and server are this machine, slowed by waiting in proportion to the processor time of their own threads, so that
other work on it is absorbed as long as it takes less than that: the server 10 times, the device 2.5 times as much. Link
and round trip are slowed by the same factor that brings VGG-19 on the device to the 87 ms behind Intra-DP's logs (arXiv
2507.05829), so that computing and sending are in the proportion of that device and 88 Mbit/s, 2 ms. The table is in the
undelayed milliseconds of that set-up. What event loops and threads take is not slowed; it counts less here than there.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import numpy as np
from PIL import Image
from rich.table import Table
from tests.bench.overlap import Network, best_ms

from cutpoint.calibration.codecs.entries import fit_affine, picture_codec, raw_codec
from cutpoint.calibration.data import Source
from cutpoint.calibration.graphs.exports import export_spans
from cutpoint.calibration.graphs.spans import extract_span
from cutpoint.calibration.progress import SilentReporter
from cutpoint.calibration.slices.points import Draft, add_slices
from cutpoint.calibration.tasks import Situation, make_judge
from cutpoint.codecs import Array
from cutpoint.demo.scenes import render
from cutpoint.sdk import Bundle, Client, Conditions, EnergyModel, Objective, Point, create_runtime
from cutpoint.sdk.bundle import SCHEMA, Boundary, Manifest, Measurement, Preprocessing, Task
from cutpoint.sdk.channel import Channel
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.overlap import ChannelState
from cutpoint.sdk.predictor import Predictor
from cutpoint.sdk.testing import LinkEmulator, ServerProcess, Trace

TITLE = "Slices through a real client and server"

_SIDE = 224
_UPLINK, _RTT = 88e6, 0.002
_HOW = Preprocessing(height=_SIDE, width=_SIDE, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
#: The published device on VGG-19; how many times slower than the server it is; and the server than this machine.
_DEVICE_VGG_MS, _FACTOR, _SERVER = 87.0, 2.5, 10.0
#: With floats, the picture is sent as the normalised floats that the network takes, as published.
_NETWORKS = (("vgg19", "pixels"), ("vgg19", "floats"), ("resnet50", "pixels"), ("densenet121", "pixels"))
#: Requests of each way that count, and before them; ways of each kind that are run: the best by prediction.
_ROUNDS, _WARM, _BEST = 4, 1, 2
#: Processor time of one measurement, at least three runs.
_SECONDS = 0.05


def processor_time(run: Callable[[Any], Any], inputs: Sequence[Any]) -> tuple[float, list[Any]]:
    """Milliseconds of the run that other work disturbed least, and what the runs gave."""
    results = [run(value) for value in inputs]
    return best_ms(lambda: run(inputs[0]), _SECONDS), results


def _pictures(count: int) -> list[tuple[Array, ...]]:
    return [(np.asarray(Image.fromarray(render(n).image).resize((_SIDE, _SIDE)))[None],) for n in range(count)]


def _normalised(picture: Array) -> Array:
    scaled = (picture.astype(np.float32) / 255 - np.array(_HOW.mean)) / np.array(_HOW.std)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), dtype=np.float32)


def make_bundle(name: str, state: ChannelState, floats: bool = False) -> Bundle:
    """An architecture with the usual cuts, and with slices for one state of link, device and server.

    What `cutpoint calibrate --slices` writes, without its search: `raw` and 8 bits at every cut. With `floats` the
    model takes normalised pictures, and everything is sent exactly.
    """
    network = Network.build(name, 5, floats)
    graph, samples = network.graph, _pictures(3)
    if floats:
        samples = [(_normalised(picture),) for (picture,) in samples]
    runtime = create_runtime()
    last = len(network.cuts) + 1
    inner = [Boundary(i, tuple(network.specs(i - 1)), cut.label, cut.macs) for i, cut in enumerate(network.cuts, 1)]
    boundaries = (Boundary(0, graph.inputs), *inner, Boundary(last, graph.outputs, macs=sum(graph.macs)))
    exported = export_spans(graph, {"fp32": graph.model}, boundaries)
    fitted = [raw_codec(boundaries[0])] if floats else [raw_codec(boundaries[0]), picture_codec(boundaries[0], "webp")]
    for boundary in inner:
        span = extract_span(graph.model, graph.inputs, boundary.tensors, graph.batch)
        crossings = [runtime.load(span.SerializeToString(), {}).run(sample) for sample in samples]
        fitted += [raw_codec(boundary)] if floats else [raw_codec(boundary), fit_affine(boundary, crossings)]
    answers = [runtime.load(graph.model.SerializeToString(), {}).run(sample) for sample in samples]
    sources = tuple(Source(Path(str(number)), str(number)) for number in range(len(samples)))
    judge = make_judge("auto", Situation(graph.outputs, sources, answers, None if floats else _HOW))
    points = [Point(f"cut{last}-fp32", last, last, Measurement(1.0, 0, 0, network.whole_ms), "fp32")]
    for codec in fitted:
        entry = codec.entry
        start = entry.start
        for level in (entry.levels.index(chosen) for chosen in ("exact", "q85", "8bit") if chosen in entry.levels):
            precision = "fp32" if start else None
            point = f"cut{start}-{entry.codec}-{entry.levels[level]}"
            points.append(Point(point, start, start, Measurement(1.0, 0, 0, 0.0), precision, entry.id, level, "fp32"))
    files = dict(exported.files)
    for codec in fitted:
        files |= codec.files
    manifest = Manifest(
        SCHEMA,
        name,
        "tests.bench",
        Task(judge.kind, judge.metric, 1.0, len(samples)),
        boundaries,
        exported.spans,
        tuple(codec.entry for codec in fitted),
        tuple(points),
        preprocessing=None if floats else _HOW,
    )
    manifest = msgspec.structs.replace(manifest, points=_measured(network, Bundle.create(manifest, files), samples))
    given = ("raw",) if floats else ("raw", "affine", "webp"), samples, judge, 1, SilentReporter(), processor_time
    return add_slices(Draft(graph, manifest, files), [state], *given).bundle


def _measured(network: Network, bundle: Bundle, samples: Sequence[tuple[Array, ...]]) -> tuple[Point, ...]:
    """The points with bytes and processor times."""
    graphs = BundleGraphs(bundle, [create_runtime()])
    points = []
    for point in bundle.points:
        if point.codec is not None:
            assert point.tail_precision is not None
            head_ms, crossing = 0.0, samples[0]
            if point.start:
                head_ms, crossing = (
                    network.heads_ms[point.start - 1],
                    graphs.span(0, point.start, "fp32").run(samples[0]),
                )
            codec, level = graphs.codec(point.codec), point.level
            encode_ms, (payload,) = processor_time(lambda x, c=codec, n=level: c.encode(x, n), [crossing])
            decode_ms, _ = processor_time(lambda x, c=codec, n=level: c.decode(x, n), [payload])
            tail_ms = network.tails_ms[point.start - 1] if point.start else network.whole_ms
            figures = Measurement(1.0, len(payload), len(payload), head_ms, encode_ms, decode_ms, tail_ms)
            point = msgspec.structs.replace(point, measured=figures)
        points.append(point)
    return tuple(points)


def _kind(point: Point) -> str:
    if point.local:
        return "device alone"
    exact = "raw-exact" in point.id
    if point.slicing is not None:
        return "sliced, exact" if exact else "sliced, lossy"
    if point.start == 0:
        return "picture, exact" if exact else "picture, WebP"
    return "cut, exact" if exact else "cut, 8 bits"


def candidates(bundle: Bundle, conditions: Conditions) -> dict[str, list[tuple[float, Point]]]:
    """Of each kind of way the best by prediction, with the predicted milliseconds."""
    points = sorted(bundle.points, key=lambda point: (not point.local, point.slicing is not None))
    answer = bundle.manifest.boundaries[-1].nbytes
    latency = Predictor(points, EnergyModel(), answer).predict(conditions).latency_ms[3]
    found: dict[str, list[tuple[float, Point]]] = {}
    for ms, point in sorted(zip(latency.tolist(), points, strict=True), key=lambda item: item[0]):
        found.setdefault(_kind(point), []).append((ms, point))
    return {kind: ways[:_BEST] for kind, ways in found.items()}


async def drive(bundle: Bundle, uplink: float, rtt: float) -> dict[str, Any]:
    """Runs the best of each kind and the policy, in turns; milliseconds of this machine."""
    picture = np.asarray(Image.fromarray(render(99).image).resize((_SIDE, _SIDE)))
    asked = picture if bundle.manifest.preprocessing is not None else _normalised(picture[None])
    device = _FACTOR * _SERVER
    conditions = Conditions(Channel(uplink, rtt, downlink=uplink), device_scale=device, server_scale=_SERVER)
    ways = candidates(bundle, conditions)
    times: dict[str, list[float]] = {point.id: [] for kind in ways.values() for _, point in kind}
    chosen: list[tuple[str, float, float]] = []
    link = Trace.constant(uplink)
    async with (
        ServerProcess(Path(bundle.origin), "--slowdown", str(_SERVER), "--threads", "1") as server,
        LinkEmulator(server.url, link, link, delay=rtt / 2) as emulator,
        Client(emulator.url, bundle, mode="edge", slowdown=device) as edge,
        Client(bundle=bundle, mode="device", slowdown=device) as alone,
        AsyncExitStack() as later,
    ):
        # Once the server knows how slow it is, its greeting says so.
        await edge.infer(asked)
        adaptive = Client(emulator.url, bundle, objective=Objective(accuracy_floor=0.0), slowdown=device)
        auto = await later.enter_async_context(adaptive)
        for number in range(_WARM + _ROUNDS):
            for name, taken in times.items():
                local = bundle.points[bundle.point_number(name)].local
                result = await (alone if local else edge).infer(asked, point=name)
                if number >= _WARM:
                    taken.append(result.timing.total)
            result = await auto.infer(asked)
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


def run(names: Sequence[tuple[str, str]] = _NETWORKS) -> dict[str, Any]:
    """Calibrates and measures; see the module's docstring."""
    here_ms = Network.whole("vgg19")
    dilation = here_ms * _FACTOR * _SERVER / _DEVICE_VGG_MS
    uplink, rtt = _UPLINK / dilation, _RTT * dilation
    networks = []
    with tempfile.TemporaryDirectory(prefix="overlap-") as folder:
        for name, carried in names:
            # To this machine, which is `_SERVER` times as fast as the server, the link is as much faster.
            path = Path(folder) / f"{name}-{carried}.cutpoint"
            state = ChannelState(uplink * _SERVER, rtt * 1e3 / _SERVER, _FACTOR)
            make_bundle(name, state, carried == "floats").save(path)
            bundle = Bundle.open(path)
            measured = asyncio.run(drive(bundle, uplink, rtt))
            networks.append({"name": f"{name}, {carried}", **_scaled(measured, dilation)})
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
