"""The edge server under load: batched, unbatched, and a plain aiohttp handler that calls onnxruntime.

The load generator and each server are processes of their own, all on this machine. Every connection asks again as soon
as it has its answer. The servers have one worker, and take turns, so that what else the machine does hits all alike.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from rich.table import Table
from tests.bench._load import Latencies, Load

from cutpoint.demo.scenes import render
from cutpoint.sdk import Bundle
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.head import Head
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.sdk.testing import ServerProcess

TITLE = "Edge server under load"

#: A tail of convolutions, whose cost is in the arithmetic, and a late one, whose cost is in the calls.
_POINTS = ("cut3-fp32-klt-q3", "cut7-fp32-klt-q3")
_CONNECTIONS = (1, 10, 100)
_ROUNDS = 2


async def _send(load: Load) -> Latencies:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench._load", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate(msgspec.json.encode(load))
    return msgspec.json.decode(out, type=Latencies)


@asynccontextmanager
async def _plain(path: Path) -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench._plain_server", str(path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(await process.stdout.readline())}"
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


def _merge(parts: list[Latencies], seconds: float) -> dict[str, Any]:
    merged: dict[str, Any] = {"per_second": round(sum(len(part.total) for part in parts) / seconds, 1)}
    for stage in ("total", "queue", "decode", "tail"):
        values = [value for part in parts for value in getattr(part, stage)]
        if values:
            merged[f"{stage}_ms"] = _quantiles(values)
    return merged


async def _throughput(bundle: Bundle, payloads: dict[str, bytes], urls: dict[str, str]) -> list[dict[str, Any]]:
    rows = []
    for point, payload in payloads.items():
        for connections in _CONNECTIONS:
            loads = {
                name: Load(url, bundle.hash, bundle.point_number(point), payload, connections)
                for name, url in urls.items()
            }
            parts: dict[str, list[Latencies]] = {name: [] for name in urls}
            before = {name: await _batches(url) for name, url in urls.items() if url.startswith("ws")}
            for _ in range(_ROUNDS):
                for name, load in loads.items():
                    parts[name].append(await _send(load))
            for name, its in parts.items():
                row = {"point": point, "connections": connections, "server": name}
                row |= _merge(its, _ROUNDS * loads[name].seconds)
                if name in before:
                    total, count = await _batches(urls[name])
                    row["mean_batch"] = round((total - before[name][0]) / (count - before[name][1]), 2)
                rows.append(row)
    return rows


async def _light_user(bundle: Bundle, payloads: dict[str, bytes], url: str) -> list[dict[str, Any]]:
    """A user with a request every 20 ms, alone and beside one who always has 30 under way."""
    rows = []
    for point, payload in payloads.items():
        light = Load(url, bundle.hash, bundle.point_number(point), payload, pause=0.02, seconds=5.0)
        flood = msgspec.structs.replace(light, pause=0.0, in_flight=30, seconds=light.seconds + 2)
        idle = await _send(light)
        flooding = asyncio.create_task(_send(flood))
        flooded = await _send(light)
        its = await flooding
        rows.append(
            {
                "point": point,
                "idle": _merge([idle], light.seconds),
                "flooded": _merge([flooded], light.seconds),
                "flood": _merge([its], flood.seconds),
            }
        )
    return rows


async def _run() -> dict[str, Any]:
    with as_file(files("cutpoint.demo").joinpath("scenes.cutpoint")) as path:
        bundle = await asyncio.to_thread(Bundle.open, path)
        head = Head(BundleGraphs(bundle, [create_runtime("onnx")]))
        tensors = head.prepare(render(1).image)
        payloads = {
            name: head.run(bundle.points[bundle.point_number(name)], tensors).payload or b"" for name in _POINTS
        }
        async with (
            ServerProcess(path, "--threads", "1") as batched,
            ServerProcess(path, "--threads", "1", "--max-batch", "1") as unbatched,
            _plain(path) as plain,
        ):
            urls = {"batched": batched.url, "unbatched": unbatched.url, "plain aiohttp": plain}
            return {
                "throughput": await _throughput(bundle, payloads, urls),
                "light_user": await _light_user(bundle, payloads, batched.url),
            }


def run() -> dict[str, Any]:
    """Measures; see the module's docstring."""
    return asyncio.run(_run())


def table(result: dict[str, Any]) -> Table:
    """A row a server and number of connections, then the light user."""
    rows = Table("", "connections", "requests/s", "p50 ms", "p99 ms", "queue p99", "decode p50", "tail p50", "batch")

    def cell(row: dict[str, Any], stage: str, quantile: str) -> str:
        return f"{row[stage][quantile]:.2f}" if stage in row else "–"

    def stages(row: dict[str, Any]) -> list[str]:
        wanted = (("total", "p50"), ("total", "p99"), ("queue", "p99"), ("decode", "p50"), ("tail", "p50"))
        return [cell(row, f"{stage}_ms", quantile) for stage, quantile in wanted]

    point = ""
    for row in result["throughput"]:
        if row["point"] != point:
            point = row["point"]
            rows.add_section()
            rows.add_row(f"[bold]{point}")
        batch = f"{row['mean_batch']:.1f}" if "mean_batch" in row else "–"
        rows.add_row(row["server"], str(row["connections"]), f"{row['per_second']:.0f}", *stages(row), batch)
    for entry in result["light_user"]:
        rows.add_section()
        rows.add_row(f"[bold]{entry['point']}, one light user")
        for name in ("idle", "flooded"):
            rows.add_row(name, "1", f"{entry[name]['per_second']:.0f}", *stages(entry[name]), "")
        rows.add_row("who floods", "1", f"{entry['flood']['per_second']:.0f}", *stages(entry["flood"]), "")
    return rows
