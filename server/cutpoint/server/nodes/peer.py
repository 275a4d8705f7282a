"""A further node of the group, over the network: its reports, and connections for requests."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl as ssl_module
from collections.abc import Callable, Iterable
from math import inf

import aiohttp
import msgspec

from cutpoint.sdk.channel import ChannelEstimator
from cutpoint.sdk.errors import LinkError
from cutpoint.sdk.link import Link
from cutpoint.sdk.monitor import LinkMonitor
from cutpoint.sdk.protocol import Result, TraceContext
from cutpoint.sdk.times import Backoff, LinkTimes
from cutpoint.server.models import Model
from cutpoint.server.nodes.planner import Path
from cutpoint.server.nodes.report import NodeReport
from cutpoint.server.nodes.roster import Member

__all__ = ["Peer"]

log = logging.getLogger("cutpoint.server")

#: Seconds between looks at a node, and after which one that says nothing is given up: up to so many if it answers late.
_EVERY, _PROBE, _SILENCE, _LONGEST = 0.5, 0.4, 0.6, 2.4
_TIMES = LinkTimes(
    connect=1.0, probe=_PROBE, silence=_SILENCE, longest_silence=_LONGEST, backoff=Backoff(0.05, 1.0), eager=_PROBE
)
#: Frames of a request: their distance tells the rate, and each is work at both ends.
_PIECES = 2
#: Bit/s and seconds of the link to begin with: servers are rarely far from each other.
_RATE, _RTT = 2e8, 0.002


class Peer:
    """Follows a node, and asks it.

    Args:
        url: ``ws://host:port`` or ``wss://…``.
        models: what is served here.
        own: id of this node's reports.
        token: bearer token.
        ssl: for ``wss``; None for the system's certificates.
        clock: monotonic seconds.
        rng: for the jitter of reconnecting.
        told: called with the news of each look; None if the node is not there.
    """

    def __init__(
        self,
        url: str,
        models: Iterable[Model],
        own: str,
        token: str | None,
        ssl: ssl_module.SSLContext | None,
        clock: Callable[[], float],
        rng: random.Random,
        told: Callable[[str, Member | None], None],
    ) -> None:
        self.url = url
        self._models = models
        self._own = own
        self._token = token
        self._ssl = ssl
        self._clock = clock
        self._rng = rng
        self._told = told
        self._links: dict[str, tuple[Link, LinkMonitor]] = {}
        self._member: Member | None = None

    async def follow(self) -> None:
        """Looks at the node again and again; ends when it is cancelled."""
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        timeout = aiohttp.ClientTimeout(total=_SILENCE)
        try:
            async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
                while True:
                    await self._look(session)
                    self._told(self.url, self._member)
                    await asyncio.sleep(_EVERY)
        finally:
            await asyncio.gather(*(link.close() for link, _ in self._links.values()))
            self._links.clear()

    def wait(self, model: str) -> float:
        """Seconds that a request would wait there, by the node's last word; infinite if it takes no more from here."""
        found = self._links.get(model)
        return inf if found is None or found[0].full else found[0].server.queue_ms / 1e3

    async def request(
        self,
        model: str,
        point: int,
        payload: bytes,
        budget: float,
        expected: float,
        stop: int,
        trace: TraceContext | None = None,
    ) -> Result:
        """The node's answer to a request, which it computes itself.

        Args:
            model: hash of the bundle.
            point: its number.
            payload: what its codec wrote.
            budget: seconds; 0 for no limit.
            expected: seconds that the node will probably take.
            stop: boundary whose tensors are wanted; the last for the outputs.
            trace: whose part it is.

        Raises:
            LinkError: if there is no connection, or it goes away.
            Refused: if the node answers with an error.
        """
        found = self._links.get(model)
        if found is None:
            raise LinkError(f"{self.url} does not serve this bundle")
        return await found[0].request(point, payload, budget, expected, [], stop=stop, hops=1, trace=trace)

    async def _look(self, session: aiohttp.ClientSession) -> None:
        report = await self._report(session)
        if report is not None and report.id == self._own:
            self._member = None
            return
        if report is not None:
            await self._connect(report)
        up = [monitor for link, monitor in self._links.values() if link.up]
        report = report or (self._member.report if self._member is not None else None)
        if report is None or not up:
            self._member = None
            return
        now = self._clock()
        for monitor in up:
            monitor.asked(now)
        channel = up[0].channel(now)
        self._member = Member(
            report, Path(channel.rtt / 2, 8 / channel.uplink), Path(channel.rtt / 2, 8 / channel.downlink)
        )

    async def _report(self, session: aiohttp.ClientSession) -> NodeReport | None:
        """What the node says; None if it says nothing."""
        url = "http" + self.url.removeprefix("ws").rstrip("/") + "/v1/node"
        try:
            async with session.get(url, ssl=self._ssl if self._ssl is not None else True) as response:
                if response.status != 200:
                    log.debug("%s answered %d", url, response.status)
                    return None
                return msgspec.json.decode(await response.read(), type=NodeReport)
        except (aiohttp.ClientError, OSError, TimeoutError, msgspec.DecodeError) as error:
            log.debug("%s: %r", url, error)
            return None

    async def _connect(self, report: NodeReport) -> None:
        """Keeps a connection for each bundle that both ends serve."""
        shared = {model.hash: model for model in self._models if model.hash in report.models}
        for bundle_hash in self._links.keys() - shared.keys():
            link, _ = self._links.pop(bundle_hash)
            await link.close()
        for bundle_hash, model in shared.items():
            if bundle_hash in self._links:
                self._links[bundle_hash][0].wake()
                continue
            monitor = LinkMonitor(ChannelEstimator(_RATE, _RATE, _RTT), _TIMES.probe)
            largest = max(boundary.nbytes for boundary in model.bundle.manifest.boundaries)
            link = Link(
                self.url,
                bundle_hash,
                monitor,
                2 * largest + (1 << 20),
                token=self._token,
                ssl=self._ssl,
                times=_TIMES,
                pieces=_PIECES,
                clock=self._clock,
                rng=self._rng,
            )
            self._links[bundle_hash] = link, monitor
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TIMES.connect):
                    await link.start()
