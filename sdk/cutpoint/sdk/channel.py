"""What the client believes of the link, from what it saw. No clock and no socket in here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Channel", "ChannelEstimator"]

#: Rates are kept within 1 kbit/s … 1 Gbit/s: beyond that the link is down, or never the bottleneck.
MIN_RATE, MAX_RATE = 1e3, 1e9
#: Bytes of payload in a packet, at most.
PACKET = 1460
#: Seconds that event loops and schedulers add at random; differences below say nothing.
_JITTER = 0.005
#: Weight of a new sample in the variance, and the most it may add: one outage is not a habit.
_SPREAD_WEIGHT, _MOST_SURPRISE = 0.15, 4.0


@dataclass(frozen=True, slots=True)
class Channel:
    """The link as the client believes it to be.

    Attributes:
        uplink: bit/s, in the middle of what may be.
        rtt: seconds, for something small and back.
        spread: standard deviation of the uplink's natural logarithm: how far off `uplink` tends to be.
    """

    uplink: float
    rtt: float
    spread: float = 0.0

    @property
    def cautious_uplink(self) -> float:
        """Bit/s that the uplink has in about five of six cases: one standard deviation below the middle."""
        return self.uplink * math.exp(-self.spread)


class ChannelEstimator:
    """Rate and round-trip time as moving averages; the rate's is geometric, because rates spread over decades.

    Args:
        uplink: bit/s to begin with.
        rtt: seconds to begin with.
        weight: of a new sample of a full-sized upload, 0 … 1. Small uploads weigh less: their times are mostly jitter.
    """

    #: Bytes of an upload that counts in full: about one packet.
    FULL_SAMPLE = 1200

    def __init__(self, uplink: float = 5e6, rtt: float = 0.05, weight: float = 0.5) -> None:
        self._log_uplink = math.log(uplink)
        self._rtt = rtt
        self._weight = weight
        self._variance = 0.25
        self._rate_seen = False
        self._rtt_seen = False

    @property
    def channel(self) -> Channel:
        """The present belief."""
        return Channel(math.exp(self._log_uplink), self._rtt, math.sqrt(self._variance))

    def observe_upload(self, nbytes: int, seconds: float) -> None:
        """`nbytes` took `seconds` to arrive, apart from the way there."""
        rate = nbytes * 8 / max(seconds, 1e-9)
        sample = math.log(min(MAX_RATE, max(MIN_RATE, rate)))
        weight = self._weight * min(1.0, nbytes / self.FULL_SAMPLE) if self._rate_seen else 1.0
        surprise = sample - self._log_uplink
        if self._rate_seen:
            self._variance += _SPREAD_WEIGHT * (min(surprise**2, _MOST_SURPRISE) - self._variance)
        self._log_uplink += weight * surprise
        self._rate_seen = True

    def observe_spacing(self, nbytes: int, seconds: float) -> None:
        """The last of `nbytes` arrived `seconds` after the message before them did.

        Up to a packet of them may have come together with that message, because a packet does not end where a message
        does. It is left out; where nothing else remains, the arrivals say nothing of the rate.
        """
        if nbytes > PACKET and seconds > 0:
            self.observe_upload(nbytes - PACKET, seconds)

    def observe_rtt(self, seconds: float) -> None:
        """Something small went there and back in `seconds`."""
        seconds = max(seconds, 1e-5)
        # A shorter time is news of the path; a longer one may only be a queue, and counts less.
        weight = 1.0 if not self._rtt_seen else 0.5 if seconds < self._rtt else 0.2
        self._rtt += weight * (seconds - self._rtt)
        self._rtt_seen = True

    def observe_answer(self, sizes: Sequence[int], arrivals: Sequence[float], network: float) -> None:
        """An upload was answered.

        Args:
            sizes: bytes of each frame.
            arrivals: seconds from the arrival of the first frame to that of each, as the server saw it.
            network: seconds from sending to the answer, without the server's own time.
        """
        total = sum(sizes)
        if len(sizes) == len(arrivals) and total - sizes[0] > PACKET:
            self.observe_spacing(total - sizes[0], arrivals[-1])
        elif network - self._rtt > max(_JITTER, 0.3 * self._rtt):
            # Too short to have a spacing, but it took longer than the empty path does.
            self.observe_upload(total, network - self._rtt)
        self.observe_rtt(network - total * 8 / self.channel.uplink)

    def observe_late(self, nbytes: int, seconds: float) -> None:
        """`nbytes` were not answered within `seconds`: the rate is at most that, whatever was believed."""
        bound = max(MIN_RATE, nbytes * 8 / max(seconds - self._rtt, 1e-3))
        self._log_uplink = min(self._log_uplink, math.log(bound))
        self._rate_seen = True
