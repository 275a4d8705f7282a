"""Several models and versions at once, exchanged while requests run: a real server, real sessions, real sockets."""

import asyncio
import logging
from pathlib import Path

import pytest
from tests.support.toy import picture, toy_bundle
from tests.support.waiting import until

from cutpoint.sdk import Bundle, BundleMismatch, Client, InputError
from cutpoint.server import EdgeServer, Settings
from cutpoint.server.folder import ModelFolder

from .conftest import QUICK

POINT = "cut1-fp32-affine-fine"


@pytest.fixture(scope="module")
def versions() -> list[Bundle]:
    return [toy_bundle(version=number) for number in range(3)]


async def ask(client: Client, label: int = 1) -> None:
    result = await client.infer(picture(label, label), point=POINT)
    assert result.source == "edge", result.fallback
    assert int(result.outputs[0].argmax()) == label


async def test_several_bundles_at_once(versions: list[Bundle]) -> None:
    other = toy_bundle("other")
    server = EdgeServer([*versions[:2], other], Settings(port=0))
    await server.start()
    try:
        assert server.models.names() == ("toy", "other")
        clients = [Client(server.url, bundle, mode="edge", times=QUICK) for bundle in (*versions[:2], other)]
        for client, outdated in zip(clients, (True, False, False), strict=True):
            async with client:
                await ask(client)
                assert client._link is not None
                assert client._link.server.outdated is outdated
    finally:
        await server.stop()


async def test_a_bundle_that_is_not_served_is_named(server: EdgeServer, versions: list[Bundle]) -> None:
    with pytest.raises(BundleMismatch, match=f"the server toy {server.models.get(toy_bundle().hash).hash[:12]}"):  # type: ignore[union-attr]
        async with Client(server.url, versions[1], mode="edge", times=QUICK):
            pass


async def look_twice(server: EdgeServer) -> None:
    """What changed once is taken up when it looks the same again."""
    assert server._folder is not None
    await server._folder.update()
    await server._folder.update()


async def test_a_folder_is_followed(versions: list[Bundle], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    versions[0].save(tmp_path / "toy.cutpoint")
    server = EdgeServer([], Settings(port=0, models=tmp_path, models_interval=3600, model_grace=3600))
    await server.start()
    try:
        assert [model.hash for model in server.models] == [versions[0].hash]
        async with Client(server.url, versions[0], mode="edge", times=QUICK) as old:
            await ask(old)
            # another model, as a folder
            other = toy_bundle("other")
            other.save(tmp_path / "other")
            await look_twice(server)
            assert server.models.names() == ("toy", "other")
            # a new version of the first
            versions[1].save(tmp_path / "toy.cutpoint", overwrite=True)
            await look_twice(server)
            assert server.models.current("toy").hash == versions[1].hash  # type: ignore[union-attr]
            await ask(old)
            assert old._link is not None
            assert old._link.server.outdated
            async with Client(server.url, versions[1], mode="edge", times=QUICK) as new:
                await ask(new)
                assert new._link is not None
                assert not new._link.server.outdated
            # one that is damaged leaves it in place, and is named once
            (tmp_path / "toy.cutpoint").write_bytes(versions[2].to_bytes()[:-100])
            with caplog.at_level(logging.ERROR):
                for _ in range(3):
                    await look_twice(server)
            (said,) = caplog.messages
            assert said.startswith("toy.cutpoint is not served: not a readable .cutpoint file")
            assert server.models.current("toy").hash == versions[1].hash  # type: ignore[union-attr]
            # gone
            (tmp_path / "toy.cutpoint").unlink()
            await look_twice(server)
            assert server.models.names() == ("other",)
            await ask(old)
            # and back
            versions[0].save(tmp_path / "again.cutpoint")
            await look_twice(server)
            assert server.models.current("toy").hash == versions[0].hash  # type: ignore[union-attr]
            await ask(old)
            assert not old._link.server.outdated
    finally:
        await server.stop()


async def test_nothing_is_read_while_it_is_being_copied(versions: list[Bundle], tmp_path: Path) -> None:
    server = EdgeServer(versions[0], Settings(port=0, models=tmp_path, models_interval=3600))
    await server.start()
    try:
        assert server._folder is not None
        data = versions[1].to_bytes()
        for size in (10, 1000, len(data)):
            (tmp_path / "toy.cutpoint").write_bytes(data[:size])
            await server._folder.update()
            assert len(list(server.models)) == 1
        await server._folder.update()
        assert server.models.current("toy").hash == versions[1].hash  # type: ignore[union-attr]
    finally:
        await server.stop()


async def test_the_grace_of_an_old_version_ends(versions: list[Bundle], tmp_path: Path) -> None:
    versions[0].save(tmp_path / "toy.cutpoint")
    server = EdgeServer([], Settings(port=0, models=tmp_path, models_interval=3600, model_grace=0.02))
    await server.start()
    try:
        async with Client(server.url, versions[0], mode="auto", times=QUICK) as client:
            await ask(client)
            asking = [asyncio.create_task(client.infer(picture(i % 3, i), point=POINT)) for i in range(20)]
            versions[1].save(tmp_path / "toy.cutpoint", overwrite=True)
            await look_twice(server)
            for i, result in enumerate(await asyncio.gather(*asking)):
                assert int(result.outputs[0].argmax()) == i % 3
            await until(lambda: isinstance(client.refusal, BundleMismatch))
            assert (await client.infer(picture(1), point=POINT)).source == "device"
            await until(lambda: not server.models._leaving)
            assert [model.hash for model in server.models] == [versions[1].hash]
            assert list(server.models._engine._tails) == [versions[1].hash]  # type: ignore[attr-defined]
    finally:
        await server.stop()


async def test_limits_of_a_model(versions: list[Bundle], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    versions[0].save(tmp_path / "toy.cutpoint")
    limits = tmp_path / "models.toml"
    limits.write_text("[toy]\nmax_in_flight = 2\nweight = 3\n")
    server = EdgeServer([], Settings(port=0, models=tmp_path, models_interval=3600))
    await server.start()
    try:
        async with Client(server.url, versions[0], mode="edge", times=QUICK) as client:
            await asyncio.gather(*(ask(client, i % 3) for i in range(10)))
            assert client._link is not None
            assert client._link._connection is not None
            assert client._link._connection.limits.in_flight == 2
        model = server.models.current("toy")
        assert model is not None
        assert model.limits.weight == 3
        limits.write_text("[toy]\nmax_in_fight = 2\n")
        await look_twice(server)
        assert "max_in_fight" in caplog.text
        assert model.limits.max_in_flight == 2
        limits.unlink()
        await look_twice(server)
        assert model.limits.max_in_flight is None
    finally:
        await server.stop()


async def test_not_ready_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a folder"):
        ModelFolder(tmp_path / "none", EdgeServer([], Settings(port=0)).models)
    server = EdgeServer([], Settings(port=0, models=tmp_path, models_interval=0.01))
    await server.start()
    try:
        from .test_app import get

        assert (await get(server.url, "/readyz"))[:2] == (503, b"there is no model yet\n")
        toy_bundle().save(tmp_path / "toy.cutpoint")
        await until(lambda: server.models.names())
        assert (await get(server.url, "/readyz"))[0] == 200
    finally:
        await server.stop()
