"""The edge server under load: batched, unbatched, and a plain aiohttp handler that calls onnxruntime.

The load generator and each server are processes of their own, all on this machine. Every connection asks again as soon
as it has its answer. The servers have one worker, but for two that have as many as by default, one of which computes in
the event loop's process (`--engine local`). They take turns in short rounds, so that what else the machine does hits
all of them; ratios are medians of those within a round. `processor` is what the server's processes take of one for a
request once all are connected, `generator` what the load generator's takes. Then: what idle connections take of the
server's memory, what the queue alone costs a request, by users, and what decoder and tail cost one, by the size of the
batch.

The demo's network has two tails: an early one of convolutions, and a late and small one. A third one is that of AlexNet
(random weights): dense layers, whose weights have to be read for a batch as for one sample.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import psutil
from rich.table import Table
from tests.bench._bundles import alexnet_path
from tests.bench._generator import Generator
from tests.bench._load import Latencies, Load

from cutpoint.demo.scenes import render
from cutpoint.sdk import Bundle
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.head import Head
from cutpoint.sdk.protocol import SUBPROTOCOL, Connection, Hello, Ping, Role
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.sdk.tail import Tail
from cutpoint.sdk.testing import ServerProcess
from cutpoint.server.batching import BatchQueue
from cutpoint.server.tails import Encoded, run_together

TITLE = "Edge server under load"

#: A tail of convolutions, whose cost is in the arithmetic, and a late one, whose cost is in the calls.
_POINTS = ("cut3-fp32-klt-q3", "cut7-fp32-klt-q3")
#: One whose cost is in reading weights.
_DENSE_POINT = "cut1-fp32-affine-8bit"
_CONNECTIONS = (1, 10, 100, 1000)
_IDLE = 1000
#: Each has a request waiting all the time.
_USERS = (10, 100, 1000)
#: All of the load comes from one address, and nothing of it is to be refused.
_OPTIONS = [
    "--max-connections",
    "2000",
    "--max-connections-per-address",
    "2100",
    "--max-queue",
    "2000",
]
_ONE = ["--threads", "1", *_OPTIONS]
_ROUNDS = 3
#: What the light user waits is judged by its rarest values.
_LIGHT_ROUNDS = 8
_SIZES = (1, 2, 4, 8, 16)
_STAGES = ("total", "queue", "decode", "tail")
_PLAIN = "plain aiohttp"
_BATCHED = "batched"


@asynccontextmanager
async def _plain(path: Path) -> AsyncIterator[tuple[str, int]]:
    """Its address and its process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench._plain_server", str(path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(await process.stdout.readline())}", process.pid
    finally:
        process.kill()
        await process.communicate()


async def _batches(url: str) -> tuple[float, float]:
    """Sum and count of the server's batch sizes so far."""
    async with aiohttp.ClientSession() as session, session.get(url.replace("ws", "http", 1) + "/metrics") as response:
        lines = (await response.text()).splitlines()
    values = {line.split()[0]: float(line.split()[1]) for line in lines if line.startswith("cutpoint_batch_size")}
    return values["cutpoint_batch_size_sum"], values["cutpoint_batch_size_count"]


def _quantiles(values: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 3), "p99": round(cuts[98], 3)}


def _stages(parts: list[Latencies]) -> dict[str, Any]:
    """Quantiles over all rounds, of the whole request and of its stages on the server."""
    values = {stage: [ms for part in parts for ms in getattr(part, stage)] for stage in _STAGES}
    return {f"{stage}_ms": _quantiles(its) for stage, its in values.items() if its}


async def _throughput(
    generator: Generator, bundle: Bundle, payloads: dict[str, bytes], urls: dict[str, str], pids: dict[str, int]
) -> list[dict[str, Any]]:
    rows = []
    for point, payload in payloads.items():
        # A hundred are far more than the dense tail answers in a second.
        for connections in _CONNECTIONS[:3] if point == _DENSE_POINT else _CONNECTIONS:
            # Long enough for every connection to have its turn.
            seconds = 4.0 if point == _DENSE_POINT else max(0.8, connections / 100)
            load = Load("", bundle.hash, bundle.point_number(point), payload, connections, seconds=seconds)
            parts: dict[str, list[Latencies]] = {name: [] for name in urls}
            computed: dict[str, list[float]] = {name: [] for name in urls}
            own: dict[str, list[float]] = {name: [] for name in urls}
            before = {name: await _batches(url) for name, url in urls.items() if url.startswith("ws")}
            for _ in range(_ROUNDS):
                for name, url in urls.items():
                    to = msgspec.structs.replace(load, url=url, pid=pids[name])
                    parts[name].append(got := await generator.send(to))
                    computed[name].append(got.computed / len(got.total) * 1e6)
                    own[name].append(got.own / len(got.total) * 1e6)
            rates = {name: [len(part.total) / load.seconds for part in its] for name, its in parts.items()}
            for name, its in parts.items():
                # What else the machine does changes from round to round, and hits the servers of a round alike.
                ratios = [mine / plain for mine, plain in zip(rates[name], rates[_PLAIN], strict=True)]
                row = {"point": point, "connections": connections, "server": name}
                row |= {"per_second": statistics.median(rates[name]), "to_plain": statistics.median(ratios)}
                row["processor_us"] = statistics.median(computed[name])
                row["generator_us"] = statistics.median(own[name])
                if name in before:
                    total, count = await _batches(urls[name])
                    row["mean_batch"] = (total - before[name][0]) / (count - before[name][1])
                rows.append(row | _stages(its))
    return rows


async def _light_user(
    generator: Generator, other: Generator, bundle: Bundle, payloads: dict[str, bytes], url: str
) -> list[dict[str, Any]]:
    """A user with a request every 20 ms, alone and beside one who always has 30 under way."""
    rows = []
    for point, payload in payloads.items():
        light = Load(url, bundle.hash, bundle.point_number(point), payload, pause=0.02, seconds=2.0)
        flood = msgspec.structs.replace(light, pause=0.0, in_flight=30, seconds=2.6)
        parts: dict[str, list[Latencies]] = {"idle": [], "flooded": [], "who floods": []}
        for _ in range(_LIGHT_ROUNDS):
            parts["idle"].append(await generator.send(light))
            flooding = asyncio.create_task(other.send(flood))
            parts["flooded"].append(await generator.send(light))
            parts["who floods"].append(await flooding)
        for name, its in parts.items():
            seconds = flood.seconds if name == "who floods" else light.seconds
            rate = statistics.median(len(part.total) / seconds for part in its)
            rows.append({"point": point, "user": name, "per_second": rate} | _stages(its))
    return rows


async def _idle(bundle: Bundle, path: Path) -> dict[str, float]:
    """Resident megabytes of an empty server, and how many more it has with idle connections, and after their pings."""

    def resident() -> float:
        server = psutil.Process(process.pid)
        return float(sum(each.memory_info().rss for each in (server, *server.children(recursive=True)))) / 1e6

    async with (
        ServerProcess(path, *_ONE) as process,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        empty = resident()
        links = []
        for _ in range(_IDLE):
            ws = await session.ws_connect(process.url, protocols=(SUBPROTOCOL,), compress=0)
            links.append((ws, Connection(Role.CLIENT, 1 << 24)))

        async def say(event: Hello | Ping) -> None:
            for ws, connection in links:
                for frame in connection.send(event):
                    await ws.send_bytes(frame)
            for ws, connection in links:
                connection.receive(await ws.receive_bytes(), 0.0)

        await say(Hello((1,), bundle.hash))
        greeted = resident()
        for _ in range(3):
            await say(Ping(0.0, 1200))
        return {"connections": _IDLE, "empty": empty, "idle": greeted - empty, "after_pings": resident() - empty}


def _queue_us(users: int, requests: int = 4000) -> float:
    """Microseconds of the queue per request: it arrives, has its turn in a batch, its sender hears the wait."""
    queue: BatchQueue[int] = BatchQueue(1, 2 * users, 8, 0.0)
    tail = ("model", 1, 0, "fp32")
    queue.add_tail(tail, 0.001, batches=True)
    for user in range(users):
        queue.put(user, user, tail, 10.0, 0.0)
    now, done = 0.0, 0
    began = time.perf_counter()
    while done < requests:
        batch = queue.next_batch(now)
        assert batch is not None, "everybody waits, and nobody for so long"
        now += 0.0005 + 0.00005 * len(batch.jobs)
        queue.finish(batch, now)
        for job in batch.jobs:
            queue.wait(job.work, now)
            queue.put(job.work, job.work, tail, 10.0, now)
        done += len(batch.jobs)
    return (time.perf_counter() - began) / done * 1e6


def _tail_us(bundle: Bundle, payloads: dict[str, bytes]) -> dict[str, dict[str, float]]:
    """Microseconds of decoder and tail per request, by the size of the batch."""
    tail = Tail(BundleGraphs(bundle, [create_runtime("onnx")]))
    found: dict[str, dict[str, float]] = {}
    for name, payload in payloads.items():
        sample = Encoded(bundle.points[bundle.point_number(name)], payload)
        for size in _SIZES:
            times = []
            for _ in range(200 // size):
                began = time.perf_counter()
                run_together(tail, [sample] * size)
                times.append(time.perf_counter() - began)
            found.setdefault(name, {})[str(size)] = statistics.median(times) / size * 1e6
    return found


def _payloads(bundle: Bundle, points: Sequence[str]) -> dict[str, bytes]:
    """What a device sends at each of the points."""
    head = Head(BundleGraphs(bundle, [create_runtime("onnx")]))
    tensors = head.prepare(render(1).image)
    return {name: head.run(bundle.points[bundle.point_number(name)], tensors).payload or b"" for name in points}


@asynccontextmanager
async def _servers(path: Path) -> AsyncIterator[tuple[dict[str, str], dict[str, int]]]:
    """Addresses and processes of those that are compared."""
    async with (
        ServerProcess(path, *_ONE) as batched,
        ServerProcess(path, *_ONE, "--max-batch", "1") as unbatched,
        ServerProcess(path, *_OPTIONS) as all_workers,
        ServerProcess(path, *_OPTIONS, "--engine", "local") as local,
        _plain(path) as (plain, plain_pid),
    ):
        workers = f"{os.cpu_count()} workers"
        servers = {_BATCHED: batched, "unbatched": unbatched, workers: all_workers, f"{workers}, local": local}
        yield (
            {name: server.url for name, server in servers.items()} | {_PLAIN: plain},
            {name: server.pid for name, server in servers.items()} | {_PLAIN: plain_pid},
        )


async def _run() -> dict[str, Any]:
    async with Generator.started() as generator, Generator.started(yielding=True) as other:
        with as_file(files("cutpoint.demo").joinpath("scenes.cutpoint")) as path:
            bundle = await asyncio.to_thread(Bundle.open, path)
            payloads = _payloads(bundle, _POINTS)
            async with _servers(path) as (urls, pids):
                throughput = await _throughput(generator, bundle, payloads, urls, pids)
                light_user = await _light_user(generator, other, bundle, payloads, urls[_BATCHED])
            idle_mb = await _idle(bundle, path)
            tail_us = _tail_us(bundle, payloads)
        path = await asyncio.to_thread(alexnet_path)
        bundle = await asyncio.to_thread(Bundle.open, path)
        payloads = _payloads(bundle, [_DENSE_POINT])
        async with _servers(path) as (urls, pids):
            throughput += await _throughput(generator, bundle, payloads, urls, pids)
            light_user += await _light_user(generator, other, bundle, payloads, urls[_BATCHED])
        tail_us |= _tail_us(bundle, payloads)
    return {
        "throughput": throughput,
        "light_user": light_user,
        "idle_mb": idle_mb,
        "queue_us": {str(users): _queue_us(users) for users in _USERS},
        "tail_us": tail_us,
    }


def run() -> dict[str, Any]:
    """Measures; see the module's docstring."""
    return asyncio.run(_run())


def table(result: dict[str, Any]) -> Table:
    """A row a server and number of connections, then the light user."""
    columns = ("", "connections", "requests/s", "to plain", "processor µs", "generator µs")
    columns += ("p50 ms", "p99 ms", "queue p99", "tail p50", "batch")
    rows = Table(*columns)
    shown = (("total", "p50"), ("total", "p99"), ("queue", "p99"), ("tail", "p50"))

    def stages(row: dict[str, Any]) -> list[str]:
        return [f"{row[f'{stage}_ms'][quantile]:.2f}" if f"{stage}_ms" in row else "–" for stage, quantile in shown]

    for point in (*_POINTS, _DENSE_POINT):
        rows.add_section()
        rows.add_row(f"[bold]{point}" + (", AlexNet" if point == _DENSE_POINT else ""))
        for row in (row for row in result["throughput"] if row["point"] == point):
            batch = f"{row['mean_batch']:.1f}" if "mean_batch" in row else "–"
            rate, ratio = f"{row['per_second']:.0f}", f"{row['to_plain']:.2f}"
            processor = f"{row['processor_us']:.0f}", f"{row['generator_us']:.0f}"
            rows.add_row(row["server"], str(row["connections"]), rate, ratio, *processor, *stages(row), batch)
        rows.add_row("[bold]one light user")
        for row in (row for row in result["light_user"] if row["point"] == point):
            rows.add_row(row["user"], "1", f"{row['per_second']:.0f}", "", "", "", *stages(row), "")
    idle = result["idle_mb"]
    rows.add_section()
    rows.add_row(f"idle: +{idle['idle']:.0f} MB, then +{idle['after_pings']:.0f} MB", str(idle["connections"]))
    for users, microseconds in result["queue_us"].items():
        rows.add_row(f"queue alone: {microseconds:.0f} µs a request", users)
    for point, by_size in result["tail_us"].items():
        costs = ", ".join(f"{size}: {microseconds:.0f}" for size, microseconds in by_size.items())
        rows.add_row(f"{point}: µs a request in a batch of {costs}")
    return rows
