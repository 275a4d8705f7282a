"""The WebSocket that a link speaks over: aiohttp's, whose failures are `LinkError`."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl as ssl_module
from typing import Self

import aiohttp

from cutpoint.sdk.errors import LinkError
from cutpoint.sdk.protocol import SUBPROTOCOL
from cutpoint.sdk.tcp_info import TcpInfo, read_tcp_info

__all__ = ["WebSocket"]

#: Seconds for the closing handshake: the other side may be gone.
_CLOSING = 0.2


class WebSocket:
    """An open WebSocket; `connect` makes one. Each message is a frame."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse, url: str) -> None:
        self._ws = ws
        self._url = url
        self._socket: socket.socket | None = ws.get_extra_info("socket")
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @classmethod
    async def connect(
        cls, session: aiohttp.ClientSession, url: str, ssl: ssl_module.SSLContext | None, longest: int
    ) -> Self:
        """Connects to `url`; messages of more than `longest` bytes are not accepted from there.

        Raises:
            aiohttp.ClientError, OSError: if that fails.
        """
        ws = await session.ws_connect(
            url, protocols=(SUBPROTOCOL,), ssl=ssl if ssl is not None else True, max_msg_size=longest, compress=0
        )
        return cls(ws, url)

    async def read(self) -> bytes | str:
        """The next message. Raises `LinkError` at the end of the connection."""
        message = await self._ws.receive()
        if message.type not in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT):
            raise LinkError("the server closed the connection")
        data: bytes | str = message.data
        return data

    async def write(self, frame: bytes) -> None:
        """Sends a message. Raises `LinkError` if the connection went away."""
        try:
            await self._ws.send_bytes(frame)
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            raise LinkError(f"the connection to {self._url} went away: {error}") from error

    def tcp_info(self) -> TcpInfo | None:
        """What the kernel knows of the connection; None where it does not tell."""
        return read_tcp_info(self._socket) if self._socket is not None else None

    def abort(self) -> None:
        """Ends the connection without a word: whoever reads it finds its end."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    async def close(self) -> None:
        """Says goodbye, but does not wait for an answer for long."""
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_CLOSING):
                await self._ws.close()
