"""A server whose graphs take longer: `python -m tests.bench._slow_server BUNDLE SLOWDOWN [OPTION VALUE]…`.

All of it is real but the time that a worker takes for a graph: it waits after each run, as `Client(slowdown=…)` does,
so that devices in other processes find a free processor. Options are those of `cutpoint serve`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.runtimes import Graph, Stop
from cutpoint.sdk.runtimes.onnx import OnnxRuntime
from cutpoint.server import EdgeServer
from cutpoint.server.configuration import read_configuration
from cutpoint.server.engines import LocalEngine

__all__ = ["SlowServer", "slow_server"]


class _SlowGraph:
    def __init__(self, graph: Graph, slowdown: float) -> None:
        self._graph = graph
        self._slowdown = slowdown
        self._least: dict[int, float] = {}
        self.input_names, self.output_names, self.batches = graph.input_names, graph.output_names, graph.batches

    def run(self, inputs: Sequence[Array], stop: Stop | None = None) -> tuple[Array, ...]:
        wall, processor = time.perf_counter(), time.thread_time()
        outputs = self._graph.run(inputs, stop)
        wall, processor = time.perf_counter() - wall, time.thread_time() - processor
        # Of the best run of that size: what else this machine does is not the emulated server's affair.
        least = self._least[len(inputs[0])] = min(processor, self._least.get(len(inputs[0]), processor))
        time.sleep(max(0.0, least * self._slowdown - wall))
        return outputs


class _SlowRuntime(OnnxRuntime):
    def __init__(self, slowdown: float) -> None:
        super().__init__()
        self._slowdown = slowdown

    def load(self, graph: bytes, weights: Mapping[str, bytes]) -> Graph:  # type: ignore[override]
        return _SlowGraph(super().load(graph, weights), self._slowdown)


class SlowServer:
    """A server that runs: where, and as which process."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self.pid = pid


@asynccontextmanager
async def slow_server(bundle: Path, slowdown: float, *options: str) -> AsyncIterator[SlowServer]:
    """Starts one as a child process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench._slow_server",
        str(bundle),
        str(slowdown),
        *options,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        yield SlowServer(json.loads(await process.stdout.readline())["url"], process.pid)
    finally:
        process.kill()
        await process.communicate()


async def _serve(server: EdgeServer) -> None:
    await server.start()
    print(json.dumps({"url": server.url, "pid": os.getpid()}), flush=True)
    await asyncio.Event().wait()


def _main(path: str, slowdown: str, *options: str) -> None:
    flags = {name.removeprefix("--").replace("-", "_"): value for name, value in zip(*[iter(options)] * 2, strict=True)}
    settings = read_configuration(None, {}, {"port": 0, **flags}).settings
    engine = LocalEngine(_SlowRuntime(float(slowdown)), settings.threads, time.monotonic)
    asyncio.run(_serve(EdgeServer(Bundle.open(path), settings, engine=engine)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
