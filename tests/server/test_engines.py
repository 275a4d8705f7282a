"""What every engine does, with Ray really started: two replicas, one thread each."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.toy import picture, toy_bundle
from tests.support.waiting import until

from cutpoint.codecs import BitstreamError, DeltaCodec, ReferenceLost, SymbolMemory
from cutpoint.sdk import Bundle, Client, GraphError
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.head import Head
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.sdk.tail import Tail, TailOutput
from cutpoint.sdk.testing import ServerProcess
from cutpoint.server import Engine, Scheduler, Settings
from cutpoint.server.batching import Share
from cutpoint.server.engines import Computed, LocalEngine, Work, create_engine
from cutpoint.server.engines.scaling import Scaling
from cutpoint.server.tails import Encoded, Tensors

from .conftest import QUICK

# One event loop for all: the replicas are started once.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

POINT = "cut1-fp32-affine-fine"
#: Both tests and replicas answer on two processors.
PATIENT = {"timeout": 120.0}


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a Ray cluster on this machine."""
    ray = pytest.importorskip("ray", reason="ray is not installed")
    ray.init("local", num_cpus=4, log_to_driver=False, include_dashboard=False)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


@pytest.fixture(scope="module", params=["local", "process", "ray"])
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "ray":
        request.getfixturevalue("cluster")
    settings = Settings(engine=request.param, threads=1 if request.param == "ray" else 2, replicas=2, max_replicas=2)
    return create_engine(settings, time.monotonic)


def encoded(bundle: Bundle, count: int, point_id: str = POINT) -> list[Encoded]:
    point = bundle.points[bundle.point_number(point_id)]
    head = Head(BundleGraphs(bundle, [create_runtime("onnx")]))
    return [Encoded(point, head.run(point, (picture(i % 3, i)[None],)).payload or b"") for i in range(count)]


async def compute(engine: Engine, bundle: Bundle, *batches: list[Any]) -> list[Computed]:
    """What a worker makes of batches, one after the other. Raises what went wrong with one of them."""
    loop = asyncio.get_running_loop()
    last: asyncio.Future[None] = loop.create_future()
    left, found = list(batches), []

    def following() -> Work | None:
        return Work(bundle.hash, left.pop(0), done) if left else None

    def done(computed: Computed | Exception) -> Work | None:
        found.append(computed)
        if not left:
            loop.call_soon_threadsafe(last.set_result, None)
        return following()

    first = following()
    assert first is not None
    engine.compute(first)
    await last
    for computed in found:
        if isinstance(computed, Exception):
            raise computed
    return found  # type: ignore[return-value]


def label(outcome: Any) -> int:
    assert isinstance(outcome, TailOutput), outcome
    return int(outcome.outputs[0].argmax())


async def test_computes_what_a_tail_computes(engine: Engine) -> None:
    bundle = toy_bundle("free", free_batch=True)
    loaded = await asyncio.to_thread(engine.load, bundle)
    assert loaded.tails[1, "fp32"].batches
    assert not loaded.tails[0, "fp32"].batches
    assert loaded.max_payloads[0] is None
    assert engine.workers == 2
    tail = Tail(BundleGraphs(bundle, [create_runtime("onnx")]))
    samples = encoded(bundle, 3)
    began = time.monotonic()
    (computed,) = await compute(engine, bundle, samples)
    assert began <= computed.done <= time.monotonic()
    for sample, outcome in zip(samples, computed.outcomes, strict=True):
        assert isinstance(outcome, TailOutput)
        np.testing.assert_allclose(outcome.outputs[0], tail.run(sample.point, sample.payload).outputs[0], rtol=1e-5)
    features = Tensors(1, "fp32", tail.decode(samples[2].point, samples[2].payload))
    assert label((await compute(engine, bundle, [features]))[0].outcomes[0]) == 2
    engine.unload(bundle.hash)


@pytest.mark.parametrize("kind", ["local", "process", "ray"])
async def test_spans_of_the_middle_and_encoders_are_loaded_where_they_are_asked_for(
    kind: Any, request: pytest.FixtureRequest
) -> None:
    if kind == "ray":
        request.getfixturevalue("cluster")
    bundle = toy_bundle()
    engine = await asyncio.to_thread(create_engine, Settings(engine=kind, threads=1, spans=True), time.monotonic)
    loaded = await asyncio.to_thread(engine.load, bundle)
    assert (0, 1, "fp32") in loaded.spans
    point = bundle.points[bundle.point_number(POINT)]
    assert point.codec in loaded.encoders
    whole = Tensors(0, "fp32", (picture(2, 2)[None],), stop=1)
    (outcome,) = (await compute(engine, bundle, [whole]))[0].outcomes
    assert isinstance(outcome, TailOutput)
    features = Tensors(1, "fp32", outcome.outputs)
    assert label((await compute(engine, bundle, [features]))[0].outcomes[0]) == 2
    await engine.close()


async def test_what_is_wrong_with_one_sample_is_its_alone(engine: Engine) -> None:
    bundle = toy_bundle("free", free_batch=True)
    await asyncio.to_thread(engine.load, bundle)
    samples = encoded(bundle, 3)
    samples[1] = Encoded(samples[1].point, b"\xff" * 9)
    outcomes = (await compute(engine, bundle, samples))[0].outcomes
    assert isinstance(outcomes[1], BitstreamError)
    assert [label(outcomes[i]) for i in (0, 2)] == [0, 2]
    engine.unload(bundle.hash)


async def test_a_worker_goes_on_with_what_follows(engine: Engine) -> None:
    bundle = toy_bundle("free", free_batch=True)
    await asyncio.to_thread(engine.load, bundle)
    samples = encoded(bundle, 6)
    computed = await compute(engine, bundle, samples[:1], samples[1:3], samples[3:])
    assert [[label(outcome) for outcome in one.outcomes] for one in computed] == [[0], [1, 2], [0, 1, 2]]
    assert [one.done for one in computed] == sorted(one.done for one in computed)
    engine.unload(bundle.hash)


async def test_a_worker_that_cannot_tell_its_result_says_so(caplog: pytest.LogCaptureFixture) -> None:
    engine, bundle = LocalEngine(create_runtime("onnx"), 1, time.monotonic), toy_bundle()
    await asyncio.to_thread(engine.load, bundle)

    def done(_: Computed | Exception) -> None:
        raise RuntimeError("nobody is there")

    engine.compute(Work(bundle.hash, encoded(bundle, 1), done))
    await engine.close()
    assert "a worker failed: nobody is there" in caplog.text


async def test_what_goes_wrong_with_a_whole_batch_is_told_and_the_worker_goes_on(engine: Engine) -> None:
    bundle, unknown = toy_bundle("free", free_batch=True), toy_bundle("unknown")
    await asyncio.to_thread(engine.load, bundle)
    with pytest.raises(Exception, match=unknown.hash):
        await compute(engine, unknown, encoded(unknown, 1))
    (computed,) = await compute(engine, bundle, encoded(bundle, 1))
    assert label(computed.outcomes[0]) == 0
    engine.unload(bundle.hash)


async def test_a_bundle_that_does_not_work_is_refused(engine: Engine) -> None:
    bundle = toy_bundle("broken", whole=b"nothing")
    with pytest.raises(GraphError, match="refuses the graph"):
        await asyncio.to_thread(engine.load, bundle)


async def test_streams_remember_their_frames(engine: Engine) -> None:
    bundle = toy_bundle()
    await asyncio.to_thread(engine.load, bundle)
    point = bundle.points[bundle.point_number("cut1-fp32-delta-fine")]
    graphs = BundleGraphs(bundle, [create_runtime("onnx")])
    codec = graphs.codec("1-delta")
    assert isinstance(codec, DeltaCodec)
    memory = SymbolMemory()
    reference = None
    for number in range(6):
        tensors = graphs.span(0, 1, "fp32").run([picture(number // 2, number // 2)[None]])
        payload, symbols = codec.encode_frame(tensors, point.level, reference)
        assert payload[0] == (number > 0 and number % 2)  # every second frame is the one before
        (outcome,) = (await compute(engine, bundle, [Encoded(point, payload, memory)]))[0].outcomes
        assert label(outcome) == number // 2
        reference = symbols
    payload, _ = codec.encode_frame(tensors, point.level, reference)
    (outcome,) = (await compute(engine, bundle, [Encoded(point, payload)]))[0].outcomes
    assert isinstance(outcome, ReferenceLost)
    engine.unload(bundle.hash)


async def scheduler(engine: Engine, bundle: Bundle) -> Scheduler:
    loaded = await asyncio.to_thread(engine.load, bundle)
    scheduler = Scheduler(engine, 256, 16, 0.0, time.monotonic)
    scheduler.add(bundle, loaded, Share())
    return scheduler


async def test_behind_a_scheduler_with_cancellations(engine: Engine) -> None:
    bundle = toy_bundle("free", free_batch=True)
    queue = await scheduler(engine, bundle)
    samples = encoded(bundle, 60)
    tasks = [
        asyncio.create_task(queue.submit(bundle.hash, sample, 0.0, f"user {i % 7}")) for i, sample in enumerate(samples)
    ]
    for number, task in enumerate(tasks):
        if number % 2:
            task.cancel()
        if number % 5 == 0:
            await asyncio.sleep(0)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for number, outcome in enumerate(outcomes[::2]):
        assert not isinstance(outcome, BaseException)
        assert label(outcome.output) == 2 * number % 3
    await until(lambda: queue.pending == 0)
    engine.unload(bundle.hash)


class Asking:
    """Six users who ask again as soon as they have their answers, each of which must be right."""

    def __init__(self, queue: Scheduler, bundle: Bundle) -> None:
        self.answered = 0
        self._stopping = False
        samples = encoded(bundle, 3)

        async def ask(user: int) -> None:
            while not self._stopping:
                outcome = await queue.submit(bundle.hash, samples[user % 3], 0.0, user)
                assert label(outcome.output) == user % 3
                self.answered += 1

        self._tasks = [asyncio.create_task(ask(user)) for user in range(6)]

    async def more(self) -> None:
        """Returns when there were some more answers."""
        now = self.answered
        await until(lambda: self.answered > now + 50, **PATIENT)

    async def stop(self) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)


@pytest.mark.parametrize("engine", ["ray"], indirect=True)
async def test_a_replica_is_killed_under_load(engine: Any) -> None:
    bundle = toy_bundle("free", free_batch=True)
    asking = Asking(await scheduler(engine, bundle), bundle)
    await asking.more()
    victim = engine._replicas[0]
    pid = await victim.actor.pid.remote()
    os.kill(pid, signal.SIGKILL)
    await until(lambda: victim.gone, **PATIENT)
    assert engine.workers == 1
    await asking.more()  # the other one goes on
    await until(lambda: engine.workers == 2, **PATIENT)
    assert bundle.hash in engine._replicas[-1].loaded
    await asking.more()
    await asking.stop()
    engine.unload(bundle.hash)


async def test_replicas_come_and_go_with_the_load(cluster: str) -> None:
    engine: Any = create_engine(Settings(engine="ray", threads=1, replicas=1, max_replicas=2), time.monotonic)
    engine._scaling = Scaling(1, 2, up=0.2, down=0.2)
    bundle = toy_bundle()
    queue = await scheduler(engine, bundle)
    (sample,) = encoded(bundle, 1)
    stopping = False

    async def ask(user: int) -> None:
        while not stopping:
            assert label((await queue.submit(bundle.hash, sample, 0.0, user)).output) == 0

    asking = [asyncio.create_task(ask(user)) for user in range(8)]
    await until(lambda: engine.workers == 2, **PATIENT)
    stopping = True
    await asyncio.gather(*asking)
    await until(lambda: engine.workers == 1, **PATIENT)
    assert label((await queue.submit(bundle.hash, sample, 0.0, 0)).output) == 0
    # What has begun ends well although the engine closes.
    last = asyncio.create_task(queue.submit(bundle.hash, sample, 0.0, 0))
    await asyncio.sleep(0)  # it is asked, …
    await asyncio.sleep(0)  # … and begins
    assert queue.pending
    assert not queue.waiting
    await queue.close()
    assert label((await last).output) == 0


async def test_a_server_process_on_the_cluster(cluster: str, tmp_path: Path) -> None:
    bundle = toy_bundle()
    bundle.save(tmp_path / "toy.cutpoint")
    options = ("--engine", "ray", "--ray-address", cluster, "--threads", "1", "--replicas", "1")
    async with ServerProcess(tmp_path / "toy.cutpoint", *options, **PATIENT) as server:  # type: ignore[arg-type]
        async with Client(server.url, bundle, mode="edge", times=QUICK) as client:
            for i in range(6):
                result = await client.infer(picture(i % 3, i), point=POINT)
                assert (result.source, int(result.outputs[0].argmax())) == ("edge", i % 3)
        assert await server.stop() == 0


async def test_engines_close(engine: Engine) -> None:
    await engine.close()
