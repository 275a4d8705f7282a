"""Device, edge and cloud on links that change: the adaptive pair of policies against every way to fix the partition.

MobileNetV2. Machines of 0.2, 0.6 and 1.2 processors, where one is a sixth of a core here: heads and tails take 30, 10
and 5 times their processor time; the rest of it is waited for, so that other work on this machine hardly shows. Four
recorded uplinks from device to edge, a recorded 5G uplink from edge to cloud; client, edges and link emulators in this
process, the cloud in one of its own; photographs. Every strategy has links and an edge of its own. The best fixed
partitions are those with the least expected latency and energy over the traces, of all within a point of accuracy.

Beside it, what a next tier is worth to an edge with more requests than it can compute: twelve under way all the time.

Energy is the device's: its computation, and its radio with probes. Needs the shared data. `CUTPOINT_BENCH_SECONDS` sets
how long each link is used (default 40).
"""

from __future__ import annotations

import asyncio
import os
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from math import inf
from typing import Any, NamedTuple

import numpy as np
from rich.console import Group
from rich.table import Table
from tests.bench._bundles import tiers_path
from tests.bench._photographs import photographs
from tests.bench._traces import Recorded, recorded_links

from cutpoint.codecs import Array
from cutpoint.sdk import Bundle, Client, Conditions, EnergyModel, LinkTimes, Objective, Plan, Point, StaticPolicy
from cutpoint.sdk.policy import admissible
from cutpoint.sdk.testing import LinkEmulator, ServerProcess, Trace
from cutpoint.server import EdgeServer, Settings
from cutpoint.server.forwarding import Way
from cutpoint.server.tails import span_ms

TITLE = "Device, edge and cloud: adaptive against fixed partitions"

#: How many times slower than a core here device, edge and cloud are.
_DEVICE, _EDGE, _CLOUD = 30.0, 10.0, 5.0
_LINKS = ("ATT-LTE-driving-2016", "Verizon-EVDO-driving", "4g-walking-50093", "5g-driving-22")
_BEHIND, _BEHIND_RTT = "5g-mmwave-uplink", 0.020
_SECONDS, _PERIOD, _WARM_UP = 40.0, 0.6, 2.0
#: What the adaptive pairs are after.
_OBJECTIVES = {"adaptive, balanced": Objective.preset("balanced"), "adaptive, energy": Objective.preset("energy")}
_FLOOR = Objective()
#: Moments of a trace for which a fixed partition is predicted.
_MOMENTS = 200
_ANSWER, _OVERHEAD = 4096, 120
#: Of a busy edge: requests under way, seconds, and what devices send.
_CROWD, _CROWD_SECONDS, _CROWD_POINT = 12, 10.0, "cut2-fp32-klt-q5"


class _Partition(NamedTuple):
    """A fixed way through the tiers.

    Attributes:
        point: the device's; None: it decides for itself.
        kind: of the edge's way; empty: it decides for itself.
        onward: at which the edge goes on; None where it does not.
    """

    point: Point | None
    kind: str = ""
    onward: Point | None = None

    def __str__(self) -> str:
        if self.point is None:
            return "adaptive"
        return self.point.id + (f" → {self.onward.id}" if self.kind == "forwarded" and self.onward else f" {self.kind}")


class _Fixed:
    """Always the same way."""

    def __init__(self, partition: _Partition) -> None:
        self._partition = partition

    def choose(self, point: Point, conditions: Conditions, alone: bool) -> tuple[Way, Plan]:
        kind, onward = self._partition.kind, self._partition.onward
        return Way(kind, onward), Plan(point, 0.0, 0.0, hedge_ms=inf)  # type: ignore[arg-type]


@dataclass(slots=True)
class _Run:
    """What became of a strategy on a link."""

    latency_ms: list[float] = field(default_factory=list)
    busy_ms: float = 0.0
    radio_mj: float = 0.0
    sent: int = 0
    ways: Counter[str] = field(default_factory=Counter)


# -- fixed partitions, predicted ---------------------------------------------------------------------------------


def _partitions(bundle: Bundle, points: Sequence[Point]) -> Iterator[_Partition]:
    """All within the accuracy floor; what two codecs lose adds up."""
    uncut = bundle.manifest.task.uncut
    floor = _FLOOR.floor(uncut)
    for point in points:
        if point.local:
            yield _Partition(point)
            continue
        yield _Partition(point, "finished")
        yield _Partition(point, "relayed", point)
        for later in points:
            loss = point.measured.metric + later.measured.metric - uncut
            if not later.local and later.start > point.end and later.precision == "fp32" and loss >= floor:
                yield _Partition(point, "forwarded", later)


def _predict(bundle: Bundle, partition: _Partition, link: Recorded, behind: Trace) -> tuple[float, float]:
    """Mean latency in ms and energy in mJ over the trace."""
    point, onward = partition.point, partition.onward
    assert point is not None
    m, energy = point.measured, EnergyModel(link.radio)
    device_ms = (m.device_ms + m.encode_ms) * _DEVICE
    if point.local:
        return device_ms, energy.compute_mj(device_ms)
    edge_ms = m.decode_ms
    if partition.kind == "finished":
        edge_ms += m.tail_ms * _EDGE
    elif partition.kind == "forwarded" and onward is not None:
        edge_ms += (span_ms(bundle, point.end, onward.start) + onward.measured.encode_ms) * _EDGE
    behind_ms = 0.0
    if onward is not None:
        size = onward.measured.bytes_mean + _OVERHEAD
        sent = _mean(lambda at: behind.finish(at, size) - at, behind)
        behind_ms = 1e3 * (sent + _BEHIND_RTT) + onward.measured.decode_ms + onward.measured.tail_ms * _CLOUD
    size = m.bytes_mean + _OVERHEAD
    up = _mean(lambda at: link.trace.finish(at, size) - at, link.trace)
    radio = link.radio.send_mj(size, size * 8 / up) + link.radio.receive_mj(_ANSWER, 5 * link.trace.mean)
    return device_ms + 1e3 * (up + link.rtt) + edge_ms + behind_ms, energy.compute_mj(device_ms) + radio


def _mean(seconds: Callable[[float], float], trace: Trace) -> float:
    return statistics.mean(seconds(trace.duration * i / _MOMENTS) for i in range(_MOMENTS))


def _strategies(bundle: Bundle, link: Recorded, behind: Trace) -> dict[str, _Partition]:
    points = admissible(bundle.points, _FLOOR.floor(bundle.manifest.task.uncut))
    every = {partition: _predict(bundle, partition, link, behind) for partition in _partitions(bundle, points)}

    def best(wanted: Callable[[_Partition], bool], figure: int) -> _Partition:
        return min((p for p in every if wanted(p)), key=lambda p: every[p][figure])

    def webp(partition: _Partition) -> bool:
        return partition.point is not None and partition.point.codec == "0-webp"

    def three(partition: _Partition) -> bool:
        return partition.kind == "forwarded" and partition.point is not None and partition.point.start > 0

    return {
        **dict.fromkeys(_OBJECTIVES, _Partition(None)),
        "device alone": best(lambda p: p.point is not None and p.point.local, 0),
        "WebP to the edge": best(lambda p: webp(p) and p.kind == "finished", 0),
        "WebP to the cloud": best(lambda p: webp(p) and p.kind == "relayed", 0),
        "best split, device and edge": best(
            lambda p: p.kind == "finished" and p.point is not None and p.point.start > 0, 0
        ),
        "best three tiers, latency": best(three, 0),
        "best three tiers, energy": best(three, 1),
        "best of all, latency": best(lambda p: True, 0),
        "best of all, energy": best(lambda p: True, 1),
    }


# -- for real ----------------------------------------------------------------------------------------------------


class _Edge:
    """An edge of one strategy, and its way to the cloud."""

    def __init__(self, bundle: Bundle, link: LinkEmulator, name: str) -> None:
        settings = Settings(port=0, threads=2, upstream=link.url, tier=name, slowdown=_EDGE, max_batch=1)
        self.link = link
        self.server = EdgeServer(bundle, settings)

    def follow(self, partition: _Partition) -> None:
        """From now on requests go that way."""
        (model,) = self.server.models
        if partition.kind:
            model.tier.forwarding = _Fixed(partition)

    async def ready(self) -> None:
        """Returns when the cloud can be asked."""
        (model,) = self.server.models
        upstream = model.tier.upstream
        assert upstream is not None
        async with asyncio.timeout(30):
            while not upstream.up:  # noqa: ASYNC110 - the link has no event for it
                await asyncio.sleep(0.05)


async def _drive(
    strategy: str,
    partition: _Partition,
    edge: _Edge,
    bundle: Bundle,
    link: Recorded,
    pictures: list[Array],
    seconds: float,
) -> _Run:
    loop = asyncio.get_running_loop()
    run = _Run()
    fixed = partition.point
    local = min((p for p in bundle.points if p.local), key=lambda p: p.measured.device_ms)
    async with AsyncExitStack() as stack:
        emulator = await stack.enter_async_context(LinkEmulator(edge.server.url, link.trace, delay=link.rtt / 2))
        client = await stack.enter_async_context(
            Client(
                emulator.url,
                bundle,
                objective=_OBJECTIVES.get(strategy, Objective(patience=1e9)),
                policy=None if fixed is None else StaticPolicy(fixed, local),
                energy=EnergyModel(link.radio),
                slowdown=_DEVICE,
                times=LinkTimes() if fixed is None else LinkTimes(silence=1e9, probe=1e9),
            )
        )
        device = client._in_use.device
        compute = device.compute

        async def measured(*arguments: Any) -> Any:
            began = loop.time()
            try:
                return await compute(*arguments)
            finally:
                run.busy_ms += (loop.time() - began) * 1e3

        device.compute = measured  # type: ignore[method-assign]
        emulator.rewind()
        began, before = loop.time(), emulator.sent

        async def ask(number: int, due: float) -> None:
            at = loop.time() - began
            result = await client.infer((pictures[number % len(pictures)],))
            run.latency_ms.append((loop.time() - due) * 1e3)
            run.ways[" ".join([result.point.id, *(hop.tier for hop in result.hops)])] += 1
            run.sent += result.bytes_sent
            if result.bytes_sent:
                rate = result.bytes_sent * 8 / (link.trace.finish(at, result.bytes_sent) - at)
                run.radio_mj += link.radio.send_mj(result.bytes_sent, rate)
                run.radio_mj += link.radio.receive_mj(_ANSWER, 5 * rate)

        tasks = []
        due = began + _WARM_UP
        while due < began + _WARM_UP + seconds:
            await asyncio.sleep(max(0.0, due - loop.time()))
            tasks.append(asyncio.create_task(ask(len(tasks), due)))
            due += _PERIOD
        await asyncio.gather(*tasks)
        # What went up beside requests, probes above all.
        probes = max(0, emulator.sent - before - run.sent)
        run.radio_mj += link.radio.send_mj(probes, link.trace.mean)
    return run


def _figures(run: _Run, link: Recorded) -> dict[str, Any]:
    count = len(run.latency_ms)
    latency = np.array(run.latency_ms)
    return {
        "mean_ms": float(latency.mean()),
        "p50_ms": float(np.median(latency)),
        "p95_ms": float(np.percentile(latency, 95)),
        "energy_mj": (EnergyModel(link.radio).compute_mj(run.busy_ms) + run.radio_mj) / count,
        "requests": count,
        "ways": dict(run.ways.most_common()),
    }


async def _crowd(url: str, bundle: Bundle, pictures: list[Array]) -> dict[str, Any]:
    """As many requests as a server answers with so many under way."""
    loop = asyncio.get_running_loop()
    latency_ms: list[float] = []
    passed_on = 0
    async with Client(url, bundle, mode="edge") as client:

        async def ask(number: int, until: float) -> None:
            nonlocal passed_on
            while loop.time() < until:
                began = loop.time()
                result = await client.infer((pictures[number % len(pictures)],), point=_CROWD_POINT)
                latency_ms.append((loop.time() - began) * 1e3)
                passed_on += len(result.hops) > 1
                number += _CROWD

        await asyncio.gather(*(ask(number, loop.time() + _WARM_UP) for number in range(_CROWD)))
        latency_ms.clear()
        passed_on = 0
        await asyncio.gather(*(ask(number, loop.time() + _CROWD_SECONDS) for number in range(_CROWD)))
    p50, p95 = np.percentile(latency_ms, (50, 95)).tolist()
    return {
        "per_second": len(latency_ms) / _CROWD_SECONDS,
        "p50_ms": p50,
        "p95_ms": p95,
        "passed_on": passed_on / len(latency_ms),
    }


async def _crowds(bundle: Bundle, pictures: list[Array], behind: Trace) -> dict[str, dict[str, Any]]:
    """A busy edge alone and with a next tier, and the cloud without the edge."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        common = "--threads", "1", "--max-batch", "1"
        cloud = await enter(ServerProcess(bundle.origin, *common, "--slowdown", str(_CLOUD)))
        link = await enter(LinkEmulator(cloud.url, behind, delay=_BEHIND_RTT / 2))
        slow = *common, "--slowdown", str(_EDGE)
        alone = await enter(ServerProcess(bundle.origin, *slow))
        edge = await enter(ServerProcess(bundle.origin, *slow, "--upstream", link.url))
        servers = {"edge alone": alone.url, "edge and cloud": edge.url, "cloud alone": link.url}
        return {name: await _crowd(url, bundle, pictures) for name, url in servers.items()}


async def _run() -> dict[str, Any]:
    path = await asyncio.to_thread(tiers_path, "MobileNetV2")
    bundle = await asyncio.to_thread(Bundle.open, path)
    pictures = await asyncio.to_thread(photographs, bundle, 40)
    seconds = float(os.environ.get("CUTPOINT_BENCH_SECONDS", _SECONDS))
    recorded = {link.name: link for link in recorded_links()}
    behind = recorded[_BEHIND].trace
    results = []
    async with AsyncExitStack() as stack:
        options = "--threads", "16", "--slowdown", str(_CLOUD), "--tier", "cloud", "--max-batch", "1"
        cloud = await stack.enter_async_context(ServerProcess(path, *options, "--max-in-flight", "64"))
        edges: dict[str, _Edge] = {}
        for name in _LINKS:
            link = recorded[name]
            strategies = await asyncio.to_thread(_strategies, bundle, link, behind)
            for strategy in strategies.keys() - edges.keys():
                emulator = LinkEmulator(cloud.url, behind, delay=_BEHIND_RTT / 2)
                await stack.enter_async_context(emulator)
                edge = edges[strategy] = await asyncio.to_thread(_Edge, bundle, emulator, strategy)
                await edge.server.start()
                stack.push_async_callback(edge.server.stop)
            for strategy, partition in strategies.items():
                edges[strategy].follow(partition)
                edges[strategy].link.rewind()
                await edges[strategy].ready()
            driven = (_drive(s, p, edges[s], bundle, link, pictures, seconds) for s, p in strategies.items())
            runs = dict(zip(strategies, await asyncio.gather(*driven), strict=True))
            figures = {s: _figures(run, link) | {"partition": str(strategies[s])} for s, run in runs.items()}
            results.append({"link": name, "strategies": figures})
    crowds = await _crowds(bundle, pictures, behind)
    return {"seconds": seconds, "links": results, "summary": _summary(results), "crowds": crowds}


def _summary(results: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Means over the links."""
    return {
        name: {key: statistics.mean(r["strategies"][name][key] for r in results) for key in ("mean_ms", "energy_mj")}
        for name in results[0]["strategies"]
    }


def run() -> dict[str, Any]:
    """Measures."""
    return asyncio.run(_run())


def table(result: dict[str, Any]) -> Group:
    """A row for each link and strategy, then the means; and the busy edge."""
    rows = Table("link", "strategy", "partition", "mean ms", "p50", "p95", "mJ")
    for one in result["links"]:
        for number, (name, its) in enumerate(one["strategies"].items()):
            figures = (f"{its[key]:.0f}" for key in ("mean_ms", "p50_ms", "p95_ms", "energy_mj"))
            rows.add_row(one["link"] if not number else "", name, its["partition"], *figures)
        rows.add_section()
    for number, (name, its) in enumerate(result["summary"].items()):
        rows.add_row("mean" if not number else "", name, "", f"{its['mean_ms']:.0f}", "", "", f"{its['energy_mj']:.0f}")
    rows.add_section()
    for own in _OBJECTIVES:
        for best in ("latency", "energy"):
            name, its = f"best three tiers, {best}", result["summary"][own]
            other = result["summary"][name]
            change = (f"{its[key] / other[key] - 1:+.0%}" for key in ("mean_ms", "energy_mj"))
            rows.add_row("change", own, f"against {name}", next(change), "", "", next(change))
    crowds = Table(f"{_CROWD} requests under way", "requests/s", "p50 ms", "p95 ms", "passed on")
    for name, its in result["crowds"].items():
        figures = (f"{its[key]:.0f}" for key in ("per_second", "p50_ms", "p95_ms"))
        crowds.add_row(name, *figures, f"{its['passed_on']:.0%}")
    return Group(rows, crowds)
