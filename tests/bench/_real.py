"""Requests for real: one client a strategy, each on an emulated link of its own, against one server process."""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from tests.bench._photographs import photographs
from tests.bench._traces import Recorded

from cutpoint.codecs import Array
from cutpoint.sdk import Bundle, Client, EnergyModel, LinkTimes, Objective, Point, StaticPolicy
from cutpoint.sdk.testing import LinkEmulator, ServerProcess, Trace

__all__ = ["Run", "run_for_real"]

#: Links that are used at the same time: more would make the clients wait for each other's event loop.
_AT_A_TIME = 2
#: Seconds before the traces begin, in which clients connect and learn.
_WARM_UP = 2.0


@dataclass(slots=True)
class Run:
    """A strategy on a link.

    Attributes:
        link: the link.
        point: the fixed point; None for the adaptive policy.
        period: seconds between requests.
        latency_ms: of every request.
        shares: share of answers by point.
        hedged: share of requests for which the device worked beside the server.
        device_scale: how much slower than in calibration the device was, in the middle.
        server_scale: the same for the server.
        overhead: seconds that event loops, threads and relays add to an answer of the server.
    """

    link: Recorded
    point: Point | None
    period: float
    latency_ms: list[float] = field(default_factory=list)
    shares: dict[str, float] = field(default_factory=dict)
    hedged: float = 0.0
    device_scale: float = 1.0
    server_scale: float = 1.0
    overhead: float = 0.0


async def run_for_real(
    bundle: Bundle, fixed: dict[str, Point], links: Sequence[Recorded], slowdown: float, seconds: float
) -> list[Run]:
    """Runs the adaptive policy and every fixed point over each link for `seconds`."""
    pictures = await asyncio.to_thread(photographs, bundle, 40)
    local = min((point for point in fixed.values() if point.local), key=lambda point: point.measured.device_ms)
    alone_s = local.measured.device_ms * slowdown / 1e3
    period = max(0.5, 1.4 * alone_s)
    runs: list[Run] = []
    async with ServerProcess(bundle.origin, "--threads", "1") as server:
        remote = next((point for point in fixed.values() if not point.local), None)
        overhead = 0.0 if remote is None else await _overhead(bundle, remote, server.url, pictures)
        for first in range(0, len(links), _AT_A_TIME):
            some = [
                Run(link, point, period)
                for link in links[first : first + _AT_A_TIME]
                for point in (None, *fixed.values())
            ]
            await asyncio.gather(*(_drive(run, bundle, local, server.url, pictures, slowdown, seconds) for run in some))
            for run in some:
                run.overhead = overhead
            runs += some
    return runs


async def _overhead(bundle: Bundle, point: Point, url: str, pictures: list[Array]) -> float:
    """Seconds that an answer takes through an emulator whose link takes none, beside the work itself."""
    taken = []
    async with LinkEmulator(url, Trace.constant(1e9)) as link, Client(link.url, bundle, mode="edge") as client:
        for picture in pictures:
            timing = (await client.infer((picture,), point=point.id)).timing
            work = timing.prepare + timing.head + timing.encode + timing.queue + timing.decode + timing.tail
            taken.append((timing.total - work) / 1e3)
    return statistics.median(taken)


async def _drive(
    run: Run, bundle: Bundle, local: Point, url: str, pictures: list[Array], slowdown: float, seconds: float
) -> None:
    loop = asyncio.get_running_loop()
    policy = None if run.point is None else StaticPolicy(run.point, local)
    # A fixed point has no fallback: it sits an outage out.
    patient = Objective(patience=1e9)
    sources: Counter[str] = Counter()
    devices: list[float] = []
    servers: list[float] = []
    hedged = 0
    async with AsyncExitStack() as stack:
        link = await stack.enter_async_context(LinkEmulator(url, run.link.trace, delay=run.link.rtt / 2))
        client = await stack.enter_async_context(
            Client(
                link.url,
                bundle,
                objective=Objective() if run.point is None else patient,
                policy=policy,
                energy=EnergyModel(run.link.radio),
                slowdown=slowdown,
                times=LinkTimes() if run.point is None else LinkTimes(silence=1e9),
            )
        )
        link.rewind()
        began = loop.time()

        async def ask(number: int, due: float) -> None:
            nonlocal hedged
            result = await client.infer((pictures[number % len(pictures)],))
            sources[result.point.id] += 1
            timing, m = result.timing, result.point.measured
            devices.append((timing.head + timing.encode) / (m.device_ms + m.encode_ms))
            if result.source == "edge":
                servers.append((timing.decode + timing.tail) / (m.decode_ms + m.tail_ms))
            hedged += result.hedged
            run.latency_ms.append((loop.time() - due) * 1e3)

        tasks = []
        due = began + _WARM_UP
        while due < began + _WARM_UP + seconds:
            await asyncio.sleep(max(0.0, due - loop.time()))
            tasks.append(asyncio.create_task(ask(len(tasks), due)))
            due += run.period
        await asyncio.gather(*tasks)
        run.device_scale = statistics.median(devices)
        run.server_scale = statistics.median(servers) if servers else client.conditions.server_scale
    answered = sum(sources.values())
    run.shares = {name: count / answered for name, count in sources.items()}
    run.hedged = hedged / answered
