"""What spans cost a request: processor time of the client and of a server, in the event loop.

The same answer of a server is given again and again to the line of `Client.infer` that may trace: with tracing off,
with spans that nobody samples, and with all five of them recorded. A server's span is begun and ended about the same
request, with three more in it. Spans go to OpenTelemetry's batch processor, whose exporter drops them.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from importlib.resources import as_file, files
from typing import Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from rich.table import Table

from cutpoint.demo.scenes import render
from cutpoint.sdk import Client, InferenceResult, Timing
from cutpoint.sdk.protocol import Hop, Request, TraceContext
from cutpoint.sdk.tail import TailOutput
from cutpoint.sdk.tracing import Tracing
from cutpoint.server.scheduler import Outcome
from cutpoint.server.tracing import RequestSpan

TITLE = "Spans: processor time per request"

_ROUNDS = 30
_REQUESTS = 300

_ASKED = TraceContext(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, 1)
_HOPS = (Hop("edge", 0.5, 1.0, 2.0, 0.0, 3.5),)
_OUTCOME = Outcome(TailOutput((), 1.0, 2.0), 0.5, 1)


class _Drop(SpanExporter):
    def export(self, spans: object) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def _tracing(sampler: Sampler) -> Tracing:
    provider = TracerProvider(sampler, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_Drop()))
    return Tracing(provider)


async def _answer() -> InferenceResult:
    with as_file(files("cutpoint.demo").joinpath("scenes.cutpoint")) as path:
        async with Client(bundle=path) as client:
            result = await client.infer(await asyncio.to_thread(lambda: render(1).image))
    timing = Timing(total=20.0, prepare=1.0, head=5.0, encode=1.0, network=9.5, queue=0.5, decode=1.0, tail=2.0)
    return replace(result, source="edge", timing=timing, bytes_sent=5100, hops=_HOPS)


async def _run() -> dict[str, Any]:
    result = await _answer()

    async def answering() -> InferenceResult:
        return result

    async def plain() -> None:
        await answering()

    def client(tracing: Tracing | None) -> Callable[[], Awaitable[None]]:
        async def infer() -> None:
            awaited = answering()
            await (awaited if tracing is None else tracing.infer(awaited))

        return infer

    recorded, unsampled = _tracing(ALWAYS_ON), _tracing(ALWAYS_OFF)
    request = Request(1, 0, bytes(5000), trace=_ASKED)

    async def served() -> None:
        RequestSpan(recorded, request, result.point.id).end("ok", _OUTCOME, _HOPS)

    ways = {
        "client, without the line": plain,
        "client, off": client(None),
        "client, not sampled": client(unsampled),
        "client, recorded": client(recorded),
        "server, recorded": served,
    }
    micros: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(_ROUNDS):
        for name, way in ways.items():
            began = time.thread_time()
            for _ in range(_REQUESTS):
                await way()
            micros[name].append((time.thread_time() - began) / _REQUESTS * 1e6)
    return {"micros": {name: round(statistics.median(times), 3) for name, times in micros.items()}}


def run() -> dict[str, Any]:
    """Measures; see the module's docstring."""
    return asyncio.run(_run())


def table(result: dict[str, Any]) -> Table:
    """A row a way."""
    rows = Table("", "µs", title="median over rounds")
    for name, micros in result["micros"].items():
        rows.add_row(name, f"{micros:.2f}")
    return rows
