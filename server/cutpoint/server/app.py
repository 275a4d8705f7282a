"""The edge server: models' tails behind a WebSocket, with health, metrics and the bundles' device parts over HTTP."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from importlib.metadata import version
from operator import attrgetter
from typing import TYPE_CHECKING

import msgspec
from aiohttp import WSCloseCode, web

from cutpoint.sdk.bundle import Bundle
from cutpoint.sdk.errors import InputError
from cutpoint.sdk.protocol import SUBPROTOCOL, ServerState
from cutpoint.server.auth import Account, Scope, Tokens
from cutpoint.server.connection import ClientConnection
from cutpoint.server.downloads import Downloads
from cutpoint.server.engines import Engine, create_engine
from cutpoint.server.folder import ModelFolder
from cutpoint.server.gate import Door, Gate
from cutpoint.server.inference_routes import InferenceRoutes
from cutpoint.server.logs import Repeats
from cutpoint.server.metrics import Metrics
from cutpoint.server.models import Model, Models
from cutpoint.server.nodes.group import NodeGroup
from cutpoint.server.nodes.reporter import Reporter
from cutpoint.server.quotas import Quotas
from cutpoint.server.scheduler import Scheduler
from cutpoint.server.settings import Settings
from cutpoint.server.status import STAGES, UNREFUSED, Status, StatusRoutes, UpstreamStatus, quantiles
from cutpoint.server.tier import Tiers
from cutpoint.server.tls import server_context
from cutpoint.server.tracing import server_tracing
from cutpoint.server.watching import FileWatch

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

__all__ = ["EdgeServer"]

log = logging.getLogger("cutpoint.server")

#: Frames up to this many times the limit are answered with a typed error; longer ones only with close code 1009.
_HARD_LIMIT = 4
#: Connections for health checks, metrics and downloads beside the WebSockets.
_SPARE = 64


class EdgeServer:
    """Serves bundles, and those of the folder `settings.models`.

    Building it loads and warms up every tail of `bundles`, which takes seconds; do it before the event loop, or in a
    thread. Those of the folder are loaded by `start`.

    Args:
        bundles: with their server parts; one or several.
        settings: see `Settings`.
        clock: monotonic seconds.
        engine: computes; None for the one that the settings name.
        tracer_provider: of OpenTelemetry, gets spans of requests; None for what the settings say.

    Attributes:
        models: what is served.

    Raises:
        BundleError, GraphError, CodecError: if a bundle cannot be served.
        InputError: for settings that cannot be used.
    """

    def __init__(
        self,
        bundles: Bundle | Sequence[Bundle],
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
        engine: Engine | None = None,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        self.settings = settings
        self.url = ""
        self._clock = clock
        self._tokens = Tokens(settings.token_file)
        self._quotas = Quotas()
        self._repeats = Repeats(clock)
        gate = Gate(settings.max_connections + _SPARE, settings.connections_per_address)
        self._door = Door(gate, settings.hello_timeout, settings.http_timeout, self._repeats, self._tls())
        self._watched = FileWatch([settings.token_file, settings.tls_cert, settings.tls_key, settings.tls_client_ca])
        engine = engine or create_engine(settings, clock)
        self._scheduler = Scheduler(engine, settings.max_queue, settings.max_batch, settings.batch_window, clock)
        self._metrics = Metrics()
        self._tracing = server_tracing(settings, tracer_provider)
        self.tiers = Tiers(settings, self._metrics, self._scheduler.price, clock)
        times = settings.model_grace, settings.grace
        self.models = Models(engine, self._scheduler, self.tiers, *times, settings.trusted_keys)
        for bundle in [bundles] if isinstance(bundles, Bundle) else bundles:
            self.models.add(self.models.load(bundle))
        self._folder = ModelFolder(settings.models, self.models) if settings.models is not None else None
        self._following: list[asyncio.Task[None]] = []
        self._reporter = Reporter(self.models, self._scheduler, engine, lambda: self._draining, clock)
        self.group = NodeGroup(settings, self.models, self._reporter, self._metrics, clock)
        self._started_at = clock()
        self._status_routes = StatusRoutes(self._status, partial(self._authorise, scope="status"))
        self._connections: set[ClientConnection] = set()
        self._draining = False
        self._runner: web.AppRunner | None = None

    # -- life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Loads the folder's models, then listens; `url` says where. Raises `OSError` if the address cannot be used."""
        if self._folder is not None:
            await self._folder.update(settled=True)
            self._following.append(asyncio.create_task(self._folder.follow(self.settings.models_interval)))
        self._following.append(asyncio.create_task(self._watch()))
        app = web.Application(client_max_size=1 << 16, middlewares=[self._door.watch])
        app.router.add_get("/", self._websocket)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._serve_metrics)
        app.router.add_get("/v1/node", self._node)
        Downloads(self.models, partial(self._authorise, scope="download")).add_routes(app.router)
        InferenceRoutes(
            self.models,
            partial(self._authorise, scope="infer"),
            self._quotas,
            self._metrics,
            self.settings.limits.frame,
            lambda: self._draining,
            self._clock,
        ).add_routes(app.router)
        self._status_routes.add_routes(app.router)
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        self._runner = runner
        assert runner.server is not None
        port = await self._door.open(runner.server, self.settings.host, self.settings.port)
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        self.url = f"{'wss' if self._door.tls else 'ws'}://{host}:{port}"
        self._metrics.ready.set(1)
        for model in self.models:
            model.tier.start()
        await self.group.start()

    async def stop(self) -> None:
        """Drains and closes: no new requests, those in flight get `settings.grace` seconds, then all is closed."""
        self._draining = True
        self._metrics.ready.set(0)
        for task in self._following:
            task.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)
        await self.models.close()
        await asyncio.gather(*(connection.leave(self.settings.grace) for connection in self._connections))
        await self.group.close()
        await self._reporter.close()
        await asyncio.gather(*(model.tier.close() for model in self.models))
        await self._door.close()
        if self._runner is not None:
            await self._runner.cleanup()
        await self._scheduler.close()

    async def reload(self) -> None:
        """Reads the token file and the certificates again. What cannot be used is logged, and the old stays."""
        await asyncio.to_thread(self._reload)

    def _reload(self) -> None:
        for load in (self._tokens.reload, self._reload_tls):
            try:
                load()
            except InputError as error:
                log.error("%s; what was loaded before stays in use", error)

    def _tls(self) -> ssl.SSLContext | None:
        settings = self.settings
        if settings.tls_cert is None or settings.tls_key is None:
            return None
        return server_context(settings.tls_cert, settings.tls_key, settings.tls_client_ca)

    def _reload_tls(self) -> None:
        self._door.tls = self._tls()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self.settings.reload_interval)
            if await asyncio.to_thread(self._watched.changed):
                await self.reload()

    def state(self, model: Model, user: Hashable) -> ServerState:
        """What a user of a model is told about the server."""
        return ServerState(model.tier.queue_ms(user), self._scheduler.price(), self._draining, model.outdated)

    def _status(self) -> Status:
        now = self._clock()
        activity = self._metrics.activity
        recent, seconds = activity.recent(now)
        outcomes = Counter(answered.outcome for answered in recent)
        latency = {stage: found for stage in STAGES if (found := quantiles(recent, stage)) is not None}
        return Status(
            server=f"cutpoint/{version('cutpoint')}",
            models=self.models.names(),
            draining=self._draining,
            uptime=now - self._started_at,
            connections=len(self._connections),
            waiting=self._scheduler.waiting,
            computing=self._scheduler.pending - self._scheduler.waiting,
            price=self._scheduler.price(),
            seconds=seconds,
            per_second=outcomes["ok"] / seconds,
            refused_per_second=sum(n for name, n in outcomes.items() if name not in UNREFUSED) / seconds,
            latency=latency,
            users=activity.rows(attrgetter("user"), recent, seconds),
            points=activity.rows(attrgetter("point"), recent, seconds),
            outcomes=dict(outcomes.most_common()),
            nodes=self.group.rows(),
            upstream=self._upstream(),
        )

    def _upstream(self) -> UpstreamStatus | None:
        return self.tiers.status(model.tier for model in self.models)

    # -- WebSocket -----------------------------------------------------------------------------------------------

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse(
            protocols=(SUBPROTOCOL,), max_msg_size=_HARD_LIMIT * self.settings.limits.frame, compress=False, timeout=1.0
        )
        if not ws.can_prepare(request):
            return self._status_routes.page()
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
            self.group,
            self._tokens,
            self._quotas,
            self._metrics,
            self._repeats,
            self.settings,
            self.state,
            lambda: self._draining,
            self._clock,
            self._tracing,
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

    async def _node(self, request: web.Request) -> web.Response:
        self._authorise(request, "infer")
        report = msgspec.json.encode(await self._reporter.report())
        return web.Response(body=report, content_type="application/json", headers={"Cache-Control": "no-store"})

    async def _serve_metrics(self, request: web.Request) -> web.Response:
        self._authorise(request, "metrics")
        self._metrics.price.set(self._scheduler.price())
        upstream = self._upstream()
        self._metrics.upstream.set(upstream is not None and upstream.up)
        return web.Response(body=self._metrics.exposition(), headers={"Content-Type": "text/plain; version=0.0.4"})

    def _authorise(self, request: web.Request, scope: Scope) -> Account:
        """Who asks. Raises `web.HTTPUnauthorized` or `web.HTTPForbidden` for one who may not have `scope`."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        account = self._tokens.find(token if scheme.lower() == "bearer" else "")
        if account is None:
            raise web.HTTPUnauthorized(text="the token is missing or wrong\n", headers={"WWW-Authenticate": "Bearer"})
        if scope not in account.scopes:
            raise web.HTTPForbidden(text=f"the token does not have the scope {scope!r}\n")
        return account
