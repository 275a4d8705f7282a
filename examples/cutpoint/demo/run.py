"""Running the demonstration: each channel with every strategy at the same time, real sockets, a real server process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import numpy as np

from cutpoint.demo.channels import DemoChannel
from cutpoint.demo.scenes import Scene
from cutpoint.demo.strategies import Strategy, device_work_ms, make_strategies
from cutpoint.sdk import Bundle, Client, CutpointError, EnergyModel, InferenceResult, Objective
from cutpoint.sdk.testing import LinkEmulator

__all__ = ["ChannelRun", "Request", "StrategyRun", "run_channel"]

#: Seconds that requests still under way get when a channel's time is over.
_OVERTIME = 2.0
#: Seconds between pictures, at least; and how much longer than the longest work on the device.
_PERIOD, _HEADROOM = 0.2, 1.4


@dataclass(frozen=True, slots=True)
class Request:
    """One request of the demonstration.

    Attributes:
        at: seconds from the channel's beginning at which it was due.
        latency_ms: from then to its answer, or to the end of the run if none came.
        correct: whether the answer was right; None without an answer.
        point: id of the point that answered.
        source: ``edge``, ``device``, or why there is no answer.
        bytes_sent: on the wire.
        energy_mj: estimate.
        hedged: whether the device worked beside the server.
    """

    at: float
    latency_ms: float
    correct: bool | None
    point: str = ""
    source: str = ""
    bytes_sent: int = 0
    energy_mj: float = 0.0
    hedged: bool = False


@dataclass(slots=True)
class StrategyRun:
    """A strategy on a channel, while it runs and afterwards."""

    strategy: Strategy
    requests: list[Request] = field(default_factory=list)
    last: InferenceResult | None = None
    client: Client | None = None

    def answered(self) -> list[Request]:
        """The requests that were answered."""
        return [request for request in self.requests if request.correct is not None]

    def latency_ms(self, quantile: float) -> float:
        """Quantile of the latency; a request without an answer counts with the time it waited in vain."""
        return float(np.quantile([r.latency_ms for r in self.requests], quantile)) if self.requests else 0.0

    def mean(self, name: str) -> float:
        """Mean of a field over the answered requests."""
        answered = self.answered()
        return float(np.mean([float(getattr(r, name)) for r in answered])) if answered else 0.0

    def summary(self) -> dict[str, object]:
        """The strategy's entry in the JSON report."""
        return {
            "name": self.strategy.name,
            "requests": len(self.requests),
            "answered": len(self.answered()),
            "p50_ms": round(self.latency_ms(0.5), 2),
            "p95_ms": round(self.latency_ms(0.95), 2),
            "bytes_mean": round(self.mean("bytes_sent"), 1),
            "accuracy": round(self.mean("correct"), 4),
            "energy_mj": round(self.mean("energy_mj"), 2),
            "hedged": round(self.mean("hedged"), 4),
            "points": dict(Counter(request.point for request in self.answered())),
        }


@dataclass(slots=True)
class ChannelRun:
    """All strategies on one channel."""

    channel: DemoChannel
    seconds: float
    runs: list[StrategyRun] = field(default_factory=list)

    def summary(self) -> dict[str, object]:
        """The channel's entry in the JSON report."""
        return {"name": self.channel.name, "strategies": [run.summary() for run in self.runs]}


async def run_channel(
    channel: DemoChannel,
    scenes: Sequence[Scene],
    bundle: Bundle,
    server_url: str,
    *,
    objective: Objective,
    slowdown: float,
    seconds: float,
    device_scale: float,
    progress: Callable[[ChannelRun], None],
) -> ChannelRun:
    """Runs every strategy over one channel, each on a link of its own with the same trace.

    Args:
        channel: the channel.
        scenes: pictures with their labels; used in turn.
        bundle: what is run.
        server_url: of the server itself.
        objective: of the requests.
        slowdown: of the emulated device.
        seconds: how long.
        device_scale: slowdown against the machine that calibrated.
        progress: called whenever there is news.
    """
    run = ChannelRun(channel, seconds)
    strategies = make_strategies(bundle, objective, channel.trace, channel.delay, device_scale)
    # No strategy may need more of the device than there is: a queue would grow, and hide what the link does.
    points = [s.point for s in strategies if s.point is not None] + [p for p in bundle.points if p.local]
    period = max(_PERIOD, _HEADROOM * device_scale * max(device_work_ms(point) for point in points) / 1e3)
    async with AsyncExitStack() as stack:
        links = []
        for strategy in strategies:
            link = await stack.enter_async_context(LinkEmulator(server_url, channel.trace, delay=channel.delay))
            client = await stack.enter_async_context(strategy.client(link.url, bundle, objective, slowdown))
            links.append(link)
            run.runs.append(StrategyRun(strategy, client=client))
        for link in links:
            link.rewind()
        energy = EnergyModel(channel.radio)
        await asyncio.gather(*(_drive(each, scenes, energy, run, period, lambda: progress(run)) for each in run.runs))
    return run


async def _drive(
    run: StrategyRun,
    scenes: Sequence[Scene],
    energy: EnergyModel,
    channel_run: ChannelRun,
    period: float,
    news: Callable[[], None],
) -> None:
    """Sends requests at a fixed rate, whether or not earlier ones are answered, as a camera does."""
    assert run.client is not None
    client = run.client
    loop = asyncio.get_running_loop()
    began = loop.time()
    end = began + channel_run.seconds
    rate = channel_run.channel.trace.mean

    async def one(scene: Scene, due: float) -> None:
        try:
            result = await client.infer(scene.image)
        except asyncio.CancelledError:
            waited = (loop.time() - due) * 1e3
            run.requests.append(Request(due - began, waited, None, source="no answer in time"))
            raise
        except CutpointError as error:
            waited = (loop.time() - due) * 1e3
            run.requests.append(Request(due - began, waited, None, source=type(error).__name__))
        else:
            latency = (loop.time() - due) * 1e3
            device_ms = result.timing.head + result.timing.encode
            run.last = result
            run.requests.append(
                Request(
                    due - began,
                    latency,
                    int(np.argmax(result.outputs[0])) == scene.label,
                    result.point.id,
                    result.source,
                    result.bytes_sent,
                    energy.request_mj(device_ms, result.bytes_sent, rate),
                    result.hedged,
                )
            )
        news()

    tasks: set[asyncio.Task[None]] = set()
    due, number = began, 0
    while due < end:
        await asyncio.sleep(max(0.0, due - loop.time()))
        tasks.add(asyncio.create_task(one(scenes[number % len(scenes)], due)))
        number += 1
        due += period
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=_OVERTIME)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
    run.requests.sort(key=lambda request: request.at)
