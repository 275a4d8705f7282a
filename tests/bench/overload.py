"""Overload for a minute: three times as many requests as the server can compute.

First a load generator, which asks at fixed times and gives each request a budget; then real clients, whose devices
answer what the server refuses. The server's graphs take longer than they would here, so that neither its event loop nor
the senders run short of the processor that they share. Peak is what a generator gets, before and after, that always has
requests under way. Answers count if they came within the budget.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
import psutil
from rich.table import Table
from tests.bench._clients import Answer, Outing, Phone, go_out
from tests.bench._generator import Generator
from tests.bench._load import Latencies, Load

from cutpoint.demo.scenes import render
from cutpoint.sdk import Bundle
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.head import Head
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.sdk.testing import ServerProcess

TITLE = "Overload: three times what the server can compute"

SECONDS = 60.0
_TIMES = 3.0
#: Nearly the whole network is the server's, and a payload takes little to decode.
_POINT = "cut0-jpeg-q60"
_CONNECTIONS = 20
_BUDGET = 0.2
_SLOWDOWN = 6.0
_PHONES = 10
_PHONES_BUDGET = 0.5
_PHONES_SLOWDOWN = 20.0
_OPTIONS = ("--threads", "1", "--max-connections-per-address", "1000")


class _Watch:
    """What a process, with those that it has started, takes while it is watched."""

    def __init__(self, pid: int) -> None:
        process = psutil.Process(pid)
        self._processes = [process, *process.children(recursive=True)]
        self._megabytes: list[float] = []
        self._processor = self._wall = 0.0

    async def __aenter__(self) -> Self:
        self._processor, self._wall = self._seconds(), time.perf_counter()
        self._looking = asyncio.create_task(self._look())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._looking.cancel()
        self._processor = self._seconds() - self._processor
        self._wall = time.perf_counter() - self._wall

    async def _look(self) -> None:
        while True:
            self._megabytes.append(sum(process.memory_info().rss for process in self._processes) / 1e6)
            await asyncio.sleep(1.0)

    def _seconds(self) -> float:
        return float(sum(sum(process.cpu_times()[:2]) for process in self._processes))

    def figures(self) -> dict[str, float]:
        """Share of a processor; resident megabytes in the first and the last sixth, at the median, and at most."""
        part = max(1, len(self._megabytes) // 6)
        return {
            "processor": self._processor / self._wall,
            "mb_first": statistics.median(self._megabytes[:part]),
            "mb_last": statistics.median(self._megabytes[-part:]),
            "mb_most": max(self._megabytes),
        }


def _server(path: Path, slowdown: float) -> ServerProcess:
    return ServerProcess(path, "--slowdown", str(slowdown), *_OPTIONS)


async def _flood(path: Path, seconds: float) -> dict[str, Any]:
    """What a load generator gets."""
    bundle = await asyncio.to_thread(Bundle.open, path)
    head = Head(BundleGraphs(bundle, [create_runtime("onnx")]))
    number = bundle.point_number(_POINT)
    payload = head.run(bundle.points[number], head.prepare(render(1).image)).payload or b""
    async with _server(path, _SLOWDOWN) as server, Generator.started() as generator:
        steady = Load(server.url, bundle.hash, number, payload, _CONNECTIONS, in_flight=2, warm_up=1.0, seconds=5.0)
        peaks = [len((await generator.send(steady)).total) / steady.seconds]
        rate = _TIMES * peaks[0]
        flood = msgspec.structs.replace(steady, rate=rate, budget=_BUDGET, seconds=seconds)
        async with _Watch(server.pid) as watch:
            got: Latencies = await generator.send(flood)
        peaks.append(len((await generator.send(steady)).total) / steady.seconds)
        in_time = sum(ms <= _BUDGET * 1e3 for ms in got.total)
        return {
            "peak": statistics.mean(peaks),
            "offered": rate,
            "goodput": in_time / seconds,
            "late": (len(got.total) - in_time) / seconds,
            "refused": got.refused / seconds,
            "unsent": got.unsent / seconds,
            "p50_ms": float(np.percentile(got.total, 50)),
            "p99_ms": float(np.percentile(got.total, 99)),
        } | watch.figures()


def _due(rate: float, seconds: float) -> list[list[float]]:
    """When each client asks, so that together they ask at that rate."""
    return [
        [(number + 0.5 + turn * _PHONES) / rate for turn in range(int(seconds * rate / _PHONES))]
        for number in range(_PHONES)
    ]


async def _clients(path: Path, seconds: float) -> dict[str, Any]:
    """What real clients get."""
    async with _server(path, _PHONES_SLOWDOWN) as server, Generator.started() as generator:
        bundle = await asyncio.to_thread(Bundle.open, path)
        head = Head(BundleGraphs(bundle, [create_runtime("onnx")]))
        number = bundle.point_number(_POINT)
        payload = head.run(bundle.points[number], head.prepare(render(1).image)).payload or b""
        steady = Load(server.url, bundle.hash, number, payload, _PHONES, warm_up=1.0, seconds=5.0)
        peaks = [len((await generator.send(steady)).total) / steady.seconds]
        rate = _TIMES * peaks[0]
        phones = [Phone(due, rule=_POINT, deadline=_PHONES_BUDGET) for due in _due(rate, seconds)]
        async with _Watch(server.pid) as watch:
            each = await go_out(Outing(server.url, str(path), phones))
        peaks.append(len((await generator.send(steady)).total) / steady.seconds)
    every: list[Answer] = [answer for answers in each for answer in answers]
    latency = [answer.latency_ms for answer in every]
    in_time = sum(answer.source == "edge" and answer.latency_ms <= _PHONES_BUDGET * 1e3 for answer in every)
    return {
        "peak": statistics.mean(peaks),
        "offered": rate,
        "goodput": in_time / seconds,
        "asked": sum(len(phone.due) for phone in phones),
        "answered": len(every),
        "by_device": sum(answer.source == "device" for answer in every),
        "fallback": dict(Counter(answer.fallback for answer in every if answer.fallback)),
        "hedged": sum(answer.hedged for answer in every),
        "late": sum(ms > _PHONES_BUDGET * 1e3 for ms in latency) / seconds,
        "p50_ms": float(np.percentile(latency, 50)),
        "p99_ms": float(np.percentile(latency, 99)),
        "fewest": min(sum(answer.source == "edge" for answer in answers) for answers in each),
        "most": max(sum(answer.source == "edge" for answer in answers) for answers in each),
    } | watch.figures()


async def _run(seconds: float) -> dict[str, Any]:
    with as_file(files("cutpoint.demo").joinpath("scenes.cutpoint")) as path:
        return {"seconds": seconds, "flood": await _flood(path, seconds), "clients": await _clients(path, seconds)}


def run(seconds: float = SECONDS) -> dict[str, Any]:
    """Measures; see the module's docstring."""
    return asyncio.run(_run(seconds))


def table(result: dict[str, Any]) -> Table:
    """A row a figure."""
    rows = Table("", "load generator", "clients", title=f"{result['seconds']:.0f} s")
    for name in dict.fromkeys([*result["flood"], *result["clients"]]):
        shown = (result[part].get(name, "–") for part in ("flood", "clients"))
        rows.add_row(
            name.replace("_", " "), *(f"{value:.1f}" if isinstance(value, float) else str(value) for value in shown)
        )
    rows.add_section()
    ratios = (result[part]["goodput"] / result[part]["peak"] for part in ("flood", "clients"))
    rows.add_row("goodput / peak", *(f"{ratio:.2f}" for ratio in ratios))
    return rows
