"""Newer versions of a client's bundle: a real server, real downloads, real graphs."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from tests.support.toy import moody_head, picture, toy_bundle
from tests.support.waiting import until

from cutpoint.sdk import Bundle, BundleError, Client, GraphError, InputError, LinkError, StaticPolicy
from cutpoint.sdk.bundle import Selection
from cutpoint.sdk.download import BundleOffer, Downloads
from cutpoint.server import EdgeServer, Settings

from .conftest import QUICK

POINT = "cut1-fp32-affine-fine"
OLD, NEW = toy_bundle(version=0), toy_bundle(version=1)


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    path = tmp_path / "models"
    path.mkdir()
    OLD.save(path / "toy.cutpoint")
    return path


@pytest.fixture
async def server(folder: Path) -> AsyncIterator[EdgeServer]:
    server = EdgeServer([], Settings(port=0, models=folder, models_interval=3600, grace=2.0))
    await server.start()
    yield server
    await server.stop()


async def replace(server: EdgeServer, folder: Path, bundle: Bundle) -> None:
    bundle.save(folder / "toy.cutpoint", overwrite=True)
    assert server._folder is not None
    await server._folder.update(settled=True)
    assert server.models.get(bundle.hash) is not None


def updating(server: EdgeServer, tmp_path: Path) -> Client:
    return Client(server.url, OLD, times=QUICK, update=True, cache=tmp_path / "cache")


async def ask(client: Client, label: int = 1) -> None:
    result = await client.infer(picture(label, label), point=POINT)
    assert result.fallback is None
    assert int(result.outputs[0].argmax()) == label


async def test_goes_over_between_requests_and_lets_the_old_one_go(
    server: EdgeServer, folder: Path, tmp_path: Path
) -> None:
    async with updating(server, tmp_path) as client:
        await ask(client)
        await replace(server, folder, NEW)
        old = client._in_use
        while client.bundle.hash != NEW.hash:
            await ask(client)
        await asyncio.gather(*(ask(client, i % 3) for i in range(5)))
        await until(lambda: old.link is not None and not old.link.up)
        assert not client.rejected
        assert [path.name for path in (tmp_path / "cache").iterdir()] == [f"{NEW.hash}.onnx.cutpoint"]
        model = server.models.get(OLD.hash)
        assert model is not None
        await until(lambda: not model.connections)


async def test_a_client_whose_bundle_is_gone_is_brought_up_to_date(tmp_path: Path) -> None:
    server = EdgeServer(NEW, Settings(port=0))
    await server.start()
    try:
        async with updating(server, tmp_path) as client:
            await until(lambda: client.bundle.hash == NEW.hash)
            await ask(client)
    finally:
        await server.stop()


@pytest.mark.parametrize("fault", ["no graph", "moody"])
async def test_rolls_back_from_what_does_not_work_and_does_not_try_it_again(
    server: EdgeServer, folder: Path, tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    head = b"no graph" if fault == "no graph" else moody_head()
    bad = toy_bundle(version=1, head=head)
    async with updating(server, tmp_path) as client:
        await replace(server, folder, bad)
        while not client.rejected:
            await ask(client)
        assert list(client.rejected) == [bad.hash]
        assert isinstance(client.rejected[bad.hash], GraphError)
        assert client.bundle.hash == OLD.hash
        assert "is not tried again" in caplog.text
        await asyncio.gather(*(ask(client, i % 3) for i in range(5)))
        # The next one is good.
        await replace(server, folder, NEW)
        while client.bundle.hash != NEW.hash:
            await ask(client)


async def test_what_is_not_the_announced_bundle_is_rejected(server: EdgeServer, folder: Path, tmp_path: Path) -> None:
    async with updating(server, tmp_path) as client:
        await replace(server, folder, NEW)
        model = server.models.get(NEW.hash)
        assert model is not None
        model._device_parts[Selection(("onnx",))] = toy_bundle("other").part("device").to_bytes()
        while not client.rejected:
            await ask(client)
        assert isinstance(client.rejected[NEW.hash], BundleError)
        await ask(client)


async def test_a_policy_of_ones_own_cannot_be_carried_over() -> None:
    policy = StaticPolicy(OLD.points[0], OLD.points[0])
    with pytest.raises(InputError, match="a policy belongs to a bundle"):
        Client("ws://127.0.0.1:9", OLD, policy=policy, update=True)


class Faltering:
    """A server that ends each download after so many bytes, and knows what it was asked for."""

    def __init__(self, data: bytes, pieces: int, part: Path) -> None:
        self.data = data
        self._part = part
        self.ranges: list[str] = []
        self._piece = -(-len(data) // pieces)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        asked = request.headers.get("Range", "bytes=0-")
        self.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        response = web.StreamResponse(status=206 if start else 200)
        response.content_length = len(self.data) - start
        await response.prepare(request)
        await response.write(self.data[start : start + self._piece])
        if start + self._piece < len(self.data):
            await until(lambda: self._part.exists() and self._part.stat().st_size == start + self._piece)
            assert request.transport is not None
            request.transport.close()
        return response


async def test_downloads_go_on_where_they_were_cut_off(tmp_path: Path) -> None:
    data = NEW.part("device").to_bytes()
    server = Faltering(data, 3, tmp_path / f".{NEW.hash}.part")
    app = web.Application()
    app.router.add_get("/v1/bundle/{hash}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        downloads = Downloads(f"ws://127.0.0.1:{runner.addresses[0][1]}", cache=tmp_path)
        offer = BundleOffer(NEW.hash, "toy", len(data))
        for _ in range(2):
            with pytest.raises(LinkError):
                await downloads.fetch(offer)
        assert (await downloads.fetch(offer)).hash == NEW.hash
        assert server.ranges[0] == "bytes=0-"
        assert len(set(server.ranges)) == 3
        assert [path.name for path in tmp_path.iterdir()] == [f"{NEW.hash}.cutpoint"]
        # A part that belongs to something else is noticed, dropped, and fetched from the start.
        (tmp_path / f"{NEW.hash}.cutpoint").unlink()
        (tmp_path / f".{NEW.hash}.part").write_bytes(bytes(len(data)))
        with pytest.raises(BundleError):
            await downloads.fetch(offer)
        assert list(tmp_path.iterdir()) == []
    finally:
        await runner.cleanup()


async def test_an_offer_that_is_known_is_not_sent_again(server: EdgeServer, tmp_path: Path) -> None:
    downloads = Downloads(server.url, cache=tmp_path)
    assert await downloads.offer("toy", known=OLD.hash) is None
    assert await downloads.offer("toy", known=NEW.hash) is not None
    with pytest.raises(LinkError, match="404 Not Found: this server does not hold that model"):
        await downloads.latest("none")
    assert (await downloads.latest()).hash == OLD.hash
    async with aiohttp.ClientSession() as session, session.get(server.url.replace("ws", "http") + "/v1/bundle") as got:
        assert got.status == 200
