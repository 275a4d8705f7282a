from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import msgspec
import pytest
from tests.support.toy import picture, toy_bundle
from tests.support.waiting import until

from cutpoint.sdk import Bundle, Client
from cutpoint.server import EdgeServer, Settings
from cutpoint.server.nodes.report import NodeReport

from .conftest import QUICK


@pytest.fixture
async def spans(bundle: Bundle) -> AsyncIterator[EdgeServer]:
    """A server that holds all spans."""
    server = EdgeServer(bundle, Settings(port=0, grace=2.0, spans=True, threads=2))
    await server.start()
    yield server
    await server.stop()


async def report(server: EdgeServer) -> NodeReport:
    url = f"http{server.url.removeprefix('ws')}/v1/node"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.status == 200
        return msgspec.json.decode(await response.read(), type=NodeReport)


async def test_a_node_says_what_it_is(spans: EdgeServer, bundle: Bundle) -> None:
    told = await report(spans)
    assert told.cpu > 0
    assert 0 <= told.load <= 1
    assert told.workers == 2
    assert not told.draining
    found = {(span.start, span.end, span.precision) for span in told.models[bundle.hash]}
    assert found == {(0, 1, "fp32"), (0, 2, "fp32"), (1, 2, "fp32")}
    assert all(span.seconds > 0 for span in told.models[bundle.hash])
    assert (await report(spans)).id == told.id


async def test_spans_between_cuts_are_known_only_where_they_are_loaded(server: EdgeServer, bundle: Bundle) -> None:
    assert {(span.start, span.end) for span in (await report(server)).models[bundle.hash]} == {(0, 2), (1, 2)}


async def test_work_tells_how_fast_it_is() -> None:
    slow = toy_bundle("work", tail_repeats=3)
    server = EdgeServer(slow, Settings(port=0, grace=2.0))
    await server.start()
    try:

        async def seconds() -> float:
            spans = (await report(server)).models[slow.hash]
            return next(span.seconds for span in spans if span.start == 1)

        before = await seconds()
        async with Client(server.url, slow, mode="edge", times=QUICK) as client:
            for _ in range(20):
                await client.infer(picture(0, 1), point="cut1-fp32-raw-exact")
        # Calibration says 0.1 ms; the tail was made to take much longer.
        assert await seconds() > 5 * before
    finally:
        await server.stop()


async def test_an_idle_node_tries_itself(spans: EdgeServer) -> None:
    scheduler = spans._scheduler
    tried: list[int] = []
    finished = scheduler._finished
    scheduler.tell(lambda key, seconds, size: (tried.append(size), finished(key, seconds, size))[1])
    await report(spans)
    await until(lambda: tried)
    await report(spans)
    assert len(tried) == 1, "it has just done so"
