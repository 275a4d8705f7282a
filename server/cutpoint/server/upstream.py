"""The next tier, as this server sees it: a link to it, and what is believed of both."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from ssl import SSLContext

from cutpoint.sdk.bundle import Bundle, Point
from cutpoint.sdk.channel import Channel, ChannelEstimator
from cutpoint.sdk.link import Link
from cutpoint.sdk.monitor import LinkMonitor
from cutpoint.sdk.protocol import Result, ServerState, TraceContext
from cutpoint.sdk.times import LinkTimes
from cutpoint.server.speed import Speed

__all__ = ["Upstream"]

#: Bytes that a result has beside its tensors; generous.
_RESULT_OVERHEAD = 1 << 16


class Upstream:
    """Asks the next tier about one bundle, and learns what the way there and the tier itself are like.

    Args:
        url: of the next tier.
        bundle: that both hold.
        estimator: of the way there, which all bundles share.
        token: bearer token.
        ssl: for ``wss``; None for the system's certificates.
        times: of the link.
        clock: monotonic seconds.
        rng: for the jitter of reconnecting.

    """

    def __init__(
        self,
        url: str,
        bundle: Bundle,
        estimator: ChannelEstimator,
        *,
        token: str | None,
        ssl: SSLContext | None,
        times: LinkTimes,
        clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self._speed = Speed(clock)
        self._bundle = bundle
        self._clock = clock
        self._monitor = LinkMonitor(estimator, times.probe)
        limit = 2 * bundle.manifest.boundaries[-1].nbytes + _RESULT_OVERHEAD
        self._link = Link(
            url, bundle.hash, self._monitor, limit, token=token, ssl=ssl, times=times, clock=clock, rng=rng
        )
        self._starting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to connect, where that has not begun."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._link.start(), name="cutpoint-upstream")

    async def close(self) -> None:
        """Closes the connection; what waits for an answer fails with `LinkError`."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
            await self._link.close()

    @property
    def up(self) -> bool:
        """Whether it can be asked now: it is there, has room on the connection, and is not going away."""
        return self._link.up and not self._link.full and not self.state.draining

    @property
    def state(self) -> ServerState:
        """Its last word about itself."""
        return self._link.server

    @property
    def on_the_way(self) -> float:
        """Bytes that are on the way there."""
        return self._monitor.on_the_way(self._clock())

    @property
    def scale(self) -> float:
        """How many times slower than in calibration it computes, together with whatever is behind it."""
        # What it said of itself when it last said anything.
        self._speed.found = self._link.scale
        return self._speed.scale

    def channel(self) -> Channel | None:
        """The belief about the way there; None while it cannot be asked."""
        return self._monitor.channel(self._clock()) if self.up else None

    def wanted(self) -> None:
        """A request came in: it is worth knowing what the way is like, and to have it open."""
        self._monitor.asked(self._clock())
        self._link.wake()

    async def ask(
        self, point: Point, payload: bytes, budget: float, hops: int, trace: TraceContext | None = None
    ) -> Result:
        """Passes a request on, and waits for the answer. Cancelling this cancels it there.

        Args:
            point: of the request.
            payload: what its codec wrote.
            budget: seconds that are left; 0 for no limit.
            hops: tiers that it has passed, this one included.
            trace: whose part it is.

        Raises:
            LinkError: if there is no connection or it goes away.
            Refused: if the next tier answers with an error.
        """
        expected = point.measured.decode_ms + point.measured.tail_ms
        number = self._bundle.point_number(point.id)
        # A tier that does not know of tiers passes nothing on: no circle goes through it.
        passed = hops if self._link.tiers else 0
        server_s = expected * self.scale / 1e3
        result = await self._link.request(number, payload, budget, server_s, [], hops=passed, trace=trace)
        self._speed.observe(result.timings.decode_ms + result.timings.tail_ms, expected)
        return result
