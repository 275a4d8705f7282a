from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
from tests.support.waiting import until

from cutpoint.sdk import Bundle, LinkError, UnknownPoint
from cutpoint.server import EdgeServer, Settings
from cutpoint.server.nodes.peer import Peer
from cutpoint.server.nodes.roster import Member


@pytest.fixture
async def node(bundle: Bundle) -> AsyncIterator[EdgeServer]:
    server = EdgeServer(bundle, Settings(port=0, grace=2.0, spans=True))
    await server.start()
    yield server
    await server.stop()


@asynccontextmanager
async def following(server: EdgeServer, own: str = "me") -> AsyncIterator[tuple[Peer, list[Member | None]]]:
    """A peer that follows `server`, and what it has told."""
    told: list[Member | None] = []
    peer = Peer(
        server.url,
        server.models,
        own,
        None,
        None,
        time.monotonic,
        random.Random(0),
        lambda _, member: told.append(member),
    )
    task = asyncio.create_task(peer.follow())
    try:
        yield peer, told
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_node_is_found_and_asked(node: EdgeServer, bundle: Bundle) -> None:
    number = bundle.point_number("cut0-raw-exact")
    payload = np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes()
    async with following(node) as (peer, told):
        await until(lambda: told and told[-1] is not None)
        member = told[-1]
        assert member is not None
        assert bundle.hash in member.report.models
        assert 0 < member.there.delay < 0.5
        assert member.there.pace > 0
        assert peer.wait(bundle.hash) >= 0
        part = await peer.request(bundle.hash, number, payload, 0.0, 0.001, 1)
        assert [output.shape for output in part.outputs] == [(1, 8, 4, 4)]
        whole = await peer.request(bundle.hash, number, payload, 0.0, 0.001, 0)
        assert [output.shape for output in whole.outputs] == [(1, 3)]
        with pytest.raises(UnknownPoint):
            await peer.request(bundle.hash, number, payload, 0.0, 0.001, 7)
        with pytest.raises(LinkError, match="does not serve"):
            await peer.request("0" * 64, number, payload, 0.0, 0.001, 0)
        assert peer.wait("0" * 64) == float("inf")


async def test_one_that_goes_is_told_of(bundle: Bundle) -> None:
    server = EdgeServer(bundle, Settings(port=0, grace=0.1))
    await server.start()
    async with following(server) as (_, told):
        await until(lambda: told and told[-1] is not None)
        await server.stop()
        await until(lambda: told[-1] is None)


async def test_oneself_is_no_peer(node: EdgeServer) -> None:
    async with following(node, node._reporter.id) as (_, told):
        await until(lambda: len(told) > 1)
        assert set(told) == {None}
