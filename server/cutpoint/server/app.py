"""The edge server: models' tails behind a WebSocket, with health, metrics and the bundles' device parts over HTTP."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Hashable, Sequence

from aiohttp import WSCloseCode, web

from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.protocol import SUBPROTOCOL, ServerState
from cutpoint.server.auth import Tokens
from cutpoint.server.connection import ClientConnection
from cutpoint.server.downloads import Downloads
from cutpoint.server.engines import create_engine
from cutpoint.server.folder import ModelFolder
from cutpoint.server.inference_routes import InferenceRoutes
from cutpoint.server.metrics import Metrics
from cutpoint.server.models import Model, Models
from cutpoint.server.scheduler import Scheduler
from cutpoint.server.settings import Settings

__all__ = ["EdgeServer"]

log = logging.getLogger("cutpoint.server")

#: Frames up to this many times the limit are answered with a typed error; longer ones only with close code 1009.
_HARD_LIMIT = 4


class EdgeServer:
    """Serves bundles, and those of the folder `settings.models`.

    Building it loads and warms up every tail of `bundles`, which takes seconds; do it before the event loop, or in a
    thread. Those of the folder are loaded by `start`.

    Args:
        bundles: with their server parts; one or several.
        settings: see `Settings`.
        clock: monotonic seconds.

    Attributes:
        models: what is served.

    Raises:
        BundleError, GraphError, CodecError: if a bundle cannot be served.
        InputError: for settings that cannot be used.
    """

    def __init__(
        self, bundles: Bundle | Sequence[Bundle], settings: Settings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.settings = settings
        self.url = ""
        self._clock = clock
        self._tokens = Tokens(settings.token_file)
        self._ssl = settings.ssl_context()
        engine = create_engine(settings, clock)
        self._scheduler = Scheduler(engine, settings.max_queue, settings.max_batch, settings.batch_window, clock)
        self.models = Models(engine, self._scheduler, settings.model_grace, settings.grace)
        for bundle in [bundles] if isinstance(bundles, Bundle) else bundles:
            self.models.add(self.models.load(bundle))
        self._folder = ModelFolder(settings.models, self.models) if settings.models is not None else None
        self._following: asyncio.Task[None] | None = None
        self._metrics = Metrics()
        self._connections: set[ClientConnection] = set()
        self._draining = False
        self._runner: web.AppRunner | None = None

    # -- life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Loads the folder's models, then listens; `url` says where. Raises `OSError` if the address cannot be used."""
        if self._folder is not None:
            await self._folder.update(settled=True)
            self._following = asyncio.create_task(self._folder.follow(self.settings.models_interval))
        app = web.Application(client_max_size=1 << 16)
        app.router.add_get("/", self._websocket)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._serve_metrics)
        Downloads(self.models, self._authorise).add_routes(app.router)
        InferenceRoutes(
            self.models, self._authorise, self._metrics, self.settings.limits.frame, lambda: self._draining, self._clock
        ).add_routes(app.router)
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
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        await self.models.close()
        await asyncio.gather(*(connection.leave(self.settings.grace) for connection in self._connections))
        if self._runner is not None:
            await self._runner.cleanup()
        await self._scheduler.close()

    def reload_tokens(self) -> None:
        """Reads the token file again. Raises `InputError`, and keeps the old ones, if it cannot be used."""
        self._tokens.reload()

    def state(self, model: Model, user: Hashable) -> ServerState:
        """What a user of a model is told about the server."""
        outdated = self.models.outdated(model)
        return ServerState(model.queue_ms(user), self._scheduler.price(), self._draining, outdated)

    # -- WebSocket -----------------------------------------------------------------------------------------------

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse(
            protocols=(SUBPROTOCOL,), max_msg_size=_HARD_LIMIT * self.settings.limits.frame, compress=False, timeout=1.0
        )
        if not ws.can_prepare(request):
            return web.json_response({"server": "cutpoint", "models": self.models.names(), "protocol": SUBPROTOCOL})
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
            self.models,
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
        if not self.models.names():
            return web.Response(status=503, text="there is no model yet\n")
        return web.Response(text="ready\n")

    async def _serve_metrics(self, _: web.Request) -> web.Response:
        self._metrics.price.set(self._scheduler.price())
        return web.Response(body=self._metrics.exposition(), headers={"Content-Type": "text/plain; version=0.0.4"})

    def _authorise(self, request: web.Request) -> Hashable:
        """Who asks: a token, or an address where the server takes everybody. Raises `web.HTTPUnauthorized`."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if not self._tokens.accept(token if scheme.lower() == "bearer" else ""):
            raise web.HTTPUnauthorized(text="the token is missing or wrong\n", headers={"WWW-Authenticate": "Bearer"})
        return token if self._tokens.required else request.remote
