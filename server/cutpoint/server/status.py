"""What the status page shows: the last seconds of the server, as numbers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from typing import NamedTuple

import msgspec
from aiohttp import web

__all__ = [
    "STAGES",
    "UNREFUSED",
    "Activity",
    "Answered",
    "NodeRow",
    "Status",
    "StatusRoutes",
    "UpstreamStatus",
    "quantiles",
]

#: The page loads nothing from anywhere, and talks to nobody but this server.
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'"
#: Outcomes for which the server did, or would have done, what it was asked to.
UNREFUSED = frozenset(("ok", "cancelled"))
#: What a request's time consists of.
STAGES = ("total", "queue", "decode", "tail")
_SHARES = (0.5, 0.95, 0.99)


class Answered(NamedTuple):
    """A request that was answered. Times in milliseconds; None for those that were not computed.

    Attributes:
        at: clock time in seconds.
        user: name of the token, or address.
        point: id, or the name of a tail; empty for a request that names none.
        outcome: ``ok`` or the error's code.
        received: payload bytes.
        total: from arrival to answer.
        queue: wait for a worker.
        decode: decoder.
        tail: tail, of the whole batch.
    """

    at: float
    user: str
    point: str
    outcome: str
    received: int
    total: float
    queue: float | None = None
    decode: float | None = None
    tail: float | None = None


class Quantiles(msgspec.Struct, frozen=True):
    """Milliseconds below which half, 95 and 99 of a hundred requests stay."""

    p50: float
    p95: float
    p99: float


class Row(msgspec.Struct, frozen=True):
    """A user or a point.

    Attributes:
        name: its.
        per_second: requests that were answered with a result.
        refused_per_second: those that were answered with an error, but not because they were cancelled.
        bytes_per_second: received.
        total: their latency on the server; None where none was computed.
    """

    name: str
    per_second: float
    refused_per_second: float
    bytes_per_second: float
    total: Quantiles | None


class NodeRow(msgspec.Struct, frozen=True):
    """A node of the group.

    Attributes:
        name: its address; ``here`` for this one.
        cpu: processors that it may keep busy.
        load: share of them that it uses, 0 … 1.
        tasks: requests that wait there or are computed.
        rtt_ms: of the way there and back.
    """

    name: str
    cpu: float
    load: float
    tasks: int
    rtt_ms: float


class UpstreamStatus(msgspec.Struct, frozen=True):
    """The next tier.

    Attributes:
        url: where it is.
        up: whether it can be asked now.
        uplink_mbps: Mbit/s that the way there is believed to carry.
        rtt_ms: milliseconds there and back.
        queue_ms: what a request would wait for a worker there.
        ways: requests since the start, by what became of them: ``finished``, ``relayed``, ``forwarded``; and those that
            the next tier did not answer, ``failed``.
    """

    url: str
    up: bool
    uplink_mbps: float
    rtt_ms: float
    queue_ms: float
    ways: dict[str, int]


class Status(msgspec.Struct, frozen=True):
    """The server now, and its last `seconds`.

    Attributes:
        server: program and version.
        models: names of what is served.
        draining: whether it takes no new requests.
        uptime: seconds since it began.
        connections: WebSockets that are open.
        waiting: requests without a worker.
        computing: requests that a worker has.
        price: milliseconds others wait for one of tail time.
        seconds: that the rest is about.
        per_second: requests that were answered with a result.
        refused_per_second: those that were answered with an error, but not because they were cancelled.
        latency: of those that were computed, by stage.
        users: busiest first.
        points: busiest first.
        outcomes: requests by what came of them.
        nodes: of the group, this one first; none without peers.
        upstream: the next tier; None where this is the last.
    """

    server: str
    models: tuple[str, ...]
    draining: bool
    uptime: float
    connections: int
    waiting: int
    computing: int
    price: float
    seconds: float
    per_second: float
    refused_per_second: float
    latency: dict[str, Quantiles]
    users: tuple[Row, ...]
    points: tuple[Row, ...]
    outcomes: dict[str, int]
    nodes: tuple[NodeRow, ...] = ()
    upstream: UpstreamStatus | None = None


class Activity:
    """Remembers the requests of the last seconds.

    Args:
        seconds: how long.
        most: requests; on a busier server it is the last ones that count.
        rows: users and points that are listed at most.
    """

    def __init__(self, seconds: float = 10.0, most: int = 20_000, rows: int = 50) -> None:
        self._seconds = seconds
        self._rows = rows
        self._answered: deque[Answered] = deque(maxlen=most)

    def add(self, answered: Answered) -> None:
        """A request was answered. Called in the order of time."""
        self._answered.append(answered)
        self._forget(answered.at)

    def recent(self, now: float) -> tuple[Sequence[Answered], float]:
        """The requests, and the seconds in which they came."""
        answered = self._answered
        self._forget(now)
        full = len(answered) == answered.maxlen
        return tuple(answered), max(now - answered[0].at, 1e-3) if full else self._seconds

    def _forget(self, now: float) -> None:
        answered, oldest = self._answered, now - self._seconds
        while answered and answered[0].at < oldest:
            answered.popleft()

    def rows(self, key: Callable[[Answered], str], recent: Iterable[Answered], seconds: float) -> tuple[Row, ...]:
        """A row for each name that `key` gives, busiest first."""
        groups: dict[str, list[Answered]] = {}
        for answered in recent:
            groups.setdefault(key(answered), []).append(answered)
        busiest = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))[: self._rows]
        return tuple(_row(name, its, seconds) for name, its in busiest)


def _row(name: str, answered: Sequence[Answered], seconds: float) -> Row:
    good = sum(one.outcome == "ok" for one in answered)
    refused = sum(one.outcome not in UNREFUSED for one in answered)
    size = sum(one.received for one in answered)
    return Row(name, good / seconds, refused / seconds, size / seconds, quantiles(answered, "total"))


def quantiles(answered: Iterable[Answered], stage: str) -> Quantiles | None:
    """Of a stage's times in those requests that were computed; None if there are none."""
    times = sorted(getattr(one, stage) for one in answered if one.tail is not None)
    if not times:
        return None
    return Quantiles(*(times[min(len(times) - 1, int(share * len(times)))] for share in _SHARES))


class StatusRoutes:
    """``GET /v1/status``, and the page that shows it.

    Args:
        status: the server's now.
        authorise: raises `web.HTTPException` for a request that may not have it.
    """

    def __init__(self, status: Callable[[], Status], authorise: Callable[[web.Request], object]) -> None:
        self._status = status
        self._authorise = authorise
        self._page = files("cutpoint.server").joinpath("status.html").read_bytes()

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Makes the numbers known to an application; the page shares its address with the WebSocket."""
        router.add_get("/v1/status", self._numbers)

    def page(self) -> web.Response:
        """The page. It holds no secrets, so everybody may have it."""
        headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
        return web.Response(body=self._page, content_type="text/html", charset="utf-8", headers=headers)

    async def _numbers(self, request: web.Request) -> web.Response:
        self._authorise(request)
        headers = {"Cache-Control": "no-store"}
        return web.Response(body=msgspec.json.encode(self._status()), content_type="application/json", headers=headers)
