"""Device, edge and cloud, and links between them, while things go wrong at random: every request is answered, rightly.

`CUTPOINT_CHAOS_SECONDS` says for how long; the default keeps the suite short.
"""

import asyncio
import os
import random
import signal
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.toy import picture, toy_bundle
from tests.support.waiting import until

from cutpoint.sdk import Client, Objective
from cutpoint.sdk.testing import LinkEmulator, ServerProcess, Trace

from .conftest import QUICK
from .test_tiers_under_load import connected
from .test_under_load import POINT

SECONDS = float(os.environ.get("CUTPOINT_CHAOS_SECONDS", "12"))
#: Requests under way all the time.
IN_FLIGHT = 6
FAST = Trace.constant(50e6)
#: Different things that go wrong, and answers that are given: at least so many, however long it takes.
_KINDS, _ANSWERS = 4, 100


class Chaos:
    """Does something to a server or a link, and undoes it."""

    def __init__(self, seed: int, servers: dict[str, ServerProcess], links: dict[str, LinkEmulator]) -> None:
        self._rng = random.Random(seed)
        self._servers = servers
        self._links = links
        self.done: Counter[str] = Counter()

    async def go_on(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end or len(self.done) < _KINDS:
            await asyncio.sleep(self._rng.uniform(0.1, 0.6))
            name = self._rng.choice(sorted(self._servers))
            what = self._rng.choice(("kill", "freeze", "hold", "cut"))
            self.done[f"{what} {name}"] += 1
            await getattr(self, what)(name)

    async def kill(self, name: str) -> None:
        await self._servers[name].kill()
        await asyncio.sleep(self._rng.uniform(0.0, 0.3))
        await self._servers[name].start()

    async def freeze(self, name: str) -> None:
        self._servers[name].send_signal(signal.SIGSTOP)
        await asyncio.sleep(self._rng.uniform(0.1, 1.5))
        self._servers[name].send_signal(signal.SIGCONT)

    async def hold(self, name: str) -> None:
        self._links[name].hold(self._rng.uniform(0.1, 1.0))

    async def cut(self, name: str) -> None:
        self._links[name].cut(self._rng.uniform(0.0, 0.5))


@pytest.mark.timeout(120 + 4 * SECONDS)
async def test_every_request_is_answered(tmp_path: Path) -> None:
    path = tmp_path / "busy.cutpoint"
    bundle = toy_bundle("busy", tail_repeats=3)
    bundle.save(path)
    answered: Counter[tuple[str, ...]] = Counter()
    stopping = False
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        cloud = await enter(ServerProcess(path, "--threads", "1", "--tier", "cloud"))
        behind = await enter(LinkEmulator(cloud.url, FAST, delay=0.002))
        options = "--upstream", behind.url, "--threads", "1", "--max-batch", "1", "--tier", "edge", "--slowdown", "3"
        edge = await enter(ServerProcess(path, *options))
        front = await enter(LinkEmulator(edge.url, FAST, delay=0.002))
        # The device asks the edge for everything, and answers what it hears nothing of.
        times, patient = replace(QUICK, silence=0.8, probe=0.2), Objective(patience=1e6)
        client = await enter(Client(front.url, bundle, times=times, objective=patient))

        async def ask(seed: int) -> None:
            while not stopping:
                seed += 1
                result = await client.infer(picture(seed % 3, seed), point=POINT)
                assert int(result.outputs[0].argmax()) == seed % 3
                answered[result.source, *(hop.tier for hop in result.hops)] += 1

        def edge_answered() -> int:
            return sum(count for (source, *_), count in answered.items() if source == "edge")

        asking = [asyncio.create_task(ask(number)) for number in range(IN_FLIGHT)]
        await until(lambda: answered["edge", "edge", "cloud"] > 10, timeout=60)
        chaos = Chaos(7, {"cloud": cloud, "edge": edge}, {"cloud": behind, "edge": front})
        await chaos.go_on(SECONDS)
        # Nothing stays broken: sooner or later the edge answers the device, and has the cloud behind it.
        await connected(edge, 60.0)
        await until(lambda: sum(answered.values()) > _ANSWERS, timeout=60)
        before = edge_answered()
        await until(lambda: edge_answered() > before + 10, timeout=60)
        stopping = True
        await asyncio.gather(*asking)  # raises what a request raised
