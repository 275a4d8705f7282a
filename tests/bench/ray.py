"""Requests through the scheduler to threads, and to replicas on a Ray cluster of this machine.

Both have two workers and the same load. Cluster, scheduler and load share the processors, so throughput says what Ray
costs here, and nothing of what further machines would bring. Then a replica is killed under load, and what the requests
notice of it is counted.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import time
from collections.abc import Callable
from importlib.resources import as_file, files
from typing import Any

from rich.table import Table
from tests.support.waiting import until

from cutpoint.demo.scenes import render
from cutpoint.sdk import Bundle
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.head import Head
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.server import Scheduler, Settings
from cutpoint.server.batching import Share
from cutpoint.server.engines import create_engine
from cutpoint.server.tails import Encoded

TITLE = "Replicas on Ray, beside threads"

_POINTS = ("cut3-fp32-klt-q3", "cut7-fp32-klt-q3")
_WORKERS = 2
_ROUNDS = 3
_SECONDS = 2.0
_IN_FLIGHT = (1, 16)


async def _load(
    queue: Scheduler, bundle: Bundle, sample: Encoded, in_flight: int, going: Callable[[], bool]
) -> tuple[list[float], list[str]]:
    """Milliseconds of each request, and what went wrong."""
    times: list[float] = []
    failures: list[str] = []

    async def ask(user: int) -> None:
        while going():
            began = time.perf_counter()
            try:
                await queue.submit(bundle.hash, sample, 0.0, user)
            except Exception as error:
                failures.append(repr(error))
            else:
                times.append((time.perf_counter() - began) * 1e3)

    await asyncio.gather(*(ask(user) for user in range(in_flight)))
    return times, failures


def _for(seconds: float) -> Callable[[], bool]:
    end = time.perf_counter() + seconds
    return lambda: time.perf_counter() < end


async def _kill(engine: Any, queue: Scheduler, bundle: Bundle, sample: Encoded) -> dict[str, Any]:
    """Kills a replica under load."""
    going = True
    loading = asyncio.create_task(_load(queue, bundle, sample, 16, lambda: going))
    await asyncio.sleep(1.0)
    pid = await engine._replicas[0].actor.pid.remote()
    began = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    await until(lambda: engine.workers < _WORKERS, timeout=120)
    noticed = time.perf_counter() - began
    await until(lambda: engine.workers == _WORKERS, timeout=120)
    back = time.perf_counter() - began
    await asyncio.sleep(0.5)
    going = False
    times, failures = await loading
    return {
        "requests": len(times),
        "failed": len(failures),
        "longest_ms": max(times),
        "noticed_s": noticed,
        "back_s": back,
    }


async def _run(bundle: Bundle, samples: dict[str, Encoded]) -> dict[str, Any]:
    engines = {
        name: create_engine(settings, time.monotonic)
        for name, settings in (
            ("threads", Settings(threads=_WORKERS)),
            ("ray", Settings(engine="ray", threads=1, replicas=_WORKERS, max_replicas=_WORKERS)),
        )
    }
    queues = {}
    for name, engine in engines.items():
        queues[name] = Scheduler(engine, 256, 16, 0.0, time.monotonic)
        queues[name].add(bundle, await asyncio.to_thread(engine.load, bundle), Share())
    rows = []
    for point, sample in samples.items():
        for in_flight in _IN_FLIGHT:
            times: dict[str, list[float]] = {name: [] for name in queues}
            for _ in range(_ROUNDS):
                for name, queue in queues.items():
                    times[name] += (await _load(queue, bundle, sample, in_flight, _for(_SECONDS)))[0]
            for name, its in times.items():
                cuts = statistics.quantiles(its, n=100, method="inclusive")
                rate = len(its) / _ROUNDS / _SECONDS
                row = {"point": point, "in_flight": in_flight, "engine": name, "per_second": rate}
                rows.append(row | {"p50_ms": cuts[49], "p99_ms": cuts[98]})
    killed = await _kill(engines["ray"], queues["ray"], bundle, samples[_POINTS[0]])
    for queue in queues.values():
        await queue.close()
    return {"rows": rows, "killed": killed}


def run() -> dict[str, Any]:
    """Measures; see the module's docstring."""
    with as_file(files("cutpoint.demo").joinpath("scenes.cutpoint")) as path:
        bundle = Bundle.open(path)
    head = Head(BundleGraphs(bundle, [create_runtime("onnx")]))
    tensors = head.prepare(render(1).image)
    points = {name: bundle.points[bundle.point_number(name)] for name in _POINTS}
    samples = {name: Encoded(point, head.run(point, tensors).payload or b"") for name, point in points.items()}
    return asyncio.run(_run(bundle, samples))


def table(result: dict[str, Any]) -> Table:
    """A row an engine and load, then the killed replica."""
    rows = Table("point", "in flight", "engine", "requests/s", "p50 ms", "p99 ms")
    for row in result["rows"]:
        shown = (f"{row['per_second']:.0f}", f"{row['p50_ms']:.2f}", f"{row['p99_ms']:.2f}")
        rows.add_row(row["point"], str(row["in_flight"]), row["engine"], *shown)
    killed = result["killed"]
    rows.add_section()
    rows.add_row(
        "a replica killed",
        "16",
        "ray",
        f"{killed['requests']} answered, {killed['failed']} failed",
        f"longest {killed['longest_ms']:.0f}",
        f"back in {killed['back_s']:.1f} s",
    )
    return rows
