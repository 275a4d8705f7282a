"""The edge server: a bundle's tails behind a WebSocket, with health, metrics and the bundle's device part over HTTP."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Hashable

import msgspec
from aiohttp import WSCloseCode, web

from cutpoint.sdk.bundle import Bundle, Selection
from cutpoint.sdk.download import BundleOffer
from cutpoint.sdk.errors import BundleError
from cutpoint.sdk.graphs import BundleGraphs
from cutpoint.sdk.protocol import SUBPROTOCOL, ServerState
from cutpoint.sdk.runtimes import create_runtime
from cutpoint.sdk.tail import Tail
from cutpoint.server.auth import Tokens
from cutpoint.server.connection import ClientConnection
from cutpoint.server.engines import LocalEngine
from cutpoint.server.metrics import Metrics
from cutpoint.server.settings import Settings

__all__ = ["EdgeServer"]

log = logging.getLogger("cutpoint.server")

#: Frames up to this many times the limit are answered with a typed error; longer ones only with close code 1009.
_HARD_LIMIT = 4


class EdgeServer:
    """Serves one bundle.

    Building it loads and warms up every tail, which takes seconds; do it before the event loop, or in a thread.

    Args:
        bundle: with its server part.
        settings: see `Settings`.
        clock: monotonic seconds.

    Raises:
        BundleError, GraphError, CodecError: if the bundle cannot be served.
        InputError: for settings that cannot be used.
    """

    def __init__(self, bundle: Bundle, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self.bundle = bundle
        self.settings = settings
        self.url = ""
        self._clock = clock
        self._tokens = Tokens(settings.token_file)
        self._ssl = settings.ssl_context()
        tail = Tail(BundleGraphs(bundle, [create_runtime("onnx", threads=1)]))
        tail.warm_up(bundle.points)
        self._max_payloads = [tail.max_payload(p) if not p.local else None for p in bundle.points]
        #: `.cutpoint` files for devices by what they read; made when first asked for.
        self._device_parts: dict[Selection, bytes] = {}
        self._packing = asyncio.Lock()
        if "device" in bundle.parts:
            self._device_parts[Selection()] = bundle.part("device").to_bytes()
        self._engine = LocalEngine(
            tail, bundle, settings.threads, settings.max_queue, settings.max_batch, settings.batch_window, clock
        )
        self._metrics = Metrics()
        self._connections: set[ClientConnection] = set()
        self._draining = False
        self._runner: web.AppRunner | None = None

    # -- life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listens; `url` says where. Raises `OSError` if the address cannot be used."""
        app = web.Application(client_max_size=1 << 16)
        app.router.add_get("/", self._websocket)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._serve_metrics)
        app.router.add_get("/v1/bundle", self._offer)
        app.router.add_get("/v1/bundle/{hash}", self._download)
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        self._runner = runner
        site = web.TCPSite(runner, self.settings.host, self.settings.port, ssl_context=self._ssl)
        await site.start()
        port = runner.addresses[0][1]
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        self.url = f"{'wss' if self._ssl else 'ws'}://{host}:{port}"
        self._metrics.ready.set(1)

    async def stop(self) -> None:
        """Drains and closes: no new requests, those in flight get `settings.grace` seconds, then all is closed."""
        self._draining = True
        self._metrics.ready.set(0)
        await asyncio.gather(*(connection.go_away(self.settings.grace) for connection in self._connections))
        try:
            async with asyncio.timeout(self.settings.grace):
                await asyncio.gather(*(connection.idle() for connection in self._connections))
        except TimeoutError:
            log.warning("requests are still in flight after %.1f s; closing all the same", self.settings.grace)
        await asyncio.gather(*(connection.close() for connection in self._connections), return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()
        await self._engine.close()

    def reload_tokens(self) -> None:
        """Reads the token file again. Raises `InputError`, and keeps the old ones, if it cannot be used."""
        self._tokens.reload()

    def state(self, user: Hashable) -> ServerState:
        """What a user is told about the server."""
        return ServerState(self._engine.queue_ms(user), self._engine.price(), self._draining)

    # -- WebSocket -----------------------------------------------------------------------------------------------

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse(
            protocols=(SUBPROTOCOL,), max_msg_size=_HARD_LIMIT * self.settings.limits.frame, compress=False, timeout=1.0
        )
        if not ws.can_prepare(request):
            return web.json_response(
                {"server": "cutpoint", "model": self.bundle.manifest.name, "protocol": SUBPROTOCOL}
            )
        if len(self._connections) >= self.settings.max_connections:
            self._metrics.refused.labels("overloaded").inc()
            return web.Response(status=503, headers={"Retry-After": "1"}, text="too many connections")
        await ws.prepare(request)
        if ws.ws_protocol != SUBPROTOCOL:
            await ws.close(code=WSCloseCode.PROTOCOL_ERROR, message=f"speak {SUBPROTOCOL}".encode())
            return ws
        connection = ClientConnection(
            ws,
            request.remote or "?",
            self.bundle,
            self._engine,
            lambda number: self._max_payloads[number] if number < len(self._max_payloads) else None,
            self._tokens,
            self._metrics,
            self.settings,
            self.state,
            lambda: self._draining,
            self._clock,
        )
        self._connections.add(connection)
        self._metrics.connections.inc()
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)
            self._metrics.connections.dec()
        return ws

    # -- HTTP ----------------------------------------------------------------------------------------------------

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        if self._draining:
            return web.Response(status=503, text="draining\n")
        return web.Response(text="ready\n")

    async def _serve_metrics(self, _: web.Request) -> web.Response:
        self._metrics.price.set(self._engine.price())
        return web.Response(body=self._metrics.exposition(), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def _offer(self, request: web.Request) -> web.Response:
        self._authorise(request)
        data = await self._pack(request)
        offer = BundleOffer(self.bundle.hash, self.bundle.manifest.name, len(data))
        return web.Response(body=msgspec.json.encode(offer), content_type="application/json")

    async def _download(self, request: web.Request) -> web.Response:
        self._authorise(request)
        if request.match_info["hash"] != self.bundle.hash:
            raise web.HTTPNotFound(text="this server does not hold that bundle\n")
        data = await self._pack(request)
        headers = {"ETag": f'"{self.bundle.hash}"', "Cache-Control": "public, max-age=31536000, immutable"}
        return web.Response(body=data, content_type="application/octet-stream", headers=headers)

    async def _pack(self, request: web.Request) -> bytes:
        """The device part, for the runtime and the precision that the query names."""
        if not self._device_parts:
            raise web.HTTPNotFound(text="this server holds only the server part of its bundle\n")
        runtime, precision = (request.query.get(name, "") for name in ("runtime", "precision"))
        try:
            selection = Selection.parse(runtime, precision)
            async with self._packing:
                if selection not in self._device_parts:
                    part = await asyncio.to_thread(
                        lambda: self.bundle.part("device", runtime=runtime, precision=precision).to_bytes()
                    )
                    self._device_parts[selection] = part
        except BundleError as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from error
        return self._device_parts[selection]

    def _authorise(self, request: web.Request) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if not self._tokens.accept(token if scheme.lower() == "bearer" else ""):
            raise web.HTTPUnauthorized(text="the token is missing or wrong\n", headers={"WWW-Authenticate": "Bearer"})
