"""Real clients send slices to real servers while they compute them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from tests.support.slices import sliced_bundle
from tests.support.toy import noise
from tests.support.waiting import until

from cutpoint.codecs import Array
from cutpoint.sdk import Bundle, Client, LocalProtocolError, Objective, StaticPolicy, create_runtime
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.head import Head
from cutpoint.sdk.protocol import (
    EXTENSIONS,
    SUBPROTOCOL,
    TIERS,
    TRACE,
    VERSION,
    Cancel,
    Connection,
    Error,
    Event,
    Hello,
    Part,
    Request,
    Result,
    Role,
    Welcome,
)
from cutpoint.sdk.testing import LinkEmulator, ServerProcess, Trace
from cutpoint.server import EdgeServer, Settings
from cutpoint.server.connection import ClientConnection

from .conftest import QUICK

EXACT = ["sliced-raw-0", "sliced-raw-1", "sliced-raw-3"]
LOSSY = ["sliced-affine-0", "sliced-affine-1", "sliced-affine-2"]


@pytest.fixture(scope="module")
def sliced() -> Bundle:
    return sliced_bundle()


@pytest.fixture
async def edge(sliced: Bundle) -> AsyncIterator[EdgeServer]:
    server = EdgeServer(sliced, Settings(port=0, grace=2.0))
    await server.start()
    yield server
    await server.stop()


async def uncut(bundle: Bundle, image: Array) -> Array:
    async with Client(bundle=bundle, mode="device") as client:
        return (await client.infer(image)).outputs[0]


async def test_what_is_sent_without_loss_gives_the_uncut_models_answer(edge: EdgeServer, sliced: Bundle) -> None:
    async with Client(edge.url, sliced, times=QUICK, mode="edge") as client:
        for seed, point in enumerate(EXACT * 2):
            result = await client.infer(noise(seed), point=point)
            assert (result.source, result.point.id, result.fallback) == ("edge", point, None)
            np.testing.assert_allclose(result.outputs[0], await uncut(sliced, noise(seed)), atol=1e-4)
            timing = result.timing
            assert (timing.head > 0) == (point != "sliced-raw-3")
            assert timing.encode > 0
            # Slices overlap with the way, so that only what follows the last one counts as network and server.
            parts = timing.prepare + timing.head + timing.encode + timing.network + timing.queue
            assert parts + timing.decode + timing.tail <= timing.total + 1e-6
        assert client.counters.edge == 6


@pytest.mark.parametrize("point", LOSSY)
async def test_codecs_work_on_slices(edge: EdgeServer, sliced: Bundle, point: str) -> None:
    async with Client(edge.url, sliced, times=QUICK, mode="edge") as client:
        result = await client.infer(noise(1), point=point)
    assert result.source == "edge"
    assert np.abs(result.outputs[0] - await uncut(sliced, noise(1))).max() < 40


async def test_over_a_link_to_another_process(sliced: Bundle, tmp_path: Path) -> None:
    sliced.save(tmp_path / "sliced.cutpoint")
    async with (
        ServerProcess(tmp_path / "sliced.cutpoint") as process,
        LinkEmulator(process.url, Trace.constant(20e6), delay=0.001) as link,
        Client(link.url, times=QUICK, mode="edge", cache=tmp_path) as client,
    ):
        for point in EXACT:
            result = await client.infer(noise(2), point=point)
            assert (result.source, result.point.id) == ("edge", point)
            np.testing.assert_allclose(result.outputs[0], await uncut(sliced, noise(2)), atol=1e-4)
            assert [hop.total_ms > 0 for hop in result.hops] == [True]


async def test_who_does_not_know_of_slices_is_not_asked_for_them(
    sliced: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cutpoint.server.connection.EXTENSIONS", (TIERS, TRACE))
    server = EdgeServer(sliced, Settings(port=0, grace=2.0))
    await server.start()
    point = sliced.points[sliced.point_number("sliced-raw-1")]
    try:
        policy = StaticPolicy(point, sliced.points[0])
        async with Client(server.url, sliced, policy=policy, times=QUICK) as client:
            assert not client.conditions.slices
            assert (await client.infer(noise(1))).point.id == "cut2-fp32"
        async with Client(server.url, sliced, times=QUICK, mode="edge") as client:
            assert (await client.infer(noise(1))).point.slicing is None
            with pytest.raises(LocalProtocolError, match="does not know of slices"):
                await client.infer(noise(1), point="sliced-raw-1")
    finally:
        await server.stop()


async def test_a_link_that_is_too_slow_leaves_the_device_to_answer(edge: EdgeServer, sliced: Bundle) -> None:
    async with (
        LinkEmulator(edge.url, Trace.constant(2e3), delay=0.001) as link,
        Client(link.url, sliced, times=QUICK, objective=Objective(deadline=0.3)) as client,
    ):
        result = await client.infer(noise(1), point="sliced-raw-1")
        np.testing.assert_allclose(result.outputs[0], await uncut(sliced, noise(1)), atol=1e-4)
        assert (result.source, result.hedged) == ("device", True)
        assert not client.conditions.device_queue_ms


async def test_a_link_that_breaks_midway_leaves_the_device_to_answer(edge: EdgeServer, sliced: Bundle) -> None:
    async with (
        LinkEmulator(edge.url, Trace.constant(4e3), delay=0.001) as link,
        Client(link.url, sliced, times=QUICK, objective=Objective(deadline=60.0)) as client,
    ):
        before = link.sent
        asking = asyncio.create_task(client.infer(noise(1), point="sliced-raw-0"))
        await until(lambda: link.sent > before)
        link.cut()
        result = await asking
        assert result.source == "device"
        await until(lambda: not any(connection._tasks for connection in connections(edge)))


def connections(edge: EdgeServer) -> list[ClientConnection]:
    return [holder for model in edge.models for holder in model.connections if isinstance(holder, ClientConnection)]


class Speaker:
    """Speaks the protocol, and no more."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, bundle: Bundle) -> None:
        self._socket = socket
        self._connection = Connection(Role.CLIENT, 1 << 20)
        self.bundle = bundle

    async def say(self, event: Event) -> None:
        for frame in self._connection.send(event):
            await self._socket.send_bytes(frame)

    async def hear(self) -> Event | None:
        async with asyncio.timeout(20):
            return self._connection.receive(await self._socket.receive_bytes(), 0.0)

    async def ask(self, request_id: int, budget: float = 0.0) -> list[Part]:
        """Sends the first part of a request; gives the others."""
        number = self.bundle.point_number("sliced-raw-1")
        head = Head(BundleGraphs(self.bundle, [create_runtime()]))
        parts = [output.payload or b"" for output in head.run_parts(self.bundle.points[number], head.zeros())]
        await self.say(Request(request_id, number, parts[0], budget, sliced=True))
        return [Part(request_id, i, len(parts), part) for i, part in enumerate(parts) if i]


@asynccontextmanager
async def speaker(edge: EdgeServer, bundle: Bundle) -> AsyncIterator[Speaker]:
    async with aiohttp.ClientSession() as session, session.ws_connect(edge.url, protocols=[SUBPROTOCOL]) as socket:
        speaker = Speaker(socket, bundle)
        await speaker.say(Hello((VERSION,), bundle.hash, extensions=EXTENSIONS))
        assert isinstance(await speaker.hear(), Welcome)
        yield speaker


async def test_who_leaves_midway_leaves_nothing_behind(edge: EdgeServer, sliced: Bundle) -> None:
    async with speaker(edge, sliced) as first:
        await first.ask(1)
        await until(lambda: any(connection._tasks for connection in connections(edge)))
    await until(lambda: not connections(edge))
    async with speaker(edge, sliced) as second:
        for part in await second.ask(1):
            await second.say(part)
        assert isinstance(await second.hear(), Result)


async def test_cancelled_midway(edge: EdgeServer, sliced: Bundle) -> None:
    async with speaker(edge, sliced) as client:
        await client.ask(1)
        await client.say(Cancel(1))
        answer = await client.hear()
        assert isinstance(answer, Error)
        assert (answer.request_id, answer.code) == (1, "cancelled")
        await until(lambda: not any(connection._tasks for connection in connections(edge)))


async def test_parts_that_come_too_late(edge: EdgeServer, sliced: Bundle) -> None:
    async with speaker(edge, sliced) as client:
        late = await client.ask(1, budget=0.05)
        answer = await client.hear()
        assert isinstance(answer, Error)
        assert answer.code == "deadline_exceeded"
        # Neither side takes more of it; the connection goes on.
        with pytest.raises(LocalProtocolError):
            await client.say(late[0])
        for part in await client.ask(2):
            await client.say(part)
        assert isinstance(await client.hear(), Result)


@pytest.mark.parametrize(("payload", "code"), [(b"x" * 3, "bad_payload"), (b"x" * 10**4, "too_large")])
async def test_a_part_that_is_none_costs_the_request_alone(
    edge: EdgeServer, sliced: Bundle, payload: bytes, code: str
) -> None:
    async with speaker(edge, sliced) as client:
        await client.ask(1)
        await client.say(Part(1, 1, 3, payload))
        answer = await client.hear()
        assert isinstance(answer, Error)
        assert (answer.request_id, answer.code) == (1, code)
        for part in await client.ask(2):
            await client.say(part)
        assert isinstance(answer := await client.hear(), Result)
        assert len(answer.arrivals) == 3
