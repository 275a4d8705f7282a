"""A real client whose device asks an exit before it sends anything to a real server."""

from collections.abc import AsyncIterator

import numpy as np
import pytest
from tests.support.exits import EXIT, exit_bundle
from tests.support.toy import noise, picture

from cutpoint.sdk import Bundle, Client, InputError, Objective, StaticPolicy
from cutpoint.server import EdgeServer, Settings

from .conftest import QUICK

REMOTE, DELTA, LOCAL = "cut1-fp32-raw-exact-exit1", "cut1-fp32-delta-fine-exit1", "cut2-fp32-exit1"


@pytest.fixture(scope="module")
def exits() -> Bundle:
    return exit_bundle()


@pytest.fixture
async def edge(exits: Bundle) -> AsyncIterator[EdgeServer]:
    server = EdgeServer(exits, Settings(port=0, grace=2.0))
    await server.start()
    yield server
    await server.stop()


async def test_what_is_easy_is_answered_without_a_byte(edge: EdgeServer, exits: Bundle) -> None:
    async with Client(edge.url, exits, times=QUICK) as client:
        for label in range(3):
            result = await client.infer(picture(label, 5), point=REMOTE)
            assert (result.source, result.exit, result.bytes_sent, result.fallback) == ("device", EXIT, 0, None)
            assert result.plan.point.exit == EXIT
            assert result.point.id == REMOTE
            assert int(result.outputs[0].argmax()) == label
            assert result.timing.network == result.timing.encode == 0
        assert (client.counters.exits, client.counters.device, client.counters.edge) == (3, 3, 0)


async def test_what_is_not_goes_to_the_server(edge: EdgeServer, exits: Bundle) -> None:
    async with Client(edge.url, exits, times=QUICK) as client, Client(bundle=exits, mode="device") as alone:
        for seed in range(3):
            result = await client.infer(noise(seed), point=REMOTE)
            assert (result.source, result.exit) == ("edge", None)
            assert result.plan.point.exit == EXIT
            assert result.bytes_sent > 0
            reference = (await alone.infer(noise(seed), point="cut2-fp32")).outputs[0]
            np.testing.assert_allclose(result.outputs[0], reference, atol=1e-4)
        assert (client.counters.exits, client.counters.edge) == (0, 3)


async def test_a_device_alone_asks_its_exit_too(exits: Bundle) -> None:
    async with Client(bundle=exits, mode="device") as client:
        easy, hard = [await client.infer(data, point=LOCAL) for data in (picture(1, 2), noise(2))]
    assert (easy.exit, hard.exit) == (EXIT, None)
    assert (easy.source, hard.source) == ("device", "device")


async def test_with_a_deadline_and_a_dead_link_the_device_answers_all(exits: Bundle) -> None:
    server = EdgeServer(exits, Settings(port=0))
    await server.start()
    point, local = (exits.points[exits.point_number(name)] for name in (REMOTE, "cut2-fp32"))
    async with Client(
        server.url, exits, times=QUICK, objective=Objective(deadline=2.0), policy=StaticPolicy(point, local)
    ) as client:
        assert (await client.infer(picture(0, 1))).exit == EXIT
        await server.stop()
        results = [await client.infer(data) for data in (noise(1), picture(0, 1), noise(2))]
    assert all(result.source == "device" for result in results)
    assert all(result.outputs[0].shape == (1, 3) for result in results)


async def test_a_stream_keeps_its_order_and_its_references(edge: EdgeServer, exits: Bundle) -> None:
    point, local = (exits.points[exits.point_number(name)] for name in (DELTA, "cut2-fp32"))
    frames = [noise(1), noise(1), picture(0, 1), picture(1, 1), noise(1), picture(2, 1), noise(1)]
    async with Client(edge.url, exits, times=QUICK, policy=StaticPolicy(point, local)) as client:
        results = [result async for result in client.stream(frames, in_flight=1)]
    assert [result.frame for result in results] == list(range(len(frames)))
    assert [result.exit is not None for result in results] == [False, False, True, True, False, True, False]
    sent = [result.bytes_sent for result in results if result.exit is None]
    # The picture in between was never sent, so that the one before it is still known to the server.
    assert max(sent[1:]) < sent[0]


async def test_who_insists_on_the_server_asks_no_exit(edge: EdgeServer, exits: Bundle) -> None:
    async with Client(edge.url, exits, times=QUICK, mode="edge") as client:
        result = await client.infer(picture(0, 1))
        assert (result.source, result.exit) == ("edge", None)
        with pytest.raises(InputError, match="does not go with mode 'edge'"):
            await client.infer(picture(0, 1), point=REMOTE)


async def test_a_device_part_from_the_server_has_the_exit(edge: EdgeServer) -> None:
    async with Client(edge.url, times=QUICK) as client:
        assert (await client.infer(picture(1, 3), point=REMOTE)).exit == EXIT
