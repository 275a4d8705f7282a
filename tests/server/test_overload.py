"""Three times as many requests as the server can compute: what it does with its time, and what the others get."""

import asyncio
import random
from collections.abc import Hashable
from heapq import heappop, heappush
from pathlib import Path

import psutil
import pytest
from tests.support.toy import picture, toy_bundle

from cutpoint.sdk import Bundle, Client, InferenceResult, Objective, Overloaded
from cutpoint.sdk.errors import DeadlineExceeded
from cutpoint.sdk.testing import LinkEmulator, ServerProcess, Trace
from cutpoint.server import EdgeServer, Outcome
from cutpoint.server.batching import Batch, BatchQueue
from cutpoint.server.models import Model
from cutpoint.server.tails import Sample

from .conftest import QUICK
from .test_app import get

POINT = "cut1-fp32-affine-fine"


@pytest.mark.parametrize("spread", [0.0, 0.3])
@pytest.mark.parametrize("workers", [1, 3])
def test_the_workers_compute_what_is_in_time(workers: int, spread: float) -> None:
    """In 60 simulated seconds, of tails that take 10 ms, give or take `spread`; budgets are 100 ms."""
    rng = random.Random(3)
    tail, seconds = ("m", 1, "fp32"), 60.0
    queue: BatchQueue[float] = BatchQueue(workers, 256, 8, 0.0)
    queue.add_tail(tail, 0.01, batches=True)
    running: list[tuple[float, int, Batch[float]]] = []
    in_time = refused = 0
    rate = 3 * workers / 0.01
    for number in range(int(seconds * rate)):
        now = number / rate
        while running and running[0][0] <= now:
            done, _, batch = heappop(running)
            queue.finish(batch, done)
            in_time += sum(done <= job.deadline for job in batch.jobs)
            _start(queue, done, running, rng, spread)
        try:
            queue.put(now, rng.randrange(20), tail, 0.1, now)
        except Overloaded:
            refused += 1
        _start(queue, now, running, rng, spread)
        refused += len(queue.take_refused())
    assert in_time >= 0.95 * seconds * workers / 0.01
    assert in_time + refused + queue.waiting + workers >= 0.98 * seconds * rate


def _start(
    queue: BatchQueue[float],
    now: float,
    running: list[tuple[float, int, Batch[float]]],
    rng: random.Random,
    spread: float,
) -> None:
    while queue.running < queue.workers and (batch := queue.next_batch(now)) is not None:
        took = sum(0.01 * rng.uniform(1 - spread, 1 + spread) for _ in batch.jobs)
        heappush(running, (now + took, id(batch), batch))


async def test_the_server_is_given_what_the_way_leaves(
    server: EdgeServer, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets: list[float] = []
    submit = Model.submit

    async def record(self: Model, sample: Sample, budget: float, user: Hashable, weight: float = 1.0) -> Outcome:
        budgets.append(budget)
        return await submit(self, sample, budget, user, weight)

    monkeypatch.setattr(Model, "submit", record)
    async with (
        LinkEmulator(server.url, Trace.constant(1e7), delay=0.1) as link,
        Client(link.url, bundle, mode="edge", objective=Objective(deadline=2.0), times=QUICK) as client,
    ):
        believed = client.conditions.channel
        assert believed is not None
        await client.infer(picture(1), point=POINT)
    # What the device itself took is off, too.
    assert 0.95 <= budgets[0] < 2.0 - believed.rtt


async def test_devices_answer_what_the_server_refuses(tmp_path: Path) -> None:
    bundle = toy_bundle("busy", tail_repeats=12)
    bundle.save(tmp_path / "busy.cutpoint")
    async with ServerProcess(tmp_path / "busy.cutpoint", "--threads", "1") as server:
        clients = [Client(server.url, bundle, objective=Objective(deadline=0.5), times=QUICK) for _ in range(6)]
        async with clients[0], clients[1], clients[2], clients[3], clients[4], clients[5]:
            loop = asyncio.get_running_loop()

            async def ask(number: int) -> InferenceResult:
                result = await clients[number % 6].infer(picture(number % 3, number), point=POINT)
                assert int(result.outputs[0].argmax()) == number % 3
                return result

            async with Client(server.url, bundle, mode="edge", times=QUICK) as patient:
                alone = [await patient.infer(picture(0), point=POINT) for _ in range(10)]
            process = psutil.Process(server.pid)
            before = process.memory_info().rss
            seconds, rate = 5.0, 3e3 / min(result.timing.tail for result in alone)
            began, tasks = loop.time(), []
            for number in range(int(seconds * rate)):
                await asyncio.sleep(max(0.0, began + number / rate - loop.time()))
                tasks.append(asyncio.create_task(ask(number)))
            results = await asyncio.gather(*tasks)
            took = loop.time() - began

            assert process.memory_info().rss - before < 20e6
            # The worker's time went into answers that came in time: nearly all of it on a quiet machine.
            assert sum(result.timing.decode + result.timing.tail for result in results) >= 0.4e3 * took
            assert all(result.source == "edge" or result.fallback is not None or result.hedged for result in results)
            assert sum(result.source == "device" for result in results) >= 0.2 * len(results)
            refusals = [result.fallback for result in results if result.fallback is not None]
            assert refusals
            assert {type(error) for error in refusals} <= {Overloaded, DeadlineExceeded}
            assert all(error.retry_after for error in refusals if isinstance(error, Overloaded))

            async with asyncio.timeout(20):
                while b"cutpoint_requests_in_flight 0.0" not in (await get(server.url, "/metrics"))[1]:
                    pass
