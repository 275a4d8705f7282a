"""The scheduler on the local engine: real sessions and threads, one event loop."""

import asyncio
import time
from dataclasses import replace
from math import inf

import pytest
from tests.support.gate import Gate
from tests.support.toy import picture, toy_bundle
from tests.support.waiting import until

from cutpoint.codecs import SymbolMemory
from cutpoint.sdk import Bundle, ServerDraining
from cutpoint.sdk.errors import BitstreamError, Overloaded
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.head import Head
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.server import LocalEngine, Outcome, Scheduler
from cutpoint.server.batching import Share
from cutpoint.server.tails import Encoded

POINT = "cut1-fp32-affine-fine"


@pytest.fixture(scope="module")
def free() -> Bundle:
    return toy_bundle("free", free_batch=True)


class Bench:
    """An engine behind a gate, and requests for it."""

    def __init__(
        self,
        bundle: Bundle,
        max_queue: int = 64,
        max_batch: int = 16,
        window: float = 0.0,
        share: Share | None = None,
    ) -> None:
        self.bundle = bundle
        self.point = bundle.points[bundle.point_number(POINT)]
        self.tail = Gate(bundle)
        engine = LocalEngine(create_runtime("onnx"), 1, time.monotonic)
        self.scheduler = Scheduler(engine, max_queue, max_batch, window, time.monotonic)
        self.scheduler.add(bundle, engine.load(bundle), share or Share())
        engine._tails[bundle.hash] = self.tail
        head = Head(BundleGraphs(bundle, [create_runtime("onnx")]))
        self.payloads = [head.run(self.point, (picture(i, i)[None],)).payload or b"" for i in range(3)]

    def ask(self, label: int, user: str = "one", budget: float = 0.0) -> asyncio.Task[Outcome]:
        sample = Encoded(self.point, self.payloads[label], SymbolMemory())
        work = self.scheduler.submit(self.bundle.hash, sample, budget, user)
        return asyncio.create_task(work)

    def learn(self) -> None:
        """Lets the engine believe that eight together cost no more than one."""
        for size in (1, 2, 4, 8):
            self.scheduler._queue._curves[self.bundle.hash, 1, 0, "fp32"].observe(size, 0.001)

    async def busy(self) -> asyncio.Task[Outcome]:
        """A request that is in the worker's hands until the gate opens."""
        task = self.ask(0, "busy")
        await until(lambda: self.tail.entered == 1)
        return task


def label(outcome: Outcome) -> int:
    return int(outcome.output.outputs[0].argmax())


async def test_what_waits_is_computed_together_and_each_gets_its_own(free: Bundle) -> None:
    bench = Bench(free)
    bench.learn()
    first = await bench.busy()
    rest = [bench.ask(i % 3, f"user {i}") for i in range(8)]
    await until(lambda: bench.scheduler.pending == 9)
    bench.tail.open.set()
    assert label(await first) == 0
    outcomes = await asyncio.gather(*rest)
    assert [label(outcome) for outcome in outcomes] == [i % 3 for i in range(8)]
    assert [outcome.batch for outcome in outcomes] == [8] * 8
    assert all(outcome.queue_ms > 0 for outcome in outcomes)
    assert bench.scheduler.pending == 0
    await bench.scheduler.close()


async def test_half_of_all_are_cancelled_and_the_others_notice_nothing(free: Bundle) -> None:
    bench = Bench(free)
    bench.tail.open.set()
    tasks = [bench.ask(i % 3, f"user {i % 7}") for i in range(60)]
    for number, task in enumerate(tasks):
        if number % 2:
            task.cancel()
        if number % 5 == 0:
            await asyncio.sleep(0)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for i, outcome in enumerate(outcomes[::2]):
        assert isinstance(outcome, Outcome)
        assert label(outcome) == (2 * i) % 3
    await until(lambda: bench.scheduler.pending == 0)
    assert bench.scheduler.queue_ms("anybody") == 0
    await bench.scheduler.close()


class Elsewhere(LocalEngine):
    """Says that its workers are in processes of their own."""

    @property
    def one_interpreter(self) -> bool:
        return False


@pytest.mark.parametrize(
    ("kind", "scale", "brief"), [(LocalEngine, 1e-3, True), (LocalEngine, 1e3, False), (Elsewhere, 1e-3, False)]
)
async def test_tails_that_are_shorter_than_handing_them_over_are_brief(
    free: Bundle, kind: type[LocalEngine], scale: float, brief: bool
) -> None:
    engine = kind(create_runtime("onnx"), 2, time.monotonic)
    scheduler = Scheduler(engine, 64, 16, 0.0, time.monotonic)
    scheduler.add(free, replace(engine.load(free), scale=scale), Share())
    assert bool(scheduler._queue._brief) is brief
    scheduler.remove(free.hash)
    assert not scheduler._queue._brief
    await scheduler.close()


async def test_a_member_that_is_cancelled_in_its_batch(free: Bundle) -> None:
    bench = Bench(free)
    first = await bench.busy()
    first.cancel()
    other = bench.ask(2)
    with pytest.raises(asyncio.CancelledError):
        await first
    bench.tail.open.set()
    assert label(await other) == 2
    await bench.scheduler.close()


async def test_a_bad_payload_fails_alone(free: Bundle) -> None:
    bench = Bench(free)
    first = await bench.busy()
    bench.payloads[1] = b"\xff" * 7
    tasks = [bench.ask(i) for i in range(3)]
    bench.tail.open.set()
    outcomes = await asyncio.gather(first, *tasks, return_exceptions=True)
    assert isinstance(outcomes[2], BitstreamError)
    assert all(isinstance(outcome, Outcome) for i, outcome in enumerate(outcomes) if i != 2)
    await bench.scheduler.close()


async def test_full_and_closed_are_told(free: Bundle) -> None:
    bench = Bench(free, max_queue=2)
    first = await bench.busy()
    waiting = [bench.ask(1, "flood"), bench.ask(1, "flood")]
    await until(lambda: bench.scheduler.pending == 3)
    with pytest.raises(Overloaded, match="2 requests are waiting"):
        await bench.ask(1, "flood")
    light = bench.ask(2, "light", budget=30.0)
    with pytest.raises(Overloaded):  # the flood makes room
        await waiting[1]
    assert bench.scheduler.pending == 3
    closing = asyncio.create_task(bench.scheduler.close())
    for task in (waiting[0], light):
        with pytest.raises(ServerDraining):
            await task
    bench.tail.open.set()
    assert label(await first) == 0
    await closing


async def test_price_rises_while_requests_wait(free: Bundle) -> None:
    bench = Bench(free)
    assert bench.scheduler.price() == 0
    first = await bench.busy()
    waiting = [bench.ask(1, f"user {i % 2}") for i in range(10)]
    await until(lambda: bench.scheduler.price() > 0.2)
    assert bench.scheduler.queue_ms("user 1") > bench.scheduler.queue_ms("nobody") > 0
    bench.tail.open.set()
    await asyncio.gather(first, *waiting)
    await bench.scheduler.close()


async def test_a_window_ends_of_itself(free: Bundle) -> None:
    bench = Bench(free, window=0.02)
    bench.tail.open.set()
    bench.learn()
    began = time.monotonic()
    outcomes = await asyncio.gather(*(bench.ask(i) for i in range(3)))
    assert [outcome.batch for outcome in outcomes] == [3] * 3
    assert time.monotonic() - began >= 0.02
    await bench.scheduler.close()


async def test_batches_can_be_turned_off(free: Bundle) -> None:
    bench = Bench(free, max_batch=1)
    bench.tail.open.set()
    outcomes = await asyncio.gather(*(bench.ask(i % 3, f"user {i}") for i in range(20)))
    assert {outcome.batch for outcome in outcomes} == {1}
    await bench.scheduler.close()


async def test_a_models_own_queue_is_its_limit(free: Bundle) -> None:
    bench = Bench(free, share=Share(queue=2))
    first = await bench.busy()
    waiting = [bench.ask(1, "a"), bench.ask(2, "b")]
    await until(lambda: bench.scheduler.pending == 3)
    with pytest.raises(Overloaded, match="2 requests are waiting for this model"):
        await bench.ask(0, "c")
    bench.scheduler.limit(free.hash, Share())
    late = bench.ask(0, "c")
    bench.tail.open.set()
    assert [label(outcome) for outcome in await asyncio.gather(first, *waiting, late)] == [0, 1, 2, 0]
    await bench.scheduler.close()


async def test_it_remembers_when_it_refused(free: Bundle) -> None:
    bench = Bench(free, max_queue=2)
    assert bench.scheduler.refused_at(free.hash) == -inf
    tasks = [await bench.busy(), bench.ask(0), bench.ask(1)]
    await until(lambda: bench.scheduler.waiting == 2)
    before = time.monotonic()
    with pytest.raises(Overloaded):
        await bench.ask(2)
    assert before <= bench.scheduler.refused_at(free.hash) <= time.monotonic()
    # Who makes room for another user is refused as well.
    bench.scheduler._refused_at.clear()
    tasks.append(bench.ask(2, "lighter"))
    with pytest.raises(Overloaded):
        await tasks.pop(2)
    assert bench.scheduler.refused_at(free.hash) >= before
    bench.tail.open.set()
    await asyncio.gather(*tasks)
    await bench.scheduler.close()
    bench.scheduler.remove(free.hash)
    assert bench.scheduler.refused_at(free.hash) == -inf
