"""What one connection owes the client, and what its answers say of the link. No clock and no socket in here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from cutpoint.sdk.channel import PACKET, Channel, ChannelEstimator

__all__ = ["LinkMonitor"]

#: Without requests for the first time, a link is probed no more often than the second says; seconds.
_IDLE, _IDLE_PROBE = 10.0, 15.0
#: Looks for each probe of a link in use: the next one is due a second after the news of the last, not after two.
_LOOKS = 4
#: Packets of a probe's padding, and the milliseconds for which fewer have to keep the link busy.
_PACKETS, _PADDING_MS = 3, 10.0
#: Where energy counts probes are that many times rarer, and as long as none leads to a request up to this many times.
_THRIFT, _RAREST = 1.5, 32.0
#: Bytes of a ping, a cancellation, or a refusal on the wire, roughly.
_SMALL = 60


@dataclass(slots=True)
class _Pending:
    """Something that the server will answer."""

    sizes: tuple[int, ...]
    sent_at: float
    server_s: float
    cancelled: bool = False
    #: Of a sliced request: where the frames of each part begin.
    parts: tuple[int, ...] = ()


class LinkMonitor:
    """Keeps account of what was sent and not answered, and tells the estimator what each answer says.

    All times are seconds; `now` never goes back.

    Args:
        estimator: of the channel.
        probe: seconds between probes of a link that has nothing to carry while requests come, answered by the device.
        thrifty: whether energy matters more than time. Then probes are smaller on slow links, and become rarer as long
            as none leads to a request: what they cost, and keeping the radio awake, was in vain.
    """

    def __init__(self, estimator: ChannelEstimator, probe: float = 1.0, thrifty: bool = False) -> None:
        self.estimator = estimator
        self.heard_at = 0.0
        self._thrifty = thrifty
        self._probe = self._interval = probe * _THRIFT if thrifty else probe
        self._pending: dict[int, _Pending] = {}
        self._asked_at: float | None = None
        self._probed_at: float | None = None
        self._padding = 0
        self._probe_alone = False
        self._first_pong: tuple[float, float] | None = None

    # -- the present ---------------------------------------------------------------------------------------------

    @property
    def unanswered(self) -> int:
        """Bytes of requests that wait for an answer."""
        return sum(sum(pending.sizes) for pending in self._pending.values())

    def on_the_way(self, now: float) -> float:
        """Bytes of them that have probably not arrived: at the believed rate, one request after the other.

        One whose answer is overdue counts in full: who knows what the link does.
        """
        if not self._pending:
            return 0.0
        byte_s, rtt = self.estimator.usual()
        left, free = 0.0, -math.inf
        for pending in self._pending.values():
            nbytes = sum(pending.sizes)
            free = max(free, pending.sent_at) + nbytes * byte_s
            late = now > free + pending.server_s + rtt
            # When the later parts of a sliced request left is not known.
            left += nbytes if late or pending.parts else min(nbytes, max(0.0, free - now) / byte_s)
        return left

    def channel(self, now: float) -> Channel:
        """The belief, in the light of what is late."""
        nbytes, since = 0, now
        if self._probed_at is not None:
            nbytes, since = 2 * _SMALL + self._padding, self._probed_at
        for pending in self._pending.values():
            due = pending.sent_at + pending.server_s
            if due < since:
                nbytes, since = sum(pending.sizes), due
        return self.estimator.channel(now, nbytes, now - since)

    def silent(self, now: float) -> float:
        """Seconds for which something has been due and nothing at all has come."""
        waiting = [pending.sent_at for pending in self._pending.values()]
        waiting += [] if self._probed_at is None else [self._probed_at]
        return now - max(min(waiting), self.heard_at) if waiting else 0.0

    def wants_probe(self, now: float) -> bool:
        """Whether it is time for a probe: two pings back to back, the second one with `padding`."""
        if self._probed_at is not None:
            return False
        idle = self._idle(now)
        if now - self.heard_at >= (_IDLE_PROBE if idle else self._interval):
            return True
        # Small uploads go through, but do not tell whether larger ones would.
        return not idle and not self._pending and now - self.estimator.rated_at >= self._interval

    def padding(self, now: float) -> int:
        """Bytes of a probe's second ping now: the rate shows in how far it comes behind the first.

        Whole packets, if energy counts fewer on slow links: there they take long enough to be told from jitter.
        """
        if not self._thrifty:
            return PACKET * _PACKETS
        return PACKET * min(_PACKETS, math.ceil(_PADDING_MS / 8e3 * self.channel(now).uplink / PACKET))

    def rest(self, now: float) -> float:
        """Seconds after which to look again whether a probe is due, or the link silent."""
        return self._probe if self._idle(now) else self._probe / _LOOKS

    def _idle(self, now: float) -> bool:
        return self._asked_at is not None and now - self._asked_at > _IDLE

    # -- what happens --------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """The connection is gone, and with it what it owed."""
        self._pending.clear()
        self._probed_at = self._first_pong = None

    def asked(self, now: float) -> None:
        """The app wants an answer, wherever it will come from: it is worth knowing what the link is like."""
        self._asked_at = now

    def heard(self, now: float) -> None:
        """Anything at all came from the server."""
        self.heard_at = now

    def sent(self, number: int, sizes: Sequence[int], server_s: float, now: float) -> None:
        """Request `number` leaves in frames of `sizes` bytes; the server will probably compute for `server_s`."""
        self._pending[number] = _Pending(tuple(sizes), now, server_s)
        self._interval = self._probe

    def sent_part(self, number: int, sizes: Sequence[int]) -> None:
        """A further part of request `number` leaves in frames of `sizes` bytes."""
        pending = self._pending.get(number)
        if pending is not None:
            pending.parts = (*(pending.parts or (0,)), len(pending.sizes))
            pending.sizes = (*pending.sizes, *sizes)

    def cancelled(self, number: int) -> None:
        """Request `number` was called off; the server will confirm that, or its answer is on the way."""
        if number in self._pending:
            self._pending[number].cancelled = True

    def answered(self, number: int, arrivals: Sequence[float], server_s: float, answer: int, now: float) -> None:
        """The result of request `number` came.

        Args:
            number: of the request.
            arrivals: seconds from the arrival of its first frame to that of each.
            server_s: that the server took for it.
            answer: bytes of the result.
            now: seconds.
        """
        pending = self._pending.pop(number, None)
        if pending is not None and pending.parts:
            self._parts_arrived(pending, arrivals, now)
        elif pending is not None:
            self.estimator.observe_answer(pending.sizes, arrivals, now - pending.sent_at - server_s, answer, now)

    def _parts_arrived(self, pending: _Pending, arrivals: Sequence[float], now: float) -> None:
        """Between parts the device computed: only frames of one part tell the rate, and nothing the round trip."""
        sizes = pending.sizes
        if len(sizes) != len(arrivals):
            return
        for first, stop in pairwise((*pending.parts, len(sizes))):
            behind, spacing = sum(sizes[first + 1 : stop]), arrivals[stop - 1] - arrivals[first]
            if behind > PACKET and spacing > 0:
                self.estimator.observe_spacing(behind, spacing, now)

    def refused(self, number: int, now: float) -> None:
        """An error came instead of a result: all that was sent has arrived, or as good as that."""
        pending = self._pending.pop(number, None)
        if pending is not None and pending.cancelled and not pending.parts:
            self.estimator.observe_delivery(sum(pending.sizes), now - pending.sent_at, now)

    def probed(self, padding: int, now: float) -> None:
        """Both pings of a probe leave, the second one with `padding` bytes."""
        self._probed_at, self._padding = now, padding
        self._probe_alone = not self._pending
        if self._thrifty:
            self._interval = min(2 * self._interval, _RAREST * self._probe)

    def pong(self, sent: float, received: float, now: float) -> None:
        """A ping that left at `sent` was received at `received` (by the server's clock), and its answer came."""
        first, self._first_pong = self._first_pong, None
        if first is None or first[0] != sent:
            self._first_pong = sent, received
            if self._probe_alone:  # a ping behind an upload says nothing of the empty path
                self.estimator.observe_rtt(now - sent)
        else:
            # The packet pair of a probe. On an idle link the first ping left in a packet of its own.
            spacing = received - first[1]
            if not self._probe_alone:
                self.estimator.observe_spacing(self._padding, spacing, now)
            elif spacing > 0:
                self.estimator.observe_upload(self._padding + _SMALL, spacing, now)
            self._probed_at = None
