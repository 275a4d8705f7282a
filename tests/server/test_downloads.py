"""Device parts over HTTP: by hash, in ranges, never twice."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from tests.support.toy import toy_bundle

from cutpoint.sdk import Bundle
from cutpoint.server import EdgeServer, Settings


@pytest.fixture
async def session(server: EdgeServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(server.url.replace("ws", "http", 1)) as session:
        yield session


@pytest.fixture(scope="module")
def whole() -> bytes:
    return toy_bundle().part("device").to_bytes()


async def test_offers_and_parts_have_tags(session: aiohttp.ClientSession, bundle: Bundle, whole: bytes) -> None:
    for path in ("/v1/bundle", f"/v1/bundle/{bundle.hash}"):
        async with session.get(path) as response:
            assert response.status == 200
            assert response.headers["ETag"] == f'"{bundle.hash}"'
        for tag, status in ((f'"{bundle.hash}"', 304), ('"other"', 200), ("*", 304)):
            async with session.get(path, headers={"If-None-Match": tag}) as response:
                assert response.status == status
                assert bool(await response.read()) == (status == 200)
    async with session.get(f"/v1/bundle/{bundle.hash}") as response:
        assert await response.read() == whole
        assert response.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(
    ("asked", "first", "last"), [("bytes=0-9", 0, 9), ("bytes=100-", 100, None), ("bytes=-7", -7, None)]
)
async def test_ranges(
    session: aiohttp.ClientSession, bundle: Bundle, whole: bytes, asked: str, first: int, last: int | None
) -> None:
    async with session.get(f"/v1/bundle/{bundle.hash}", headers={"Range": asked}) as response:
        assert response.status == 206
        part = await response.read()
        start = first % len(whole)
        assert part == whole[start : last + 1 if last is not None else None]
        assert response.headers["Content-Range"] == f"bytes {start}-{start + len(part) - 1}/{len(whole)}"


async def test_ranges_that_make_no_sense(session: aiohttp.ClientSession, bundle: Bundle, whole: bytes) -> None:
    for asked, status in (("bytes=99999999-", 416), ("bytes=0-1,5-6", 200), ("lines=1-2", 200), ("bytes=9-2", 200)):
        async with session.get(f"/v1/bundle/{bundle.hash}", headers={"Range": asked}) as response:
            assert response.status == status, asked
            if status == 416:
                assert response.headers["Content-Range"] == f"bytes */{len(whole)}"
            else:
                assert await response.read() == whole


async def test_which_model_is_offered() -> None:
    other = toy_bundle("other")
    server = EdgeServer([toy_bundle(), other], Settings(port=0))
    await server.start()
    try:
        async with aiohttp.ClientSession(server.url.replace("ws", "http", 1)) as session:
            for path, status, said in (
                ("/v1/bundle", 400, "toy, other"),
                ("/v1/bundle?model=other", 200, other.hash),
                ("/v1/bundle?model=none", 404, "holds toy, other"),
                (f"/v1/bundle/{'0' * 64}", 404, "does not hold that bundle"),
            ):
                async with session.get(path) as response:
                    assert response.status == status
                    assert said in await response.text()
    finally:
        await server.stop()
