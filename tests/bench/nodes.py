"""Nodes of 1.0, 0.6 and 0.4 processors that share the work of MobileNetV2: AMP4EC's set-up (arXiv:2504.00407).

Each node is a server process in a namespace of its own, with a processor quota and a link of 200 Mbit/s. Requests (JPEG
pictures) arrive at the slowest node, on which the whole model also runs alone, for comparison. Then the fastest node is
killed under load; then the others are killed, frozen, slowed down and cut off at random for two minutes.

One processor is half a core here: the quotas sum up to one core, the other one is for the load.
"""

from __future__ import annotations

import asyncio
import random
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
from rich.table import Table
from tests.bench._bundles import tiers_path
from tests.bench._load import Latencies, Load
from tests.bench._photographs import photographs
from tests.support.nodes import numbers
from tests.testbed.bed import Machine, TestBed, missing

from cutpoint.codecs import Array
from cutpoint.sdk import Bundle, Client, CutpointError
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.head import Head
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.sdk.testing import ServerProcess

TITLE = "Nodes that share the work"

_POINT = "cut0-jpeg-q85"
#: Cores that are one processor of the set-up.
_UNIT = 0.5
_NODES = {"slow": 0.4, "medium": 0.6, "fast": 1.0}
_RATE = 2e8
_PORT = 8700
#: Requests under way at a time.
_IN_FLIGHT = (1, 16)
_SECONDS, _SETTLE = 5.0, 2.5
_CHAOS = 120.0
_TORCH, _MONOLITHIC = "slow alone, PyTorch", "slow alone, no batches"


@asynccontextmanager
async def _nodes(
    bed: TestBed, path: Path, names: Sequence[str], *options: str
) -> AsyncIterator[dict[str, ServerProcess]]:
    """Servers on some machines, each other's peers; they start at full speed."""
    async with AsyncExitStack() as stack:
        for name in _NODES:
            await asyncio.to_thread(bed.set_cpu, name, 2.0)
        servers = {}
        for name in names:
            peers = [f"ws://{bed.address(other)}:{_PORT}" for other in names if other != name]
            words = [word for url in peers for word in ("--peer", url)]
            servers[name] = ServerProcess(
                path,
                *("--host", bed.address(name), "--port", str(_PORT), "--threads", "1", "--tier", name),
                *("--max-connections-per-address", "500"),
                *words,
                *options,
                prefix=bed.command(name),
            )
        await asyncio.gather(*(stack.enter_async_context(server) for server in servers.values()))
        for name, share in _NODES.items():
            await asyncio.to_thread(bed.set_cpu, name, share * _UNIT)
        yield servers


@asynccontextmanager
async def _torch(bed: TestBed) -> AsyncIterator[str]:
    """The model in PyTorch on the slow machine."""
    await asyncio.to_thread(bed.set_cpu, "slow", 2.0)
    command = [*bed.command("slow"), sys.executable, "-m", "tests.bench._torch_server", bed.address("slow"), str(_PORT)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        await process.stdout.readline()
        await asyncio.to_thread(bed.set_cpu, "slow", _NODES["slow"] * _UNIT)
        yield f"http://{bed.address('slow')}:{_PORT}"
    finally:
        process.kill()
        await process.communicate()


async def _send(load: Load) -> Latencies:
    """Sends `load` from a process of its own."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench._load", stdin=pipe, stdout=pipe, limit=1 << 26
    )
    out, _ = await process.communicate(msgspec.json.encode(load) + b"\n")
    return msgspec.json.decode(out, type=Latencies)


def run() -> dict[str, Any]:
    """Measures; see the module's docstring."""
    if reason := missing():
        raise SystemExit(reason)
    path = tiers_path("MobileNetV2")
    bundle = Bundle.open(path)
    picture = photographs(bundle, 1)[0]
    point = bundle.points[bundle.point_number(_POINT)]
    payload = Head(BundleGraphs(bundle, [create_runtime("onnx")])).run(point, (picture,)).payload or b""
    load = Load("", bundle.hash, bundle.point_number(_POINT), payload, seconds=_SECONDS, warm_up=_SETTLE)
    with TestBed({name: Machine(2.0, _RATE) for name in _NODES}) as bed:
        result = {"unit": _UNIT, "rows": asyncio.run(_throughput(bed, path, load))}
        result["killed"] = asyncio.run(_killed(bed, path, bundle, picture))
        result["chaos"] = asyncio.run(_chaos(bed, path, bundle, picture))
    return result


async def _throughput(bed: TestBed, path: Path, load: Load) -> list[dict[str, Any]]:
    rows = []
    async with _torch(bed) as url:
        for in_flight in _IN_FLIGHT:
            # Over HTTP a connection has one request at a time.
            asked = msgspec.structs.replace(load, url=url, connections=in_flight)
            rows.append({"system": _TORCH, "in_flight": in_flight} | _summary(await _send(asked), load.seconds))
    for system, names, options in (
        (_MONOLITHIC, ["slow"], ["--max-batch", "1"]),
        ("slow alone", ["slow"], []),
        ("fast alone", ["fast"], []),
        ("AMP4EC's score", _NODES, ["--peer-rule", "amp4ec"]),
        ("for latency", _NODES, ["--peer-rule", "latency"]),
        ("for throughput", _NODES, ["--peer-rule", "throughput"]),
        ("for latency, asked at fast", [*reversed(_NODES)], ["--peer-rule", "latency"]),
    ):
        async with _nodes(bed, path, list(names), *options) as servers:
            for in_flight in _IN_FLIGHT:
                asked = msgspec.structs.replace(load, url=servers[next(iter(names))].url, in_flight=in_flight)
                rows.append({"system": system, "in_flight": in_flight} | _summary(await _send(asked), load.seconds))
    return rows


def _summary(found: Latencies, seconds: float) -> dict[str, Any]:
    times = sorted(found.total)
    return {
        "per_second": len(times) / seconds,
        "mean_ms": statistics.fmean(times),
        "p50_ms": times[len(times) // 2],
        "p99_ms": times[int(0.99 * len(times))],
        "refused": found.refused,
    }


class _Askers:
    """Tasks that each ask one request after the other, and never the device."""

    def __init__(self, client: Client, picture: Array, tasks: int) -> None:
        #: When each answer came, and its milliseconds.
        self.answers: list[tuple[float, float]] = []
        self.failures: Counter[str] = Counter()
        self._client = client
        self._picture = picture
        self._going = True
        self._tasks = [asyncio.create_task(self._ask()) for _ in range(tasks)]

    async def _ask(self) -> None:
        while self._going:
            began = time.perf_counter()
            try:
                await self._client.infer((self._picture,), point=_POINT)
            except CutpointError as error:
                self.failures[repr(error)] += 1
            else:
                now = time.perf_counter()
                self.answers.append((now, (now - began) * 1e3))

    async def stop(self) -> None:
        self._going = False
        await asyncio.gather(*self._tasks)

    def rate(self, begin: float, end: float) -> float:
        """Answers per second in that time."""
        return sum(begin <= at < end for at, _ in self.answers) / (end - begin)


async def _killed(bed: TestBed, path: Path, bundle: Bundle, picture: Array) -> dict[str, Any]:
    """Kills the fastest node under load."""
    async with (
        _nodes(bed, path, list(_NODES)) as servers,
        Client(servers["slow"].url, bundle, mode="edge") as client,
    ):
        askers = _Askers(client, picture, 16)
        await asyncio.sleep(6.0)
        killed = time.perf_counter()
        await servers["fast"].kill()
        while len((await numbers(servers["slow"].url))["nodes"]) > 2:
            pass
        noticed = time.perf_counter() - killed
        await asyncio.sleep(5.0)
        await askers.stop()
    return {
        "answered": len(askers.answers),
        "failed": sum(askers.failures.values()),
        "failures": dict(askers.failures),
        "noticed_s": noticed,
        "longest_ms": max(ms for at, ms in askers.answers if killed <= at < killed + 3),
        "before_per_second": askers.rate(killed - 3, killed),
        "after_per_second": askers.rate(killed + 1.5, killed + 4.5),
    }


async def _chaos(bed: TestBed, path: Path, bundle: Bundle, picture: Array) -> dict[str, Any]:
    """Something happens to a peer every few seconds; requests arrive at the node that nothing happens to."""
    rng = random.Random(1)
    happened: Counter[str] = Counter()
    async with (
        _nodes(bed, path, list(_NODES)) as servers,
        Client(servers["slow"].url, bundle, mode="edge") as client,
    ):
        askers = _Askers(client, picture, 8)
        end = time.perf_counter() + _CHAOS
        deck: list[tuple[str, str]] = []
        while time.perf_counter() < end:
            if not deck:
                deck = list(product(["medium", "fast"], ["killed", "frozen", "slowed", "cut off"]))
                rng.shuffle(deck)
            name, what = deck.pop()
            seconds = rng.uniform(0.3, 3.0)
            happened[what] += 1
            await _happen(bed, servers[name], name, what, seconds)
            await asyncio.sleep(rng.uniform(0.5, 2.0))
        await askers.stop()
    times = sorted(ms for _, ms in askers.answers)
    return {
        "seconds": _CHAOS,
        "happened": dict(happened),
        "answered": len(times),
        "failed": sum(askers.failures.values()),
        "failures": dict(askers.failures),
        "p50_ms": times[len(times) // 2],
        "p99_ms": times[int(0.99 * len(times))],
        "longest_ms": times[-1],
    }


async def _happen(bed: TestBed, server: ServerProcess, name: str, what: str, seconds: float) -> None:
    """Does it for some seconds, and undoes it."""
    share = _NODES[name] * _UNIT
    match what:
        case "killed":
            await server.kill()
            await asyncio.sleep(seconds)
            await asyncio.to_thread(bed.set_cpu, name, 2.0)
            await server.start()
            await asyncio.to_thread(bed.set_cpu, name, share)
        case "frozen":
            server.send_signal(signal.SIGSTOP)
            await asyncio.sleep(seconds)
            server.send_signal(signal.SIGCONT)
        case "slowed":
            await asyncio.to_thread(bed.set_cpu, name, share / 5)
            await asyncio.sleep(seconds)
            await asyncio.to_thread(bed.set_cpu, name, share)
        case _:
            await asyncio.to_thread(bed.cut, name)
            await asyncio.sleep(seconds)
            await asyncio.to_thread(bed.cut, name, False)


def table(result: dict[str, Any]) -> Table:
    """A row a system and load, then the killed node and the chaos."""
    rows = Table("system", "load", "requests/s", "", "mean ms", "", "p99 ms")
    base = {row["in_flight"]: row for row in result["rows"] if row["system"] == _MONOLITHIC}
    for row in result["rows"]:
        alone = base[row["in_flight"]]
        rows.add_row(
            row["system"],
            str(row["in_flight"]),
            f"{row['per_second']:.0f}",
            f"{100 * (row['per_second'] / alone['per_second'] - 1):+.0f} %",
            f"{row['mean_ms']:.1f}",
            f"{100 * (row['mean_ms'] / alone['mean_ms'] - 1):+.0f} %",
            f"{row['p99_ms']:.0f}",
        )
    killed, chaos = result["killed"], result["chaos"]
    rows.add_section()
    counts = f"{killed['answered']} answered, {killed['failed']} failed"
    rates = f"{killed['before_per_second']:.0f} → {killed['after_per_second']:.0f}"
    rows.add_row("fast killed", "16", rates, "", f"{killed['longest_ms']:.0f} at most", "", "")
    rows.add_row("", "", counts, "", f"noticed after {killed['noticed_s']:.2f} s")
    rows.add_section()
    counts = f"{chaos['answered']} answered, {chaos['failed']} failed"
    happened = ", ".join(f"{count} {what}" for what, count in chaos["happened"].items())
    rows.add_row(f"chaos, {chaos['seconds']:.0f} s", "8", counts, "", happened, "", f"{chaos['p99_ms']:.0f}")
    return rows
