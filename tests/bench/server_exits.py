"""Exits under overload: two and three times as many requests as the server can compute, with its exits and without.

The demo's network behind a cut; every request is another scene that nothing was fitted to, and has a budget. They are
sent at fixed times over ten connections, whatever becomes of those before. The server's graphs take longer than they
would here, so that neither its event loop nor the senders run short of the processor that they share. Peak is what
senders get who always have requests under way. Answers count if they came within the budget.

Needs the shared data and the bundle of the bench `exits`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from tests.bench.exits import network

from cutpoint.sdk import Bundle, Overloaded
from cutpoint.sdk.bundle import Point
from cutpoint.sdk.channel import ChannelEstimator
from cutpoint.sdk.errors import DeadlineExceeded
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.head import Head
from cutpoint.sdk.link import Link
from cutpoint.sdk.monitor import LinkMonitor
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.sdk.tail import Tail
from cutpoint.sdk.testing import ServerProcess

TITLE = "Overload, with exits on the server"

_POINT = "cut2-fp32-klt-q5"
_TIMES = (2.0, 3.0)
_SECONDS, _PEAK_SECONDS = 30.0, 6.0
_SCENES = 600
_BUDGET = 0.3
_CONNECTIONS, _IN_FLIGHT = 10, 2
_OPTIONS = ("--slowdown", "60", "--threads", "1", "--max-connections-per-address", "1000")


@dataclass(frozen=True)
class _Scene:
    """A request.

    Attributes:
        payload: what the device sends.
        label: the class that is right.
        own: whether the tail's answer is.
        sure: whether the exit is sure of its answer.
        early: whether that is right.
    """

    payload: bytes
    label: int
    own: bool
    sure: bool
    early: bool


@dataclass(frozen=True)
class _Heard:
    """What came of a request: milliseconds, and whether the answer is right; `right` is None for a refusal."""

    scene: _Scene
    ms: float
    right: bool | None
    exit: bool = False


def _scenes(bundle: Bundle, point: Point) -> list[_Scene]:
    net = network("scenes", _SCENES)
    graphs = BundleGraphs(bundle, [create_runtime("onnx")])
    head, tail = Head(graphs), Tail(graphs)
    ((exit, use),) = bundle.server_exits(point)
    scenes = []
    for tensors, source in zip(net.samples.tensors, net.samples.sources, strict=True):
        payload = head.run(point, tensors).payload
        assert payload is not None
        assert source.label is not None
        own = int(tail.run(point, payload).outputs[0].argmax())
        scores, confidence = tail.exit(point, exit).run(tail.decode(point, payload))
        sure, right = confidence.item() >= use.threshold.confidence, int(scores.argmax()) == source.label
        scenes.append(_Scene(payload, source.label, own == source.label, sure, right))
    return scenes


class _Senders:
    """Connections to a server."""

    def __init__(self, links: Sequence[Link], point: int, scenes: Sequence[_Scene]) -> None:
        self._links = links
        self._point = point
        self._scenes = scenes

    async def ask(self, number: int, exits: int, budget: float) -> _Heard:
        scene, began = self._scenes[number % len(self._scenes)], time.perf_counter()
        link = self._links[number % len(self._links)]
        try:
            result = await link.request(self._point, scene.payload, budget, 0.03, [], exits=exits)
        except (Overloaded, DeadlineExceeded):
            return _Heard(scene, (time.perf_counter() - began) * 1e3, None)
        right = int(result.outputs[0].argmax()) == scene.label
        return _Heard(scene, (time.perf_counter() - began) * 1e3, right, result.exit > 0)

    async def peak(self) -> float:
        """Answers a second where requests are always under way."""
        loop = asyncio.get_running_loop()
        until, numbers = loop.time() + _PEAK_SECONDS, iter(range(1 << 30))

        async def go_on() -> int:
            count = 0
            while loop.time() < until:
                await self.ask(next(numbers), 0, 0.0)
                count += 1
            return count

        return sum(await asyncio.gather(*(go_on() for _ in range(_CONNECTIONS * _IN_FLIGHT)))) / _PEAK_SECONDS

    async def flood(self, rate: float, exits: int) -> dict[str, Any]:
        """What comes of requests at fixed times."""
        loop = asyncio.get_running_loop()
        began, tasks = loop.time(), []
        for number in range(int(rate * _SECONDS)):
            await asyncio.sleep(max(0.0, began + number / rate - loop.time()))
            tasks.append(asyncio.create_task(self.ask(number, exits, _BUDGET)))
        return _figures(await asyncio.gather(*tasks))


def _figures(heard: Sequence[_Heard]) -> dict[str, Any]:
    answered = [each for each in heard if each.right is not None]
    in_time = [each for each in answered if each.ms <= _BUDGET * 1e3]
    early = [each for each in answered if each.exit]
    refused = [each.ms for each in heard if each.right is None]
    return {
        "offered": len(heard) / _SECONDS,
        "goodput": len(in_time) / _SECONDS,
        "late": (len(answered) - len(in_time)) / _SECONDS,
        "from_exits": len(early) / _SECONDS,
        "refused": len(refused) / _SECONDS,
        "refused_p50_ms": float(np.percentile(refused, 50)) if refused else 0.0,
        "p50_ms": float(np.percentile([each.ms for each in answered], 50)),
        "p95_ms": float(np.percentile([each.ms for each in answered], 95)),
        "top1": float(np.mean([bool(each.right) for each in answered])),
        # Of the same scenes, had the tail answered all of them.
        "top1_own": float(np.mean([each.scene.own for each in answered])),
    }


async def _run() -> dict[str, Any]:
    path = Path(network("scenes", _SCENES).bundle.origin)
    bundle = Bundle.open(path)
    number = bundle.point_number(_POINT)
    point = bundle.points[number]
    ((exit, use),) = bundle.server_exits(point)
    rows = []
    async with ServerProcess(path, *_OPTIONS) as server, AsyncExitStack() as stack:
        links = []
        for _ in range(_CONNECTIONS):
            monitor = LinkMonitor(ChannelEstimator(), 1.0)
            links.append(Link(server.url, bundle.hash, monitor, 1 << 20, clock=time.monotonic, rng=random.Random(0)))
            stack.push_async_callback(links[-1].close)
            await links[-1].start()
        scenes = _scenes(bundle, point)
        senders = _Senders(links, number, scenes)
        peaks = [await senders.peak()]
        for times in _TIMES:
            for exits in (0, 1):
                rows.append({"times": times, "exits": exits} | await senders.flood(times * peaks[0], exits))
        peaks.append(await senders.peak())
    measured = point.measured
    about = {"exit": exit.id, "rate": use.threshold.rate, "drop": use.threshold.drop, "exit_ms": use.ms}
    about |= {"tail_ms": measured.decode_ms + measured.tail_ms, "scenes": len(scenes)}
    about |= {"sure": float(np.mean([each.sure for each in scenes]))}
    about |= {"spoilt": float(np.mean([each.sure and each.own and not each.early for each in scenes]))}
    return {"point": point.id, "peak": float(np.mean(peaks)), **about, "rows": rows}


def run() -> dict[str, Any]:
    """Measures; see the module's docstring."""
    return asyncio.run(_run())


def table(result: dict[str, Any]) -> Table:
    """A row for each load, with exits and without."""
    share = result["exit_ms"] / result["tail_ms"]
    title = (
        f"{TITLE}: peak {result['peak']:.0f} a second; the exit takes {share:.0%} of the tail's time, "
        f"is sure of {result['sure']:.1%} of {result['scenes']} scenes and spoils {result['spoilt']:.2%} of them"
    )
    heads = "in time / peak", "from exits", "p50 ms", "p95 ms", "refused after ms", "top-1"
    rows = Table("", *heads, title=title)
    for row in result["rows"]:
        name = f"{row['times']:g} × peak, {'with' if row['exits'] else 'without'} exits"
        top1 = f"{row['top1']:.1%} (tail {row['top1_own']:.1%})"
        figures = f"{row['goodput'] / result['peak']:.2f}", f"{row['from_exits'] / max(1e-9, row['goodput']):.0%}"
        times = (f"{row[key]:.0f}" for key in ("p50_ms", "p95_ms", "refused_p50_ms"))
        rows.add_row(name, *figures, *times, top1)
    return rows
