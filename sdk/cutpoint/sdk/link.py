"""The connection to the server: the protocol on an aiohttp WebSocket, kept up in the background."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import socket
import ssl as ssl_module
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from typing import NoReturn

import aiohttp
import msgspec

from cutpoint.sdk.answers import Answers
from cutpoint.sdk.errors import (
    BundleMismatch,
    InputError,
    LinkError,
    ProtocolError,
    Refused,
    RemoteProtocolError,
    refusal,
)
from cutpoint.sdk.monitor import LinkMonitor
from cutpoint.sdk.parts import Parts, send_rest
from cutpoint.sdk.protocol import (
    EXITS,
    EXTENSIONS,
    IDLE,
    MAX_FRAMES,
    SLICES,
    TIERS,
    TRACE,
    VERSION,
    Cancel,
    Connection,
    Error,
    Goaway,
    Hello,
    Part,
    Ping,
    Pong,
    Request,
    Result,
    Role,
    ServerState,
    TraceContext,
    Welcome,
)
from cutpoint.sdk.silence import SilenceLimit
from cutpoint.sdk.times import LinkTimes
from cutpoint.sdk.websocket import WebSocket

__all__ = ["Link"]

log = logging.getLogger("cutpoint.link")

#: Share of a request's time that the way is believed to take, at most.
_MOST_ON_WAY = 0.5
#: Seconds, beside twice the way, within which a cancellation is confirmed where nothing holds it up.
_PROMPT = 0.05


class Link:
    """Keeps a connection to the server, and asks it.

    Args:
        url: ``ws://host:port`` or ``wss://…``; a path may follow.
        bundle_hash: of the client's bundle.
        monitor: told about everything that says something about the channel.
        frame_limit: longest frame that a result may have, in bytes.
        token: bearer token.
        ssl: for ``wss``; None for the system's certificates.
        times: see `LinkTimes`.
        pieces: frames that a request is split into: fewer cost less, more say more of the link.
        clock: monotonic seconds.
        rng: for the jitter of reconnecting.

    Attributes:
        server: the server's last word about itself.
        scale: how many times slower than in calibration the server said it computes; 1 where it said nothing.
        refusal: why the server last refused the connection; None if it did not.
        outdated: set once the server has said that the bundle has a successor, or that it does not hold it.
    """

    def __init__(
        self,
        url: str,
        bundle_hash: str,
        monitor: LinkMonitor,
        frame_limit: int,
        *,
        token: str | None = None,
        ssl: ssl_module.SSLContext | None = None,
        times: LinkTimes | None = None,
        pieces: int = MAX_FRAMES,
        clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        if not url.startswith(("ws://", "wss://")):
            raise InputError(f"{url!r} is not a server's address: it starts with ws:// or wss://")
        self._url = url
        self._bundle_hash = bundle_hash
        self._monitor = monitor
        self._frame_limit = frame_limit
        self._token = token or ""
        self._ssl = ssl
        self._times = times or LinkTimes()
        self._silence = SilenceLimit(self._times.silence, self._times.longest_silence)
        self._pieces = pieces
        self._clock = clock
        self._rng = rng
        self._client = f"cutpoint/{version('cutpoint')}"
        self.server: ServerState = IDLE
        self.scale = 1.0
        self.outdated = asyncio.Event()
        self.refusal: Refused | None = None
        self._connection: Connection | None = None
        self._ws: WebSocket | None = None
        self._answers = Answers()
        self._slot_free = asyncio.Event()
        self._up = asyncio.Event()
        self._tried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._tried_at = -math.inf

    # -- for the client ------------------------------------------------------------------------------------------

    @property
    def up(self) -> bool:
        """Whether requests can be sent now."""
        return self._up.is_set()

    @property
    def in_flight(self) -> int:
        """Requests that wait for an answer."""
        return len(self._answers)

    @property
    def tiers(self) -> bool:
        """Whether the server knows of tiers."""
        return self._connection is not None and TIERS in self._connection.extensions

    @property
    def slices(self) -> bool:
        """Whether the server takes payloads in parts."""
        return self._connection is not None and SLICES in self._connection.extensions

    @property
    def full(self) -> bool:
        """Whether the server would not take a further request now."""
        return self._connection is not None and self._connection.in_flight >= self._connection.limits.in_flight

    async def start(self) -> None:
        """Begins to connect, and returns when the first attempt has succeeded or failed."""
        self._task = asyncio.create_task(self._keep_up(), name="cutpoint-link")
        await self._tried.wait()

    async def close(self) -> None:
        """Closes the connection; requests that wait fail with `LinkError`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def wait_up(self) -> None:
        """Returns when the link is up. Raises the server's refusal if trying again is pointless."""
        while not self.up:
            if self.refusal is not None and self.refusal.fatal:
                raise self.refusal
            self._tried.clear()
            waits = [asyncio.ensure_future(self._up.wait()), asyncio.ensure_future(self._tried.wait())]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    def wake(self) -> None:
        """Somebody needs the link: if it is down, tries again soon (at most every `LinkTimes.eager` seconds)."""
        if not self.up and self._clock() - self._tried_at >= self._times.eager:
            self._wake.set()

    def reconnect(self) -> None:
        """Gives the connection up, if there is one, and makes a new one: the old one's network is gone."""
        self._tried_at = -math.inf
        self._wake.set()
        if self._ws is not None:
            self._ws.abort()

    async def request(
        self,
        point: int,
        payload: bytes | Parts,
        budget: float,
        server_s: float,
        sent: list[int],
        unfinished: Callable[[float], None] = lambda seconds: None,
        *,
        stop: int = 0,
        hops: int = 0,
        trace: TraceContext | None = None,
        exits: int = 0,
    ) -> Result:
        """Asks the server and waits for its answer. Cancelling this cancels the request on the server.

        Args:
            point: number of the point.
            payload: what its codec wrote, or writes while it is sent.
            budget: seconds until the answer is of no use; 0 for no limit. The server is told what the way leaves.
            server_s: seconds that the server will probably compute.
            sent: the size of each frame is added here as it is sent, so that it is known also of a request that fails.
            unfinished: called when the server confirms at once that a cancelled request was not done, with the seconds
                that it had had for it beside way and queue, as far as these are known.
            stop: boundary whose tensors are wanted; 0 for the model's outputs.
            hops: tiers that the request has passed.
            trace: whose part the request is; left out where the server does not know of traces.
            exits: how many of the point's exits for servers may answer; left out where the server does not know of any.

        Raises:
            LinkError: if there is no connection or it goes away.
            Refused: if the server answers with an error.
            LocalProtocolError: for a stop or hops, if the server does not know of tiers.
        """
        connection = await self._free_slot()
        number = connection.next_id()
        sent_at = self._clock()
        channel = self._monitor.channel(sent_at)
        first, sliced = (payload.first, True) if isinstance(payload, Parts) else (payload, False)
        on_way = channel.rtt + 8 * len(first) / channel.uplink
        queued = self.server.queue_ms / 1e3
        # A belief: where it leaves no time, the server may still have some.
        budget -= min(on_way, _MOST_ON_WAY * budget)
        trace = trace if TRACE in connection.extensions else None
        exits = exits if EXITS in connection.extensions else 0
        frames = connection.send(Request(number, point, first, budget, stop, hops, trace, exits, sliced))
        answer = self._answers.expect(number)
        self._monitor.sent(number, [len(frame) for frame in frames], server_s, sent_at)
        try:
            await self._write(frames, sent)
            if isinstance(payload, Parts):
                await send_rest(payload, answer, partial(self._send_part, connection, number, payload.count, sent))
            return await answer
        except BaseException:  # Whatever ends it here, the server must not go on.
            unanswered = answer.cancelled() or not answer.done()
            if unanswered and connection is self._connection:
                self._monitor.cancelled(number)
                cancelled_at = self._clock()
                waited = cancelled_at - sent_at - on_way - max(queued, self.server.queue_ms / 1e3)
                self._answers.cancelled(number, cancelled_at + 2 * on_way + _PROMPT, partial(unfinished, waited))
                # Shielded from a second cancellation: the server must learn of the first.
                cancel = asyncio.ensure_future(self._send_all(connection, Cancel(number)))
                with contextlib.suppress(LinkError, ProtocolError):
                    await asyncio.shield(cancel)
            raise
        finally:
            self._answers.forget(number)
            self._slot_free.set()

    async def _send_part(
        self, connection: Connection, request: int, count: int, sent: list[int], number: int, payload: bytes
    ) -> None:
        frames = connection.send(Part(request, number, count, payload))
        self._monitor.sent_part(request, [len(frame) for frame in frames])
        await self._write(frames, sent)

    async def _free_slot(self) -> Connection:
        while True:
            connection = self._connection
            if connection is None or not self.up:
                raise LinkError(f"no connection to {self._url}" + (f": {self.refusal}" if self.refusal else ""))
            if connection.in_flight < connection.limits.in_flight:
                return connection
            self._slot_free.clear()
            await self._slot_free.wait()

    # -- the connection's life -----------------------------------------------------------------------------------

    async def _keep_up(self) -> None:
        connector = aiohttp.TCPConnector(limit=1, force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            attempt = 0
            while True:
                reason: Exception
                try:
                    await self._live_once(session)
                except Refused as error:
                    self.refusal = reason = error
                    if isinstance(error, BundleMismatch):
                        self.outdated.set()
                except (aiohttp.ClientError, OSError, TimeoutError, LinkError, ProtocolError) as error:
                    reason = error
                finally:
                    attempt = 0 if self.up else attempt
                    # Also when something unforeseen ends the task: nobody may wait for it for ever.
                    self._down()
                    self._tried.set()
                delay = self._times.backoff.delay(attempt, self._rng)
                if isinstance(reason, Refused):
                    delay = max(delay, reason.retry_after or 0, self._times.backoff.longest if reason.fatal else 0)
                attempt += 1
                log.info("link to %s is down (%s); trying again in %.1f s", self._url, reason or repr(reason), delay)
                if isinstance(reason, Refused):
                    await asyncio.sleep(delay)
                else:
                    # Not wait_for: it can swallow a cancellation that comes together with what it waits for.
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(delay):
                            await self._wake.wait()
                self._wake.clear()
                self._tried_at = self._clock()

    async def _live_once(self, session: aiohttp.ClientSession) -> NoReturn:
        """Connects and serves one connection until it ends, which raises."""
        connection = Connection(Role.CLIENT, self._frame_limit, pieces=self._pieces)
        ws: WebSocket | None = None
        try:
            async with asyncio.timeout(self._times.connect):
                self._ws = ws = await WebSocket.connect(session, self._url, self._ssl, self._frame_limit)
                greeted_at = self._clock()
                names = self._token, self._client, socket.gethostname()
                hello = Hello((VERSION,), self._bundle_hash, *names, EXTENSIONS)
                await self._send_all(connection, hello)
                welcome = connection.receive(await ws.read(), self._clock())
            if isinstance(welcome, Error):
                raise refusal(welcome.code, welcome.message, welcome.retry_after)
            if not isinstance(welcome, Welcome):
                raise RemoteProtocolError("the server did not answer the hello with a welcome")
            now = self._clock()
            self._monitor.heard(now)
            self._monitor.estimator.observe_rtt(now - greeted_at)
            self._heard_of(welcome.state)
            self.scale = welcome.scale
            self.refusal, self._connection = None, connection
            self._up.set()
            self._tried.set()
            probing = asyncio.create_task(self._probe(connection))
            try:
                while True:
                    await self._handle(connection, connection.receive(await ws.read(), self._clock()))
            finally:
                probing.cancel()
                await asyncio.gather(probing, return_exceptions=True)
        finally:
            if ws is not None:
                await ws.close()

    def _down(self) -> None:
        self._up.clear()
        self._connection = self._ws = None
        self._monitor.reset()
        self._answers.lost(self.refusal or LinkError(f"the connection to {self._url} went away"))
        self._slot_free.set()

    async def _probe(self, connection: Connection) -> None:
        """Looks at the link now and then: gives it up when it is dead, measures it when it is idle."""
        while True:
            rest = self._monitor.rest(began := self._clock())
            await asyncio.sleep(rest)
            now = self._clock()
            # Whoever overslept has not listened either.
            silence = self._monitor.silent(now) - max(0.0, now - began - rest)
            if silence > self._silence.seconds:
                log.info("nothing heard from %s for %.1f s", self._url, silence)
                self._silence.observe(silence)
                if self._ws is not None:
                    self._ws.abort()
                return
            if self._monitor.wants_probe(now):
                padding = self._monitor.padding(now)
                self._monitor.probed(padding, now)
                # Both at once: on a full connection something else would come between them, and pass for a slow link.
                pair = Ping(now), Ping(now, padding)
                await asyncio.gather(*(self._send_all(connection, ping) for ping in pair))

    # -- messages ------------------------------------------------------------------------------------------------

    async def _send_all(self, connection: Connection, event: Hello | Ping | Pong | Cancel) -> None:
        await self._write(connection.send(event), [])

    async def _write(self, frames: Sequence[bytes], sent: list[int]) -> None:
        for frame in frames:
            if self._ws is None:
                raise LinkError(f"the connection to {self._url} went away")
            await self._ws.write(frame)
            sent.append(len(frame))

    def _heard_of(self, state: ServerState) -> None:
        self.server = state
        if state.outdated:
            self.outdated.set()

    async def _handle(self, connection: Connection, event: object) -> None:
        now = self._clock()
        self._monitor.heard(now)
        match event:
            case Result():
                self._heard_of(event.state)
                server_s = (event.timings.queue_ms + event.timings.decode_ms + event.timings.tail_ms) / 1e3
                size = sum(output.nbytes for output in event.outputs)
                self._monitor.answered(event.request_id, event.arrivals, server_s, size, now)
                if self._times.kernel and self._ws is not None:
                    info = self._ws.tcp_info()
                    if info is not None:
                        self._monitor.estimator.observe_kernel(info.rtt, info.uplink, now)
                self._answers.answered(event)
            case Error() if event.request_id:
                self._monitor.refused(event.request_id, now)
                self._answers.refused(event.request_id, refusal(event.code, event.message, event.retry_after), now)
            case Error():
                raise refusal(event.code, event.message, event.retry_after)
            case Ping():
                await self._send_all(connection, Pong(event.sent, now))
            case Pong():
                self._silence.observe(now - event.sent)
                self._heard_of(event.state)
                self._monitor.pong(event.sent, event.received, now)
            case Goaway():
                self.server = msgspec.structs.replace(self.server, draining=True)
