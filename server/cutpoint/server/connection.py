"""One client's connection: the protocol between its WebSocket and the engine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Hashable
from importlib.metadata import version

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from cutpoint.codecs import ReferenceLost, SymbolMemory
from cutpoint.sdk.errors import (
    BitstreamError,
    CutpointError,
    LocalProtocolError,
    Refused,
    RemoteProtocolError,
    TooManyHops,
    UnknownPoint,
)
from cutpoint.sdk.protocol import (
    EXTENSIONS,
    TIERS,
    VERSION,
    Cancel,
    Connection,
    Error,
    Event,
    Goaway,
    Hello,
    Hop,
    Part,
    Ping,
    Pong,
    Rejected,
    Request,
    Result,
    Role,
    ServerState,
    Timings,
    TraceContext,
    Welcome,
)
from cutpoint.sdk.tracing import Tracing
from cutpoint.server.asked import Asked
from cutpoint.server.auth import Account, Tokens, digest
from cutpoint.server.idling import IdleLimit
from cutpoint.server.logs import Repeats
from cutpoint.server.metrics import Metrics
from cutpoint.server.models import Model, Models
from cutpoint.server.nodes.group import NodeGroup
from cutpoint.server.quotas import Quotas
from cutpoint.server.settings import Settings
from cutpoint.server.shared_slices import SliceRows
from cutpoint.server.slices import SlicedRequest
from cutpoint.server.tails import Encoded
from cutpoint.server.tracing import RequestSpan

__all__ = ["ClientConnection"]

log = logging.getLogger("cutpoint.server")

#: What the server calls itself. To find the version takes longer than a request.
_SERVER = f"cutpoint/{version('cutpoint')}"
_SPOKEN = (WSMsgType.BINARY, WSMsgType.TEXT)
_NO_HOPS: tuple[Hop, ...] = ()


class _Close(Exception):
    """Ends the connection after an `Error` about it."""

    def __init__(self, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.error = Error(0, code, message, retry_after)


class ClientConnection:
    """Serves one WebSocket from hello to close.

    Args:
        ws: prepared.
        peer: address of the client, for the log.
        models: what requests may be for; the client's hello names one.
        group: answers them.
        tokens: who may come in.
        quotas: what the accounts use.
        metrics: what is counted.
        repeats: keeps refusals from filling the log.
        settings: limits and times.
        state: the server's state now, as a user of a model finds it.
        draining: whether the server is going away.
        clock: monotonic seconds.
        tracing: makes spans of requests; None for none.
    """

    def __init__(
        self,
        ws: web.WebSocketResponse,
        peer: str,
        models: Models,
        group: NodeGroup,
        tokens: Tokens,
        quotas: Quotas,
        metrics: Metrics,
        repeats: Repeats,
        settings: Settings,
        state: Callable[[Model, Hashable], ServerState],
        draining: Callable[[], bool],
        clock: Callable[[], float],
        tracing: Tracing | None,
    ) -> None:
        self._ws = ws
        self._peer = peer
        self._models = models
        self._group = group
        self._model: Model | None = None
        self._tokens = tokens
        self._quotas = quotas
        self._metrics = metrics
        self._repeats = repeats
        self._settings = settings
        self._state = state
        self._draining = draining
        self._clock = clock
        self._tracing = tracing
        self._connection = Connection(Role.SERVER, settings.limits.frame, self._max_payload, max_parts=self._max_parts)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._sliced: dict[int, SlicedRequest] = {}
        self._memory = SymbolMemory()
        #: Who shares the workers with others: the token's owner, or this connection where anybody may come in.
        self._user: Hashable = object()
        self._digest = b""

    async def idle(self) -> None:
        """Returns when every request is answered."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def serve(self) -> None:
        """Returns when the connection has ended."""
        try:
            async with asyncio.timeout(self._settings.hello_timeout):
                greeted = await self._greet()
            async with IdleLimit(self._settings.idle_timeout) as limit:
                while greeted and (event := await self._receive(limit.heard)) is not None:
                    await self._handle(event)
        except TimeoutError:
            seconds = self._settings.idle_timeout if self._model is not None else self._settings.hello_timeout
            what = "whole message" if self._model is not None else "hello"
            await self._refuse(Error(0, "bad_request", f"no {what} within {seconds:g} s"))
        except RemoteProtocolError as error:
            await self._refuse(Error(0, error.code, str(error)))
        except _Close as close:
            await self._refuse(close.error)
        except (ConnectionError, RuntimeError) as error:
            log.info("%s: connection lost: %s", self._peer, error)
        finally:
            if self._model is not None:
                self._model.connections.discard(self)
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            self._tasks.clear()  # of those that had not begun

    async def go_away(self, grace: float) -> None:
        """Tells the client to send no new requests."""
        with contextlib.suppress(ConnectionError, RuntimeError, LocalProtocolError):
            await self._send(Goaway(grace))

    async def leave(self, grace: float) -> None:
        """Ends the connection: requests in flight, and those that are on their way, get `grace` seconds."""
        await self.go_away(grace)
        try:
            async with asyncio.timeout(grace):
                await self.idle()
        except TimeoutError:
            log.warning("%s: requests are still in flight after %.1f s; closing all the same", self._peer, grace)
        with contextlib.suppress(ConnectionError, RuntimeError):
            await self._ws.close(code=WSCloseCode.GOING_AWAY, message=b"the server or the bundle goes away")

    # -- greeting ------------------------------------------------------------------------------------------------

    async def _greet(self) -> bool:
        event = await self._receive()
        if event is None:
            return False
        assert isinstance(event, Hello), "the state table allows nothing else"
        if VERSION not in event.versions:
            spoken = ", ".join(map(str, event.versions)) or "none"
            raise _Close("version_mismatch", f"the server speaks protocol version {VERSION}, the client {spoken}")
        account = self._tokens.find(event.token)
        if account is None:
            raise _Close("unauthenticated", "the token is missing or not one that the server accepts")
        if "infer" not in account.scopes:
            raise _Close("unauthenticated", "the token does not have the scope 'infer'")
        if self._tokens.required:
            self._user = account.name
            self._digest = digest(event.token)
        if self._draining():
            raise _Close("draining", "the server is going away", retry_after=self._settings.grace)
        model = self._models.get(event.bundle)
        if model is None:
            served = ", ".join(f"{other.name} {other.hash[:12]}…" for other in self._models) or "none"
            raise _Close(
                "bundle_mismatch",
                f"the client holds bundle {event.bundle[:12] or '(none)'}…, the server {served}: "
                "fetch the server's with GET /v1/bundle",
            )
        self._model = model
        model.connections.add(self)
        log.info("%s: %s on %s", self._peer, event.client or "unknown client", event.device or "unknown device")
        limits = self._settings.limits
        if model.limits.max_in_flight is not None:
            limits = msgspec.structs.replace(limits, in_flight=min(limits.in_flight, model.limits.max_in_flight))
        state, known = self._state(model, self._user), tuple(name for name in event.extensions if name in EXTENSIONS)
        await self._send(Welcome(VERSION, _SERVER, model.hash, limits, state, known, model.tier.speed.scale))
        model.tier.start()
        return True

    async def _refuse(self, error: Error) -> None:
        self._metrics.refused.labels(error.code).inc()
        left_out = self._repeats.first((self._peer, error.code))
        if left_out is not None:
            more = f" ({left_out} like it were left out)" if left_out else ""
            log.warning("%s: connection refused: %s: %s%s", self._peer, error.code, error.message, more)
        with contextlib.suppress(ConnectionError, RuntimeError, LocalProtocolError):
            await self._send(error)
        await self._ws.close(code=WSCloseCode.POLICY_VIOLATION, message=error.code.encode())

    def _max_payload(self, number: int) -> int | None:
        return self._model.max_payload(number) if self._model is not None else None

    def _max_parts(self, number: int) -> tuple[int, ...]:
        return self._model.max_parts(number) if self._model is not None else ()

    # -- messages ------------------------------------------------------------------------------------------------

    async def _receive(self, heard: Callable[[], None] = lambda: None) -> Event | None:
        """The next event; None when the client has closed. `heard` is called with each whole message."""
        while True:
            message = await self._ws.receive()
            heard()
            if message.type not in _SPOKEN:
                return None
            event = self._connection.receive(message.data, self._clock())
            if event is not None:
                return event

    async def _send(self, event: Event) -> None:
        for frame in self._connection.send(event):
            await self._ws.send_bytes(frame)

    async def _handle(self, event: Event) -> None:
        match event:
            case Request():
                account = self._tokens.still(self._digest)
                if account is None or "infer" not in account.scopes:
                    raise _Close("unauthenticated", "the token is not accepted any more")
                self._tasks[event.request_id] = asyncio.create_task(self._answer(event, account))
                if event.sliced:
                    assert self._model is not None, "there are no requests before the welcome"
                    point = self._model.bundle.points[event.point]
                    self._sliced[event.request_id] = SlicedRequest(point, event, self._clock)
            case Part() if (sliced := self._sliced.get(event.request_id)) is not None:
                sliced.add(event)
            case Rejected() if (sliced := self._sliced.get(event.request_id)) is not None:
                sliced.reject(event)
            case Cancel():
                working = self._tasks.get(event.request_id)
                if working is not None:
                    # Not at once: a task that has not begun would end without a word, and every request is answered.
                    asyncio.get_running_loop().call_soon(working.cancel)
                else:
                    await self._send(Error(event.request_id, "cancelled", "cancelled before it was complete"))
            case Rejected():
                self._metrics.requests.add(1, "", event.code)
                await self._send(Error(event.request_id, event.code, event.message))
            case Ping():
                assert self._model is not None, "there are no pings before the welcome"
                await self._send(Pong(event.sent, self._clock(), self._state(self._model, self._user)))
            case _:
                pass  # a pong: nothing to do

    # -- requests ------------------------------------------------------------------------------------------------

    async def _answer(self, request: Request, account: Account) -> None:
        try:
            await self._respond(request, account)
        finally:
            self._tasks.pop(request.request_id, None)
            self._sliced.pop(request.request_id, None)

    async def _respond(self, request: Request, account: Account) -> None:
        model, sliced = self._model, self._sliced.get(request.request_id)
        assert model is not None, "there are no requests before the welcome"
        point = model.name_of(request.point)
        arrived = self._clock()
        user = account.name or self._peer
        self._metrics.in_flight.inc()
        span = RequestSpan(self._tracing, request, point) if self._tracing is not None else None
        answer: Result | Error = Error(request.request_id, "cancelled", "cancelled")
        outcome, hops = None, _NO_HOPS
        try:
            if self._draining():
                answer = Error(request.request_id, "draining", "the server is going away", self._settings.grace)
            else:
                trace = span.context if span is not None else request.trace
                asked = self._asked(request, model, account, arrived, trace)
                with self._quotas.used(account, arrived):
                    if sliced is None:
                        outcome, hops = await self._group.answer(model, asked)
                    else:
                        outcome, hops = await model.tier.answer_sliced(asked, sliced)
                output = outcome.output
                timings = Timings(outcome.queue_ms, output.decode_ms, output.tail_ms)
                state = self._state(model, self._user)
                told = hops if TIERS in self._connection.extensions else ()
                arrivals = request.arrivals if sliced is None else sliced.arrivals
                answer = Result(request.request_id, output.outputs, timings, state, arrivals, told, output.exit)
        except asyncio.CancelledError:
            if self._ws.closed:
                raise
        except Refused as error:
            answer = Error(request.request_id, error.code, str(error), error.retry_after)
        except ReferenceLost as error:
            answer = Error(request.request_id, "reference_lost", str(error))
        except BitstreamError as error:
            answer = Error(request.request_id, "bad_payload", str(error))
        except Exception as error:
            about = {"request": request.request_id, "user": user, "point": point}
            where = None if isinstance(error, CutpointError) else error  # what is ours says enough
            log.error(
                "%s: request %d at %s failed: %s",
                self._peer,
                request.request_id,
                point,
                error,
                exc_info=where,
                extra=about,
            )
            answer = Error(request.request_id, "internal", f"the server failed at {point}; its log says why")
        finally:
            self._metrics.in_flight.dec()
            result = "ok" if isinstance(answer, Result) else answer.code
            if span is not None:
                span.end(result, outcome, hops)
        nbytes = len(request.payload) if sliced is None else sliced.nbytes
        self._metrics.answered(user, point, result, arrived, self._clock(), nbytes, outcome)
        with contextlib.suppress(ConnectionError, RuntimeError):
            await self._send(answer)

    def _asked(
        self, request: Request, model: Model, account: Account, arrived: float, trace: TraceContext | None
    ) -> Asked:
        """What a request asks for. Raises `TooManyHops` or `UnknownPoint` if the server does not do that."""
        if request.hops > self._settings.max_hops:
            raise TooManyHops(f"the request has passed {request.hops} tiers; are these each other's upstream?")
        sample: Encoded | SliceRows
        if request.point < len(model.bundle.points):
            point = model.bundle.points[request.point]
            if request.stop and (point.end, request.stop, point.tail_precision) not in model.tails.spans:
                raise UnknownPoint(f"span {point.end}-{request.stop} is not one this server computes")
            sample = Encoded(point, request.payload, self._memory, request.stop)
        else:
            if request.stop:
                raise UnknownPoint("a slice stops where it ends, and nowhere else")
            sample = model.slices.sample(request.point - len(model.bundle.points), request.payload)
        return Asked(sample, request.budget, request.hops, self._user, account.weight, arrived, trace, request.exits)
