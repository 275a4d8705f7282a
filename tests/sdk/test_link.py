"""Against a real aiohttp server that reads when it is told to."""

import asyncio
import random
import socket
from functools import partial

import pytest
from aiohttp import web
from aiohttp.http import WebSocketWriter
from tests.support.waiting import until

from cutpoint.sdk.channel import ChannelEstimator
from cutpoint.sdk.errors import LinkError
from cutpoint.sdk.link import Link
from cutpoint.sdk.monitor import LinkMonitor
from cutpoint.sdk.protocol import SUBPROTOCOL, VERSION, Limits, Ping, Welcome, decode_frame, encode_frame
from cutpoint.sdk.protocol.frames import Chunk, Frame, Opening
from cutpoint.sdk.testing import VirtualLoop

#: Bytes that no connection holds on its way to a server that does not read.
FULL = 2**24


class Stalled:
    """A server that welcomes one client, and leaves what it sends unread until `reading` is set.

    Attributes:
        heard: all frames behind the hello.
    """

    def __init__(self) -> None:
        self.heard: list[Frame] = []
        self.reading = asyncio.Event()
        app = web.Application()
        app.router.add_get("/", self._serve)
        self._runner = web.AppRunner(app)

    async def __aenter__(self) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()
        return f"ws://127.0.0.1:{listener.getsockname()[1]}/"

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(protocols=(SUBPROTOCOL,), max_msg_size=2 * FULL)
        await ws.prepare(request)
        await ws.receive_bytes()
        await ws.send_bytes(encode_frame(Welcome(VERSION, "stalled", "", Limits(frame=2 * FULL))))
        assert request.transport is not None
        request.transport.pause_reading()
        await self.reading.wait()
        request.transport.resume_reading()
        async for message in ws:
            self.heard.append(decode_frame(message.data))
        return ws


async def probe_behind_a_request() -> list[Frame]:
    """What a server hears of a link that begins a request of two frames and probes before the first has left."""
    server = Stalled()
    async with server as url:
        monitor = LinkMonitor(ChannelEstimator())
        clock = asyncio.get_running_loop().time
        link = Link(url, "", monitor, 2**20, pieces=2, clock=clock, rng=random.Random(0))
        await link.start()
        asking = asyncio.create_task(link.request(1, bytes(2 * FULL), 0.0, 0.0, []))
        await until(lambda: monitor._probed_at is not None)
        server.reading.set()
        await until(lambda: len(server.heard) == 4)
        await link.close()
        with pytest.raises(LinkError):
            await asking
    return server.heard


def test_nothing_comes_between_the_pings_of_a_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    # Whoever writes to a full connection waits; by default only who writes the last of some hundred kilobytes.
    monkeypatch.setattr("aiohttp.client.WebSocketWriter", partial(WebSocketWriter, limit=0))
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        heard = runner.run(probe_behind_a_request())
    assert [type(frame) for frame in heard] == [Opening, Ping, Ping, Chunk]
