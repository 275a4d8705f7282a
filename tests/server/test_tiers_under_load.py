"""Device, edge and cloud as processes of their own, killed and frozen under load: every request is answered."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from tests.support.toy import picture, toy_bundle
from tests.support.waiting import until

from cutpoint.sdk import Bundle, Client, Objective
from cutpoint.sdk.testing import ServerProcess

from .conftest import QUICK
from .test_app import get
from .test_under_load import Load

#: The device leaves the servers the time that they take.
PATIENT = Objective(patience=1e6)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Path]:
    """Its tail takes a few milliseconds, so that requests queue."""
    bundle = toy_bundle("busy", tail_repeats=3)
    path = tmp_path_factory.mktemp("bundles") / "busy.cutpoint"
    bundle.save(path)
    return bundle, path


@asynccontextmanager
async def three(path: Path) -> AsyncIterator[tuple[ServerProcess, ServerProcess]]:
    """Edge and cloud; the edge has found the cloud."""
    async with ServerProcess(path, "--threads", "1", "--tier", "cloud") as cloud:
        options = "--upstream", cloud.url, "--threads", "1", "--tier", "edge", "--max-batch", "1"
        async with ServerProcess(path, *options) as edge:
            await connected(edge)
            yield edge, cloud


async def connected(edge: ServerProcess, timeout: float = 20.0) -> None:
    """Returns when the edge can ask the cloud."""
    async with asyncio.timeout(timeout):
        while b"cutpoint_upstream_up 1.0" not in (await get(edge.url, "/metrics"))[1]:
            pass


def tiers(load: Load, since: int = 0) -> Counter[tuple[str, ...]]:
    """How many requests which machines had a part in."""
    return Counter((result.source, *(hop.tier for hop in result.hops)) for result in load.results[since:])


EDGE, BOTH = ("edge", "edge"), ("edge", "edge", "cloud")


async def test_what_the_edge_has_no_time_for_goes_to_the_cloud(busy: tuple[Bundle, Path]) -> None:
    bundle, path = busy
    image = picture(2, 5)
    async with Client(bundle=bundle, mode="device") as alone:
        uncut = (await alone.infer(image)).outputs[0]
    async with three(path) as (edge, _), Client(edge.url, bundle, mode="edge", times=QUICK) as client:
        load = Load(client, in_flight=6)
        load.start()
        await until(lambda: tiers(load)[BOTH] > 30 and tiers(load)[EDGE] > 30)
        await load.stop()
        results = await asyncio.gather(*(client.infer(image, point="cut1-fp32-raw-exact") for _ in range(12)))
        for result in results:
            np.testing.assert_allclose(result.outputs[0], uncut, atol=1e-4)
        status = (await get(edge.url, "/v1/status"))[1].decode()
    assert '"upstream":{"url":"ws://127.0.0.1:' in status
    assert '"relayed":' in status


async def test_the_cloud_dies_under_load_and_comes_back(busy: tuple[Bundle, Path]) -> None:
    bundle, path = busy
    async with three(path) as (edge, cloud), Client(edge.url, bundle, mode="edge", times=QUICK) as client:
        load = Load(client, in_flight=6)
        load.start()
        await until(lambda: tiers(load)[BOTH] > 30)
        await cloud.kill()
        at = len(load.results)
        await until(lambda: tiers(load, at)[EDGE] > 30)
        await cloud.start()
        at = len(load.results)
        await until(lambda: tiers(load, at)[BOTH] > 30, timeout=40)
        await load.stop()  # raises if the edge left one unanswered
    assert set(tiers(load)) == {EDGE, BOTH}


async def test_the_edge_dies_under_load_and_comes_back(busy: tuple[Bundle, Path]) -> None:
    bundle, path = busy
    async with three(path) as (edge, _), Client(edge.url, bundle, times=QUICK, objective=PATIENT) as client:
        load = Load(client, in_flight=6)
        load.start()
        await until(lambda: tiers(load)[BOTH] > 30)
        await edge.kill()
        await until(lambda: tiers(load)["device",] > 30)
        await edge.start()
        await until(lambda: client.connected)
        at = len(load.results)
        await until(lambda: tiers(load, at)[BOTH] > 10, timeout=40)
        await load.stop()


async def test_a_frozen_cloud_holds_nobody_up(busy: tuple[Bundle, Path]) -> None:
    bundle, path = busy
    async with three(path) as (edge, cloud), Client(edge.url, bundle, mode="edge", times=QUICK) as client:
        load = Load(client, in_flight=6)
        load.start()
        await until(lambda: tiers(load)[BOTH] > 30)
        cloud.send_signal(signal.SIGSTOP)
        try:
            at = len(load.results)
            await until(lambda: tiers(load, at)[EDGE] > 60)
            slowest = max(result.timing.total for result in load.results[at:])
        finally:
            cloud.send_signal(signal.SIGCONT)
        await load.stop()
    assert slowest < 5000
