"""Against a real aiohttp server."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from cutpoint.sdk.errors import LinkError
from cutpoint.sdk.protocol import SUBPROTOCOL
from cutpoint.sdk.websocket import WebSocket


async def _echo(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(protocols=(SUBPROTOCOL,))
    await ws.prepare(request)
    async for message in ws:
        if message.data == b"close":
            break
        await (ws.send_str if isinstance(message.data, str) else ws.send_bytes)(message.data)
    await ws.close()
    return ws


@pytest.fixture
async def url() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/", _echo)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"ws://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


async def test_messages_go_both_ways_until_the_server_closes(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        ws = await WebSocket.connect(session, url, None, 1000)
        await ws.write(b"frame")
        assert await ws.read() == b"frame"
        info = ws.tcp_info()
        assert info is None or info.rtt > 0
        await ws.write(b"close")
        with pytest.raises(LinkError, match="closed"):
            await ws.read()
        with pytest.raises(LinkError, match="went away"):
            await ws.write(b"more")
        await ws.close()


async def test_longer_messages_end_it(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        ws = await WebSocket.connect(session, url, None, 10)
        await ws.write(b"eleven bytes")
        with pytest.raises(LinkError):
            await ws.read()
        await ws.close()


async def test_abort_wakes_who_reads(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        ws = await WebSocket.connect(session, url, None, 1000)
        reading = asyncio.create_task(ws.read())
        await asyncio.sleep(0)
        ws.abort()
        ws.abort()
        with pytest.raises(LinkError):
            await reading
        await ws.close()


async def test_nobody_there_is_an_error_of_the_system() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await WebSocket.connect(session, "ws://127.0.0.1:9/", None, 1000)
