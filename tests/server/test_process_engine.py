"""A process of its own for tails: whatever becomes of it, requests are answered."""

import asyncio
import gc
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.support.toy import picture, toy_bundle
from tests.support.waiting import until

from cutpoint.codecs import SymbolMemory
from cutpoint.sdk import Bundle, Client, GraphError, RuntimeUnavailable
from cutpoint.sdk.testing import ServerProcess
from cutpoint.server import Settings
from cutpoint.server.engines import Computed, Work, create_engine
from cutpoint.server.engines import process as process_module
from cutpoint.server.engines.process import ProcessEngine
from cutpoint.server.tails import Encoded

from .conftest import QUICK
from .test_engines import POINT, Asking, compute, encoded, label, scheduler

pytestmark = pytest.mark.timeout(120)

#: A process has to start.
PATIENT = {"timeout": 60.0}


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return toy_bundle("free", free_batch=True)


@pytest.fixture
async def engine(bundle: Bundle) -> AsyncIterator[ProcessEngine]:
    """With the bundle, on two threads."""
    engine = await asyncio.to_thread(create_engine, Settings(engine="process", threads=2), time.monotonic)
    assert isinstance(engine, ProcessEngine)
    await asyncio.to_thread(engine.load, bundle)
    yield engine
    pid = engine.pid
    await engine.close()
    assert not psutil.pid_exists(pid)


class Deadly:
    """A sample that ends the process which reads it."""

    def __reduce__(self) -> Any:
        return os._exit, (9,)


class Unsendable:
    """A sample that is not a message."""

    def __reduce__(self) -> Any:
        raise TypeError("this stays here")


async def test_a_process_is_killed_under_load(engine: ProcessEngine, bundle: Bundle) -> None:
    asking = Asking(await scheduler(engine, bundle), bundle)
    for _ in range(2):
        await asking.more()
        pid = engine.pid
        os.kill(pid, signal.SIGKILL)
        await until(lambda pid=pid: engine.pid != pid, **PATIENT)
    await asking.more()
    await asking.stop()


async def test_a_batch_that_no_process_survives_is_an_error(
    engine: ProcessEngine, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(GraphError, match="3 processes died while they computed this batch"):
        await compute(engine, bundle, [Deadly()])
    (computed,) = await compute(engine, bundle, encoded(bundle, 2))
    assert [label(outcome) for outcome in computed.outcomes] == [0, 1]
    assert caplog.text.count("the process that computes tails has ended (9)") == 3


async def test_a_sample_that_cannot_be_sent_is_an_error(engine: ProcessEngine, bundle: Bundle) -> None:
    with pytest.raises(TypeError, match="this stays here"):
        await compute(engine, bundle, [Unsendable()])
    assert label((await compute(engine, bundle, encoded(bundle, 1)))[0].outcomes[0]) == 0


async def test_a_process_that_died_of_a_bundle_or_of_nothing_is_replaced(engine: ProcessEngine, bundle: Bundle) -> None:
    other = toy_bundle("other")
    pid = engine.pid
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(GraphError, match="died while it loaded this"):
        await asyncio.to_thread(engine.load, other)
    assert engine.pid != pid
    await asyncio.to_thread(engine.load, other)
    assert label((await compute(engine, bundle, encoded(bundle, 1)))[0].outcomes[0]) == 0
    assert label((await compute(engine, other, encoded(other, 1)))[0].outcomes[0]) == 0
    os.kill(engine.pid, signal.SIGKILL)
    engine.unload(other.hash)
    assert label((await compute(engine, bundle, encoded(bundle, 1)))[0].outcomes[0]) == 0


async def test_where_no_process_can_be_started_requests_fail_and_do_not_hang(
    engine: ProcessEngine, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process_module, "_AGAIN", 0.01)
    with monkeypatch.context() as broken:
        broken.setattr("cutpoint.server.engines.child.sys.executable", "/nowhere/python")
        os.kill(engine.pid, signal.SIGKILL)
        with pytest.raises(GraphError, match="no process can be started"):
            await compute(engine, bundle, encoded(bundle, 1))
        assert "No such file or directory" in caplog.text
    assert label((await compute(engine, bundle, encoded(bundle, 1)))[0].outcomes[0]) == 0


def test_a_process_that_cannot_begin_says_why() -> None:
    with pytest.raises(RuntimeUnavailable, match="provider 'cuda'"):
        create_engine(Settings(engine="process", providers=("cuda",)), time.monotonic)


def test_systems_whose_processes_inherit_no_sockets_have_the_other_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cutpoint.server.engines.sys.platform", "win32")
    with pytest.raises(RuntimeUnavailable, match="use local"):
        create_engine(Settings(engine="process"), time.monotonic)


async def test_signals_are_for_the_server(engine: ProcessEngine, bundle: Bundle) -> None:
    pid = engine.pid
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, number)
    assert label((await compute(engine, bundle, encoded(bundle, 1)))[0].outcomes[0]) == 0
    assert engine.pid == pid
    assert engine.processor > 0


async def test_signals_are_for_the_server_also_while_the_process_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.send_signal(signal.SIGTERM)

    monkeypatch.setattr("cutpoint.server.engines.child.subprocess.Popen", Stopped)
    engine = await asyncio.to_thread(create_engine, Settings(engine="process", threads=1), time.monotonic)
    await engine.close()


async def test_what_is_done_is_told_once_and_trouble_with_telling_is_logged(
    engine: ProcessEngine, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Computed | Exception] = []

    def done(computed: Computed | Exception) -> None:
        told.append(computed)
        raise RuntimeError("nobody is there")

    engine.compute(Work(bundle.hash, encoded(bundle, 1), done))
    await engine.close()
    assert len(told) == 1
    assert "a worker failed: nobody is there" in caplog.text


async def test_streams_that_ended_are_forgotten(engine: ProcessEngine, bundle: Bundle) -> None:
    memory = SymbolMemory()
    sample = encoded(bundle, 1)[0]
    await compute(engine, bundle, [Encoded(sample.point, sample.payload, memory)])
    assert len(engine._streams) == 1
    del memory
    gc.collect()
    assert not engine._streams
    assert len(engine._ended) == 1
    await compute(engine, bundle, [sample])
    assert not engine._ended


@pytest.mark.parametrize(("options", "processes"), [((), 1), (("--engine", "local"), 0)])
async def test_serve_computes_in_a_process_which_ends_with_it(
    options: tuple[str, ...], processes: int, tmp_path: Path
) -> None:
    bundle = toy_bundle()
    bundle.save(tmp_path / "toy.cutpoint")
    async with ServerProcess(tmp_path / "toy.cutpoint", *options) as server:
        async with Client(server.url, bundle, mode="edge", times=QUICK) as client:
            for i in range(3):
                result = await client.infer(picture(i, i), point=POINT)
                assert (result.source, int(result.outputs[0].argmax())) == ("edge", i)
        children = psutil.Process(server.pid).children()
        assert len(children) == processes
        os.kill(server.pid, signal.SIGKILL)
        await until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children), **PATIENT)
