"""The server's door: it counts connections before anything is read from them, and ends those that do not speak."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeAlias

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from cutpoint.server.logs import Repeats

__all__ = ["Door", "Gate", "address_key"]

log = logging.getLogger("cutpoint.server")

_Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: Connections that are accepted before the event loop gets a turn.
_AT_ONCE = 16
#: Seconds to wait when the process has no file handles left.
_EXHAUSTED = 0.1
_BACKLOG = 1024


def address_key(host: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 of an IPv6 one, which is what a single user gets."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 4:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


class Gate:
    """Who may connect.

    Args:
        most: connections at a time.
        most_per_address: of them from one address.

    Attributes:
        refused: connections that were turned away.
    """

    def __init__(self, most: int, most_per_address: int) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._open: Counter[str] = Counter()
        self._count = 0
        self.refused = 0

    @property
    def count(self) -> int:
        """Connections that are open."""
        return self._count

    def enter(self, key: str) -> str | None:
        """A connection from `key` begins; if it may not, why not, and nothing is counted."""
        reason = None
        if self._open[key] >= self._most_per_address:
            reason = f"more than {self._most_per_address} connections from one address (max_connections_per_address)"
        elif self._count >= self._most:
            reason = f"more than {self._most} connections"
        if reason is not None:
            self.refused += 1
            return reason
        self._open[key] += 1
        self._count += 1
        return None

    def leave(self, key: str) -> None:
        """It ends."""
        self._count -= 1
        self._open[key] -= 1
        if not self._open[key]:
            del self._open[key]


class _Visitor(web.RequestHandler):
    """One connection, spoken to in HTTP. It is closed if the headers of a request take longer than `patience`."""

    __slots__ = ("_complain", "_left", "_patience", "_timer")

    def __init__(
        self,
        server: web.Server,
        loop: asyncio.AbstractEventLoop,
        patience: float,
        left: Callable[[], None],
        complain: Callable[[str], None],
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # what aiohttp itself passes for no log
            keepalive_timeout=patience,
            lingering_time=patience,
        )
        self._patience = patience
        self._left = left
        self._complain = complain
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.expect()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.heard()
        super().connection_lost(exc)
        self._left()

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """What is wrong with the visitor's HTTP is his affair; anything else is the server's, and logged as such."""
        error = kw.get("exc_info")
        if isinstance(error, HttpProcessingError):
            self._complain(f"{error.code}, {type(error).__name__}")
        else:
            super().log_exception(*args, **kw)

    def expect(self) -> None:
        """The headers of a request are due."""
        self.heard()
        self._timer = self._loop.call_later(self._patience, self.force_close)

    def heard(self) -> None:
        """They are there, or nobody waits for them any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Door:
    """Listens, and lets connections in.

    Args:
        gate: says which.
        patience: seconds for a TLS handshake and for the headers of each request.
        http_timeout: seconds for a request that does not become a WebSocket, and its answer.
        repeats: keeps refusals from filling the log.

    Attributes:
        tls: what new connections are spoken to with; None for none. May be exchanged at any time.
    """

    def __init__(
        self, gate: Gate, patience: float, http_timeout: float, repeats: Repeats, tls: ssl.SSLContext | None
    ) -> None:
        self._gate = gate
        self._patience = patience
        self._http_timeout = http_timeout
        self._repeats = repeats
        self.tls = tls
        self._sockets: list[socket.socket] = []
        self._pauses: dict[socket.socket, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, server: web.Server, host: str, port: int) -> int:
        """Listens at all addresses of `host`; returns the port. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, *_, address in dict.fromkeys(found):
                listening = socket.create_server((address[0], port), family=family, backlog=_BACKLOG)
                listening.setblocking(False)
                self._sockets.append(listening)
                port = listening.getsockname()[1]
        except OSError:
            await self.close()
            raise
        for listening in self._sockets:
            self._watch(listening, server)
        return port

    @web.middleware
    async def watch(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """The application's outermost middleware: without it every request's headers would still be due."""
        visitor = request.protocol
        assert isinstance(visitor, _Visitor)
        visitor.heard()
        lasting = request.headers.get("Upgrade", "").lower() == "websocket"
        try:
            async with asyncio.timeout(None if lasting else self._http_timeout):
                return await handler(request)
        except TimeoutError:
            visitor.force_close()
            return web.Response(status=408)
        finally:
            if visitor.transport is not None:
                visitor.expect()

    async def close(self) -> None:
        """Stops listening; connections that are open stay so."""
        for pause in self._pauses.values():
            pause.cancel()
        for listening in self._sockets:
            asyncio.get_running_loop().remove_reader(listening)
            listening.close()
        self._sockets.clear()
        # A task that was cancelled before it began could not close its connection.
        await asyncio.sleep(0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _watch(self, listening: socket.socket, server: web.Server) -> None:
        asyncio.get_running_loop().add_reader(listening, self._accept, listening, server)

    def _accept(self, listening: socket.socket, server: web.Server) -> None:
        """Somebody knocks. Those who are in already get their turn soon, however many more do."""
        for _ in range(_AT_ONCE):
            try:
                connection, (host, *_) = listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:  # too many open files: whoever waits goes on waiting
                self._log("accept", f"a connection could not be accepted: {error}")
                loop = asyncio.get_running_loop()
                loop.remove_reader(listening)
                self._pauses[listening] = loop.call_later(_EXHAUSTED, self._watch, listening, server)
                return
            connection.setblocking(False)
            key = address_key(host)
            reason = self._gate.enter(key)
            if reason is not None:
                connection.close()
                self._log(("refused", key), f"{key}: connection refused: {reason}")
                continue
            task = asyncio.create_task(self._let_in(connection, key, server))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _let_in(self, connection: socket.socket, key: str, server: web.Server) -> None:
        loop = asyncio.get_running_loop()
        tls = self.tls
        inside = True

        def left() -> None:
            nonlocal inside
            if inside:
                inside = False
                self._gate.leave(key)

        def complain(what: str) -> None:
            self._log(("http", key), f"{key}: not a proper HTTP request: {what}")

        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.connect_accepted_socket(
                lambda: _Visitor(server, loop, self._patience, left, complain),
                connection,
                ssl=tls,
                ssl_handshake_timeout=self._patience if tls is not None else None,
            )
        except BaseException as error:
            left()
            connection.close()
            if not isinstance(error, OSError):
                raise
            self._log(("handshake", key), f"{key}: no TLS connection: {error}")

    def _log(self, kind: Hashable, message: str) -> None:
        left_out = self._repeats.first(kind)
        if left_out is not None:
            log.warning("%s%s", message, f" ({left_out} like it were left out)" if left_out else "")
