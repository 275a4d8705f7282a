"""Real clients send slices to real servers while they compute them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from tests.support.slices import sliced_bundle
from tests.support.toy import noise

from cutpoint.codecs import Array
from cutpoint.sdk import Bundle, Client, LocalProtocolError, Objective, StaticPolicy
from cutpoint.sdk.protocol import TIERS, TRACE
from cutpoint.sdk.testing import LinkEmulator, ServerProcess, Trace
from cutpoint.server import EdgeServer, Settings

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


async def test_a_server_that_goes_away_midway_leaves_the_device_to_answer(edge: EdgeServer, sliced: Bundle) -> None:
    async with (
        LinkEmulator(edge.url, Trace.constant(50e3), delay=0.001) as link,
        Client(link.url, sliced, times=QUICK, objective=Objective(deadline=0.4), slowdown=20.0) as client,
    ):
        result = await client.infer(noise(1), point="sliced-raw-1")
        assert result.outputs[0].shape == (1, 3)
        assert result.source == "device"
        assert result.hedged or result.fallback is not None
