"""What a client learns of a server's speed, at real servers."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from tests.support.toy import picture, toy_bundle
from tests.support.waiting import until

from cutpoint.sdk import Backoff, Bundle, Client, LinkTimes, Objective
from cutpoint.sdk.testing import LinkEmulator, ServerProcess, Trace

POINT = "cut1-fp32-affine-fine"
QUICK = LinkTimes(backoff=Backoff(0.01, 0.1))


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """Its tail takes hundreds of milliseconds, and is believed to take one."""
    slow = toy_bundle("slow", tail_repeats=200)
    points = []
    for point in slow.manifest.points:
        tail_ms = 0.0 if point.local else 1.0
        points.append(msgspec.structs.replace(point, measured=msgspec.structs.replace(point.measured, tail_ms=tail_ms)))
    files = {entry.path: (entry.part, slow.read(entry.path)) for entry in slow.manifest.files}
    return Bundle.create(msgspec.structs.replace(slow.manifest, points=tuple(points), files=()), files)


@pytest.fixture
async def link(bundle: Bundle, tmp_path: Path) -> AsyncIterator[LinkEmulator]:
    bundle.save(tmp_path / "slow.cutpoint")
    async with (
        ServerProcess(tmp_path / "slow.cutpoint", "--threads", "1") as server,
        LinkEmulator(server.url, Trace.constant(1e8)) as link,
    ):
        yield link


@pytest.fixture
async def client(bundle: Bundle, link: LinkEmulator) -> AsyncIterator[Client]:
    objective = Objective(patience=1.0)
    async with Client(link.url, bundle, objective=objective, slowdown=30.0, times=QUICK) as client:
        yield client


async def test_an_outage_says_nothing_of_the_server(client: Client, link: LinkEmulator) -> None:
    said = client.conditions.server_scale
    link.hold(2.0)
    assert (await client.infer(picture(1), point=POINT)).source == "device"
    assert client._link is not None
    unfinished = client._link._answers.unfinished
    assert unfinished
    await until(lambda: not unfinished)
    assert client.connected
    assert client.conditions.server_scale == said


async def test_what_the_server_says_of_itself_counts_until_it_answers(client: Client) -> None:
    assert client._link is not None
    await until(lambda: client.connected)
    said = client.conditions.server_scale
    assert said == client._link.scale > 10
    edge = client._in_use.edge
    assert edge is not None
    edge._learn(took_ms=2 * said, expected_ms=1.0)
    assert client.conditions.server_scale == pytest.approx(1.3 * said)
    edge.unused()
    assert client.conditions.server_scale == pytest.approx(1.3 * said)


async def test_a_server_that_the_device_always_outruns_is_found_out(client: Client) -> None:
    assert client._link is not None
    await until(lambda: client.connected)
    client._link.scale = 1.0  # as if it had become slow since
    unfinished = client._link._answers.unfinished
    for number in range(6):
        result = await client.infer(picture(number % 3, number), point=POINT)
        assert (result.source, result.hedged) == ("device", True)
        # The confirmation that it was not done is on its way.
        await until(lambda: not unfinished)
    found = client.conditions.server_scale
    assert found > 3
    # Without news it is tried again some time.
    edge = client._in_use.edge
    assert edge is not None
    for _ in range(50):
        edge.unused()
    assert 1 < client.conditions.server_scale < 0.5 * found
