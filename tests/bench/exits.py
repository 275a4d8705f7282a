"""What exits are worth: share answered on the device, latency and bytes with and without them, and the promise.

MobileNetV2 on photographs and the demo's network on fresh scenes. Exits are trained on pictures of their own, their
thresholds chosen on others, and everything is counted on pictures that neither has seen. Requests go through the real
client, an emulated link with a recorded trace, and a server process; the device is slowed down. Each link is used with
the fixed point of the fewest expected bytes, and with the adaptive policy, each with its exit and without.

Needs the shared data (see tests/conftest.py). Bundles are calibrated once (a quarter of an hour) and kept in
`bench/exits`.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
from rich.table import Table
from tests.bench._traces import Recorded, recorded_links
from tests.support.torch_models import shared_root

from cutpoint.calibration.data import Samples, load_samples, open_dataset, shuffled
from cutpoint.calibration.pipeline import run_calibration
from cutpoint.calibration.progress import SilentReporter
from cutpoint.calibration.settings import Settings
from cutpoint.demo.scenes import write_folder
from cutpoint.sdk import Bundle, Client, EnergyModel, Objective, Point, StaticPolicy
from cutpoint.sdk.bundle import Exit
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.head import Head
from cutpoint.sdk.policy import AdaptivePolicy, Policy, admissible, fastest_alone
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.sdk.testing import LinkEmulator, ServerProcess

TITLE = "Exits: answers that cost no bytes"

#: Requests for each strategy and link.
_REQUESTS = 80
_LINKS = ("ATT-LTE-driving", "4g-walking-50093", "5g-driving-22")
#: Pictures that the promise is counted on at the most.
_ALL = 3600
#: What the fixed point may lose.
_FIXED_DROP = 0.03
#: Pictures and rounds that device times are taken with.
_TIMED, _ROUNDS = 20, 2
_FOLDER = Path(__file__).parents[2] / "bench" / "exits"
#: Scenes: for training, for thresholds, and never seen; seeds that neither the demo nor its network's training uses.
_SCENES = {"training": (2000, 2**29 + 2**20), "calibration": (1100, 2**29 + 2**21), "evaluation": (3600, 2**29 + 2**22)}
#: How much slower the emulated device is, by network.
_SLOWDOWN = {"MobileNetV2": 20.0, "scenes": 40.0}

Row = dict[str, Any]


@dataclass(frozen=True)
class _Network:
    name: str
    bundle: Bundle
    samples: Samples


def _settings(name: str) -> Settings:
    common: dict[str, Any] = {
        "out": _FOLDER / f"{name}.cutpoint",
        "codecs": ("webp", "klt"),
        "runtimes": ("onnx",),
        "calibration_samples": 100,
        "samples": 300,
        "mode": "quick",
        "points": 12,
        "exit_drops": (0.01,),
        # A cut as late as an exit is of use for what the exit saves alone, and the search would drop it.
        "keep_all": True,
    }
    if name == "MobileNetV2":
        shared = shared_root()
        return Settings(
            model=str(shared / "models" / "mobilenet_v2_1.0_224.onnx"),
            data=shared / "images" / "imagenet-calibration",
            evaluation=shared / "images" / "imagenet-evaluation",
            train_data=shared / "photos",
            preprocessing={"resize": 256, "height": 224, "width": 224, "scale": 1 / 128, "mean": [1, 1, 1]},
            cuts=("t126", "t160"),
            exits=("t160",),
            exit_views=4,
            **common,
        )
    folders = {part: _FOLDER / "scenes" / part for part in _SCENES}
    for part, (count, seed) in _SCENES.items():
        if not (folders[part] / "classes.txt").exists():
            write_folder(folders[part], count, seed)
    return Settings(
        model=str(Path(__file__).parents[2] / "examples" / "scenes.onnx"),
        data=folders["calibration"],
        evaluation=folders["evaluation"],
        train_data=folders["training"],
        labels=tuple((folders["training"] / "classes.txt").read_text().splitlines()),
        preprocessing={
            "resize": 256,
            "height": 224,
            "width": 224,
            "scale": 1.0,
            "mean": [127.5] * 3,
            "std": [127.5] * 3,
        },
        cuts=("conv_12", "conv_21"),
        precisions=("fp32",),
        exits=("conv_21",),
        **common,
    )


def network(name: str, most: int = _ALL) -> _Network:
    """The bundle, calibrated now if it is not there yet, and at most so many pictures that nothing was fitted to."""
    settings = _settings(name)
    if not settings.out.exists():
        _FOLDER.mkdir(parents=True, exist_ok=True)
        run_calibration(settings, SilentReporter())
    bundle = Bundle.open(settings.out)
    manifest = bundle.manifest
    assert settings.evaluation is not None
    sources = shuffled(open_dataset(settings.evaluation, manifest.task.labels if name == "scenes" else ()).sources)
    samples = load_samples(sources, most, manifest.boundaries[0].tensors, manifest.preprocessing)
    return _Network(name, bundle, samples)


# -- the promise -------------------------------------------------------------------------------------------------------


def _promise(net: _Network) -> list[Row]:
    """Every exit on every picture: what it answers, and how that compares with the uncut model."""
    graphs = BundleGraphs(net.bundle, [create_runtime("onnx")])
    head, manifest = Head(graphs), net.bundle.manifest
    whole = next(p for p in net.bundle.points if p.local and p.precision == "fp32" and p.exit is None)
    labels = [source.label for source in net.samples.sources]
    uncut = [_class(head.run(whole, tensors).outputs) for tensors in net.samples.tensors]
    rows = []
    for exit in manifest.exits:
        graph, span = graphs.exit(exit.id), graphs.span(0, exit.boundary, exit.precision)
        crossings = [span.run(tensors) for tensors in net.samples.tensors]
        answers = [graph.run(crossing) for crossing in crossings]
        exit_ms, rest_ms = _beside_the_rest(net.bundle, graphs, exit, crossings)
        for threshold in exit.thresholds:
            taken = [answer[-1].item() >= threshold.confidence for answer in answers]
            right = [_class(answer) == label for answer, label in zip(answers, labels, strict=True)]
            was = [given == label for given, label in zip(uncut, labels, strict=True)]
            count = len(labels)
            rows.append(
                {
                    "exit": exit.id,
                    "cut": manifest.boundaries[exit.boundary].label,
                    "promised_drop": threshold.drop,
                    "certainty": threshold.certainty,
                    "held_out": threshold.samples,
                    "held_out_rate": threshold.rate,
                    "pictures": count,
                    "rate": sum(taken) / count,
                    "spoilt": sum(t and w and not r for t, w, r in zip(taken, was, right, strict=True)) / count,
                    "top1_uncut": sum(was) / count,
                    "top1_with_exit": sum(r if t else w for t, w, r in zip(taken, was, right, strict=True)) / count,
                    "ms": exit_ms,
                    "rest_ms": rest_ms,
                }
            )
    return rows


def _beside_the_rest(
    bundle: Bundle, graphs: BundleGraphs, exit: Exit, crossings: Sequence[Sequence[Any]]
) -> tuple[float, float]:
    """Milliseconds of an exit and of the layers that it saves the device, run by turns."""
    exit_graph, rest = graphs.exit(exit.id), graphs.span(exit.boundary, bundle.manifest.last, exit.precision)
    spent: list[list[float]] = [[], []]
    for crossing in crossings:
        for graph, times in zip((exit_graph, rest), spent, strict=True):
            began = perf_counter()
            graph.run(crossing)
            times.append((perf_counter() - began) * 1e3)
    return statistics.median(spent[0]), statistics.median(spent[1])


def _timed_anew(net: _Network) -> Bundle:
    """The bundle with the device's times of its points as they are now.

    That is processor time, which other programs hardly touch; the emulation of a slower device goes by it as well.
    """
    spent: list[float] = []
    graphs = BundleGraphs(net.bundle, [create_runtime("onnx")])
    head = Head(graphs, lambda processor_s, wall_s, stop: spent.append(processor_s * 1e3))
    head.warm_up(net.bundle.points)
    seen: dict[tuple[str, bool], list[tuple[float, float]]] = {}
    for _ in range(_ROUNDS):
        for point in net.bundle.points:
            for tensors in net.samples.tensors[:_TIMED]:
                spent.clear()
                done = head.run(point, tensors)
                encode_ms = spent.pop() if done.payload is not None else 0.0
                seen.setdefault((point.id, done.exit is not None), []).append((sum(spent), encode_ms))

    def usual(point: Point, exit: bool) -> tuple[float, float]:
        heads, encoders = zip(*seen.get((point.id, exit), [(0.0, 0.0)]), strict=True)
        return statistics.median(heads), statistics.median(encoders)

    points = []
    for point in net.bundle.points:
        device_ms, encode_ms = usual(point, False)
        exit_ms, _ = usual(point, True)
        measured = msgspec.structs.replace(
            point.measured, device_ms=device_ms, encode_ms=encode_ms, exit_ms=exit_ms or point.measured.exit_ms
        )
        points.append(msgspec.structs.replace(point, measured=measured))
    return net.bundle.on_device(points)


def _class(outputs: Sequence[Any] | None) -> int:
    assert outputs is not None
    return int(outputs[0].argmax())


# -- requests ----------------------------------------------------------------------------------------------------------


def _strategies(bundle: Bundle) -> dict[str, tuple[Point, ...]]:
    """Name → points to choose from; a single remote one is fixed."""
    # A point of accuracy for the cut, and one for the exit.
    points = admissible(bundle.points, Objective(accuracy_drop=0.02).floor(bundle.manifest.task.uncut))
    plain = tuple(point for point in points if point.exit is None)
    floor = bundle.manifest.task.uncut - _FIXED_DROP
    asking = [p for p in bundle.points if p.exit is not None and not p.local and p.measured.metric >= floor]
    found: dict[str, tuple[Point, ...]] = {"adaptive": plain, "adaptive, exits": points}
    if asking:
        best = min(asking, key=lambda point: point.measured.expected.bytes_mean)
        base = bundle.points[bundle.point_number(best.id.rsplit("-exit", 1)[0])]
        found = {"fixed": (base,), "fixed, exit": (best,)} | found
    return found


async def _run(net: _Network, link: Recorded, points: tuple[Point, ...], url: str) -> Row:
    bundle, slowdown = net.bundle, _SLOWDOWN[net.name]
    energy = EnergyModel(link.radio)
    local = fastest_alone(bundle.points)
    policy: Policy = StaticPolicy(points[0], local)
    objective = Objective(patience=1e9)
    if len(points) > 1:
        objective, task = Objective(), bundle.manifest.task
        policy = AdaptivePolicy(points, objective, uncut=task.uncut, energy=energy)
    took, sent, exits, right, answered = [], [], 0, 0, 0
    async with (
        LinkEmulator(url, link.trace, delay=link.rtt / 2) as emulator,
        Client(emulator.url, bundle, objective=objective, policy=policy, energy=energy, slowdown=slowdown) as client,
    ):
        emulator.rewind()
        for tensors, source in list(zip(net.samples.tensors, net.samples.sources, strict=True))[:_REQUESTS]:
            result = await client.infer(tensors)
            took.append(result.timing.total)
            sent.append(result.bytes_sent)
            exits += result.exit is not None
            answered += result.source == "device"
            right += _class(result.outputs) == source.label
    return {
        "mean_ms": statistics.fmean(took),
        "p95_ms": statistics.quantiles(took, n=20)[-1],
        "bytes": statistics.fmean(sent),
        "exits": exits / _REQUESTS,
        "device": answered / _REQUESTS,
        "top1": right / _REQUESTS,
    }


async def _requests(net: _Network) -> list[Row]:
    links = [link for link in recorded_links() if link.name in _LINKS]
    rows = []
    async with ServerProcess(net.bundle.origin, "--threads", "1") as server:
        for link in links:
            for name, points in _strategies(net.bundle).items():
                row = await _run(net, link, points, server.url)
                rows.append(
                    {"link": link.name, "strategy": name, "point": points[0].id if len(points) == 1 else ""} | row
                )
    return rows


def _times(point: Point) -> Row:
    m = point.measured
    figures = {"device_ms": m.device_ms, "encode_ms": m.encode_ms, "exit_ms": m.exit_ms, "exit_rate": m.exit_rate}
    return {"point": point.id, "metric": m.metric, "bytes": m.bytes_mean} | figures


def run() -> dict[str, Any]:
    """Measures both networks."""
    networks = []
    for name in _SLOWDOWN:
        net = network(name)
        figures = {"name": name, "slowdown": _SLOWDOWN[name], "promise": _promise(net)}
        net = replace(net, bundle=_timed_anew(net))
        figures["times"] = [_times(point) for point in net.bundle.points]
        networks.append(figures | {"requests": asyncio.run(_requests(net))})
    return {"requests": _REQUESTS, "networks": networks}


def table(result: dict[str, Any]) -> Table:
    """A row for each exit and its promise, and for each link and strategy."""
    rows = Table("", "exits", "mean ms", "p95 ms", "bytes", "top-1", title=TITLE)
    for net in result["networks"]:
        for row in net["promise"]:
            told = f"{net['name']} {row['cut']}: at most {row['promised_drop']:.1%} spoilt, seen {row['spoilt']:.2%}"
            top1 = f"{row['top1_uncut']:.1%} → {row['top1_with_exit']:.1%}"
            rows.add_row(told, f"{row['rate']:.1%}", "", "", "", top1)
            rows.add_row(f"takes {row['ms']:.2f} ms, the layers behind it {row['rest_ms']:.2f} ms", *[""] * 5)
        for row in net["requests"]:
            figures = f"{row['mean_ms']:.0f}", f"{row['p95_ms']:.0f}", f"{row['bytes']:,.0f}", f"{row['top1']:.0%}"
            rows.add_row(f"{net['name']} {row['link']} {row['strategy']}", f"{row['exits']:.0%}", *figures)
    return rows
