"""Client, emulator and server through whatever comes, on a virtual clock: nothing is lost, leaked, or late."""

import asyncio
import gc
import random
import tracemalloc
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from tests.support.toy import picture, toy_bundle
from tests.support.waiting import until

from cutpoint.sdk import Backoff, Client, InferenceResult, LinkTimes, Objective, StaticPolicy
from cutpoint.sdk.testing import LinkEmulator, Trace, VirtualLoop
from cutpoint.server import EdgeServer, Settings

BUNDLE = toy_bundle()
REMOTE = BUNDLE.points[BUNDLE.point_number("cut1-fp32-affine-fine")]
LOCAL = BUNDLE.points[0]
DEADLINE = 0.4
TIMES = LinkTimes(connect=2.0, probe=0.5, silence=3.0, backoff=Backoff(0.05, 1.0))


class World:
    """A client, a link and a server, in one loop whose clock is virtual."""

    def __init__(self, rate: float, delay: float, adaptive: bool, times: LinkTimes = TIMES) -> None:
        self.loop = VirtualLoop()
        self.tasks: list[asyncio.Task[InferenceResult]] = []
        self.cancelled: set[asyncio.Task[InferenceResult]] = set()
        self.took: dict[asyncio.Task[InferenceResult], float] = {}
        self.times = times
        self.run(self._open(rate, delay, adaptive))

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    async def _serve(self, port: int = 0) -> None:
        # Threads of the pool for files and the like are no leak; those of servers and devices are their own.
        self.server = await asyncio.to_thread(EdgeServer, BUNDLE, Settings(port=port, grace=1.0), self.loop.time)
        await self.server.start()

    async def _open(self, rate: float, delay: float, adaptive: bool) -> None:
        await self._serve()
        self.port = int(self.server.url.rsplit(":", 1)[1])
        trace = Trace.constant(rate)
        self.link = LinkEmulator(self.server.url, trace, trace, delay=delay, jitter=(0.0, 0.003, 0.001))
        await self.link.__aenter__()
        self.client = Client(
            self.link.url,
            BUNDLE,
            objective=Objective(deadline=DEADLINE),
            # The adaptive policy would stay on this fast device; the fixed point always needs the link.
            policy=None if adaptive else StaticPolicy(REMOTE, LOCAL),
            times=self.times,
            clock=self.loop.time,
            rng=random.Random(1),
        )
        await self.client.__aenter__()

    def ask(self, number: int) -> None:
        began = self.loop.time()
        task = self.loop.create_task(self.client.infer(picture(number % 3, number)))
        task.add_done_callback(lambda done: self.took.update({done: self.loop.time() - began}))
        self.tasks.append(task)

    def wait(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    def restart(self) -> None:
        async def again() -> None:
            await self.server.stop()
            await self._serve(self.port)

        self.run(again())

    def settle(self) -> None:
        """Every request ends well, on time, and with the right answer; then everything closes and nothing is left."""

        async def close() -> None:
            await asyncio.wait_for(asyncio.gather(*self.tasks, return_exceptions=True), 60)
            # What was called off is confirmed: otherwise the link would be taken for stalled for ever.
            await until(lambda: not self.client._monitor.unanswered, 60)
            await self.client.close()
            await self.link.__aexit__(None, None, None)
            await self.server.stop()
            # What was told to end ends.
            for _ in range(5):
                await asyncio.sleep(0.01)

        self.run(close())
        for number, task in enumerate(self.tasks):
            if task in self.cancelled and task.cancelled():
                continue
            result = task.result()
            assert int(result.outputs[0].argmax()) == number % 3
            assert self.took[task] <= DEADLINE * 1.1
        assert not asyncio.all_tasks(self.loop)
        answered = sum(not task.cancelled() for task in self.tasks)
        assert self.client.counters.answered >= answered
        self.loop.close()


class Life(RuleBasedStateMachine):
    """What can happen to a client, in any order."""

    world: World | None = None
    asked = 0

    @precondition(lambda self: self.world is None)
    @rule(rate=st.sampled_from([2e4, 1e6, 5e7]), delay=st.sampled_from([0.0, 0.02, 0.15]), adaptive=st.booleans())
    def connect(self, rate: float, delay: float, adaptive: bool) -> None:
        self.world = World(rate, delay, adaptive)

    @precondition(lambda self: self.world is not None)
    @rule(count=st.integers(1, 5))
    def ask(self, count: int) -> None:
        assert self.world is not None
        for _ in range(count):
            self.world.ask(self.asked)
            self.asked += 1

    @precondition(lambda self: self.world is not None)
    @rule(seconds=st.sampled_from([0.0, 0.01, 0.1, 0.5, 4.0]))
    def wait(self, seconds: float) -> None:
        assert self.world is not None
        self.world.wait(seconds)

    @precondition(lambda self: self.world is not None and self.world.tasks)
    @rule(which=st.integers(0, 100))
    def cancel(self, which: int) -> None:
        assert self.world is not None
        task = self.world.tasks[which % len(self.world.tasks)]
        if not task.done():
            self.world.cancelled.add(task)
            task.cancel()

    @precondition(lambda self: self.world is not None)
    @rule(seconds=st.sampled_from([0.0, 0.3, 2.0]))
    def cut(self, seconds: float) -> None:
        assert self.world is not None
        self.world.link.cut(seconds)

    @precondition(lambda self: self.world is not None)
    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0]))
    def hold(self, seconds: float) -> None:
        assert self.world is not None
        self.world.link.hold(seconds)

    @precondition(lambda self: self.world is not None)
    @rule(kind=st.sampled_from(["wifi", "lte"]))
    def change_network(self, kind: str) -> None:
        assert self.world is not None
        self.world.client.network_changed(kind)

    @precondition(lambda self: self.world is not None)
    @rule()
    def drain(self) -> None:
        assert self.world is not None
        self.world.restart()

    def teardown(self) -> None:
        if self.world is not None:
            self.world.settle()


Life.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    # Building a world takes tenths of a second.
    suppress_health_check=list(HealthCheck),
)
TestLife = pytest.mark.timeout(180)(Life.TestCase)


@pytest.fixture
def world() -> World:
    return World(5e6, 0.02, adaptive=False)


def test_edge_is_used_again_within_two_seconds_of_an_outage(world: World) -> None:
    rng = random.Random(7)

    async def back(seconds: float) -> float:
        """Asks four times a second from the middle of an outage; seconds from its end to the edge's first answer."""
        over = world.loop.time() + seconds
        while True:
            began = world.loop.time()
            result = await world.client.infer(picture(1))
            if result.source == "edge" and began >= over:
                return world.loop.time() - over
            await asyncio.sleep(0.25)

    for number in range(20):
        world.wait(rng.uniform(0, 2))
        seconds = rng.uniform(0.2, 4)
        (world.link.cut if number % 2 else world.link.hold)(seconds)
        assert world.run(asyncio.wait_for(back(seconds), 60)) < 2.0
    world.settle()


@pytest.mark.parametrize(("longest", "given_up"), [(0.0, 2), (12.0, 1)])
def test_who_was_only_late_gets_more_time(longest: float, given_up: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "cutpoint")
    world = World(1e7, 0.01, adaptive=False, times=replace(TIMES, longest_silence=longest))
    for number in range(2):
        world.ask(number)
        world.wait(1.0)
        world.link.hold(4.5)
        world.wait(6.0)
    assert sum(record.message.startswith("nothing heard") for record in caplog.records) == given_up
    world.settle()


@pytest.mark.slow
def test_ten_minutes_of_outages_leave_nothing_behind(world: World) -> None:
    rng = random.Random(3)

    async def minutes(count: float) -> None:
        end = world.loop.time() + 60 * count
        while world.loop.time() < end:
            for _ in range(8):
                number = len(world.tasks)
                world.ask(number)
                await asyncio.sleep(0.25)
            match rng.randrange(6):
                case 0:
                    world.link.cut(rng.uniform(0, 2))
                case 1:
                    world.link.hold(rng.uniform(0, 3))
                case 2 if not world.tasks[-1].done():
                    world.cancelled.add(world.tasks[-1])
                    world.tasks[-1].cancel()
            # Answers are checked and let go, or the test itself would grow.
            await asyncio.wait(world.tasks[-4:])
            await asyncio.gather(*world.tasks, return_exceptions=True)
            for task in world.tasks[:-8]:
                assert task in world.cancelled or world.took[task] <= DEADLINE * 1.1

    world.run(minutes(2))
    gc.collect()
    tracemalloc.start()
    world.run(minutes(1))
    gc.collect()
    before = tracemalloc.take_snapshot()
    tasks = len(asyncio.all_tasks(world.loop))
    results = len(world.tasks)
    world.run(minutes(7))
    gc.collect()
    after = tracemalloc.take_snapshot()
    tracemalloc.stop()
    only = [
        tracemalloc.Filter(True, "*/cutpoint/*"),
        tracemalloc.Filter(True, "*/asyncio/*"),
        tracemalloc.Filter(True, "*/aiohttp/*"),
    ]
    growth = sum(
        difference.size_diff
        for difference in after.filter_traces(only).compare_to(before.filter_traces(only), "filename")
    )
    # The results that the test itself keeps: a few kilobytes each.
    kept = (len(world.tasks) - results) * 6_000
    assert growth < kept + 100_000
    assert len(asyncio.all_tasks(world.loop)) <= tasks + 2
    world.settle()
