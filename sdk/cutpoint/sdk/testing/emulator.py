"""A bad link on loopback: a TCP relay that holds bytes back."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from cutpoint.sdk.errors import InputError
from cutpoint.sdk.testing.traces import Shaper, Trace

__all__ = ["LinkEmulator"]

#: Bytes are held back in pieces of a packet, so that a receiver sees them come in at the rate, not in lumps.
_PIECE = 1460
#: Seconds of traffic that the link's own buffer takes before the sender is held up.
_BUFFER_SECONDS = 0.5


class LinkEmulator:
    """Relays TCP connections to a server through a link of a given rate and delay.

    An asynchronous context manager. All connections share the link, as apps on one phone do.

    Args:
        url: of the server, ``ws://host:port``.
        uplink: rate from the client to the server.
        downlink: rate back; None for five times the uplink's.
        delay: seconds one way; half the round-trip time.
        jitter: seconds added to the delay of each piece, in turn, both ways; nothing overtakes.
        clock: seconds; where it stands when the relay starts is where the traces begin.
        sleep: waits that many seconds of `clock`.

    Attributes:
        url: where clients connect.
        sent: bytes that clients have sent so far.
    """

    def __init__(
        self,
        url: str,
        uplink: Trace,
        downlink: Trace | None = None,
        *,
        delay: float = 0.0,
        jitter: Sequence[float] = (0.0,),
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        target = urlsplit(url)
        if target.scheme != "ws" or target.hostname is None or target.port is None:
            raise InputError(f"{url!r}: the emulator relays to ws://host:port")
        self._target = (target.hostname, target.port)
        downlink = downlink or Trace(tuple(5 * rate for rate in uplink.rates), uplink.step)
        self._up = Shaper(uplink, delay, jitter)
        self._down = Shaper(downlink, delay, jitter)
        self._clock = clock
        self._sleep = sleep
        self._began = 0.0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed_until = -math.inf
        self.url = ""
        self.sent = 0

    async def __aenter__(self) -> Self:
        clock = self._clock or asyncio.get_running_loop().time
        self._clock = clock
        self._began = clock()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_PIECE * 8)
        self.url = f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def rewind(self) -> None:
        """Lets the traces begin anew, now. Call it while nothing is on the way."""
        assert self._clock is not None
        self._began = self._clock()
        self._up.rewind()
        self._down.rewind()

    def cut(self, seconds: float = 0.0) -> None:
        """Breaks every connection, as a lost link does in the end, and lets no new one live for `seconds`."""
        self._closed_until = self._now() + seconds
        for task in self._tasks:
            task.cancel()

    def hold(self, seconds: float) -> None:
        """Lets nothing pass for `seconds`; connections stay. What was on its way arrives."""
        for shaper in (self._up, self._down):
            shaper.hold(self._now(), seconds)

    def _now(self) -> float:
        assert self._clock is not None
        return self._clock() - self._began

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self._now() >= self._closed_until:
                await self._relay(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # one end went away: so does the other
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opening = asyncio.ensure_future(asyncio.open_connection(*self._target, limit=_PIECE * 8))
        try:
            onward_reader, onward_writer = await asyncio.shield(opening)
        except asyncio.CancelledError:
            # A connection that comes about in this moment would belong to nobody.
            opening.add_done_callback(_abort)
            raise
        ways: list[asyncio.Task[None]] = []
        try:
            for each in (writer, onward_writer):
                each.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ways.append(asyncio.create_task(self._pump(reader, onward_writer, self._up, count=True)))
            ways.append(asyncio.create_task(self._pump(onward_reader, writer, self._down, count=False)))
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # First, because a second cancellation may end the wait below.
            onward_writer.transport.abort()
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, shaper: Shaper, count: bool
    ) -> None:
        pieces: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue()
        delivering = asyncio.create_task(self._deliver(pieces, writer))
        try:
            while data := await reader.read(_PIECE):
                if count:
                    self.sent += len(data)
                pieces.put_nowait((shaper.send(self._now(), len(data)), data))
                backlog = shaper.backlog(self._now())
                if backlog > _BUFFER_SECONDS:
                    await self._sleep(backlog - _BUFFER_SECONDS)
            pieces.put_nowait(None)
            await delivering
        finally:
            delivering.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await delivering

    async def _deliver(self, pieces: asyncio.Queue[tuple[float, bytes] | None], writer: asyncio.StreamWriter) -> None:
        while (item := await pieces.get()) is not None:
            arrival, data = item
            wait = arrival - self._now()
            if wait > 0:
                await self._sleep(wait)
            writer.write(data)
            await writer.drain()


def _abort(opening: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result()[1].transport.abort()
