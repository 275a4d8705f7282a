"""A server process under load: bundles exchanged, requests cancelled, the server told to stop. Nobody is let down."""

import asyncio
import random
import signal
from collections import Counter
from pathlib import Path

import pytest
from tests.support.toy import picture, toy_bundle
from tests.support.waiting import until

from cutpoint.sdk import Client, InferenceResult
from cutpoint.sdk.testing import ServerProcess

from .conftest import QUICK
from .test_app import get

POINT = "cut1-fp32-affine-fine"
REPLACEMENTS = 20


class Load:
    """Clients with requests under way all the time."""

    def __init__(self, *clients: Client, in_flight: int = 3) -> None:
        self._clients = clients
        self._in_flight = in_flight
        self._stopping = False
        self.results: list[InferenceResult] = []
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._ask(client, number))
            for client in self._clients
            for number in range(self._in_flight)
        ]

    async def stop(self) -> None:
        """Raises whatever a request raised."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def _ask(self, client: Client, seed: int) -> None:
        while not self._stopping:
            seed += 1
            result = await client.infer(picture(seed % 3, seed), point=POINT)
            assert int(result.outputs[0].argmax()) == seed % 3
            self.results.append(result)


async def test_a_bundle_is_replaced_twenty_times(tmp_path: Path) -> None:
    models, cache = tmp_path / "models", tmp_path / "cache"
    models.mkdir()
    first = toy_bundle(version=0)
    first.save(models / "toy.cutpoint")
    options = ("--models", str(models), "--models-interval", "0.02", "--threads", "1")
    async with ServerProcess(None, *options) as server:
        following = [Client(server.url, first, times=QUICK, update=True, cache=cache) for _ in range(2)]
        staying = Client(server.url, first, times=QUICK)
        async with following[0], following[1], staying:
            load = Load(*following, staying)
            load.start()
            for version in range(1, REPLACEMENTS + 1):
                newer = toy_bundle(version=version)
                newer.save(models / "toy.cutpoint", overwrite=True)
                await until(lambda newer=newer: {client.bundle.hash for client in following} == {newer.hash})  # type: ignore[misc]
            await load.stop()
            assert all(client.rejected == {} for client in following)
    assert [result.fallback for result in load.results if result.fallback is not None] == []
    assert len(load.results) > 10 * REPLACEMENTS


async def test_half_of_all_requests_are_cancelled(process: ServerProcess) -> None:
    rng = random.Random(5)
    bundle = toy_bundle()
    clients = [Client(process.url, bundle, times=QUICK) for _ in range(3)]
    async with clients[0], clients[1], clients[2]:
        tasks = []
        for number in range(300):
            image = picture(number % 3, number)
            tasks.append(asyncio.create_task(clients[number % 3].infer(image, point=POINT)))
            if number % 2:
                asyncio.get_running_loop().call_later(rng.uniform(0, 0.01), tasks[-1].cancel)
            if number % 10 == 0:
                await asyncio.sleep(0.001)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for number, result in enumerate(results):
            if isinstance(result, asyncio.CancelledError):
                assert number % 2
                continue
            assert isinstance(result, InferenceResult)
            assert result.fallback is None
            assert int(result.outputs[0].argmax()) == number % 3
        assert Counter(isinstance(result, asyncio.CancelledError) for result in results)[True] > 20
        assert all(client._link is not None and not client._link.in_flight for client in clients)

        async def in_flight() -> bytes:
            return (await get(process.url, "/metrics"))[1]

        async with asyncio.timeout(20):
            while b"cutpoint_requests_in_flight 0.0" not in await in_flight():
                pass
        for client in clients:
            assert (await client.infer(picture(1), point=POINT)).source == "edge"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_the_server_ends_under_load(bundle_file: Path, number: signal.Signals) -> None:
    bundle = toy_bundle()
    async with ServerProcess(bundle_file, "--threads", "1") as server:
        clients = [Client(server.url, bundle, times=QUICK) for _ in range(3)]
        async with clients[0], clients[1], clients[2]:
            load = Load(*clients)
            load.start()
            await until(lambda: sum(result.source == "edge" for result in load.results) > 50)
            server.send_signal(number)
            status = await server.wait()
            answered = len(load.results)
            await until(lambda: len(load.results) > answered + 50)
            await load.stop()
    assert status == (0 if number is signal.SIGTERM else -signal.SIGKILL)
    assert load.results[-1].source == "device"
