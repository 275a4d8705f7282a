"""What the client believes of the link, from what it saw. No clock and no socket in here.

A rate is believed to be log-normal: its natural logarithm wanders (`_DRIFT` of variance a second), and a sample of it
is off by a variance that is learned. That is a Kalman filter of one number. Beside it stands the share of requests that
met an outage: rates do not become small, links stall.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cutpoint.sdk.errors import InputError

__all__ = ["NETWORKS", "PROBABILITIES", "Channel", "ChannelEstimator"]

#: Rates are kept within 1 kbit/s … 1 Gbit/s: beyond that the link is down, or never the bottleneck.
MIN_RATE, MAX_RATE = 1e3, 1e9
#: Bytes of payload in a packet, at most.
PACKET = 1460
#: Seconds that event loops and schedulers add at random; differences below say nothing.
_JITTER = 0.005

#: The belief's fixed samples, best first: quantiles of the standard normal at (i + ½) / 7, and an outage.
QUANTILES: Final = (1.46523, 0.79164, 0.36611, 0.0, -0.36611, -0.79164, -1.46523)
PROBABILITIES: Final = len(QUANTILES) + 1
#: Seconds that an outage lasts, as far as plans are concerned: longer than any answer is worth waiting for.
OUTAGE = 2.0

#: Variance of the rate's logarithm that a second adds, and the most there can be.
_DRIFT, _MOST_VARIANCE = 0.2, 1.5
#: Variance of a sample to begin with, and the least and most of it.
_FIRST_NOISE, _LEAST_NOISE, _MOST_NOISE = 0.1, 0.01, 1.0
#: Weight of a new sample in the noise.
_NOISE_WEIGHT = 0.1
#: A sample this many standard deviations off is no noise: the link has changed.
_CHANGE = 3.0
#: Samples of round trips and of downloads that are remembered; their median is believed.
_REMEMBERED = 7
#: Seconds after which a download says nothing any more. (Round trips are probed, downloads are not.)
_DOWNLOAD_AGE = 10.0
#: An answer met an outage if it took this many times as long as expected, and seconds more.
_LATE, _LATE_BY = 3.0, 0.1
#: Of what is late: how much of the way back to what was believed before is a standard deviation; and the most of it.
_HOPE, _MOST_SPREAD = 0.5, 3.0
#: Share of outages before anything is known, the weight of a request in it, and the seconds in which it is forgotten.
_FIRST_STALL, _STALL_WEIGHT, _STALL_AGE = 0.01, 0.03, 20.0


@dataclass(frozen=True, slots=True)
class Channel:
    """The link as the client believes it to be.

    Attributes:
        uplink: bit/s, in the middle of what may be.
        rtt: seconds, for something small and back.
        spread: standard deviation of the uplink's natural logarithm: how far off `uplink` tends to be.
        downlink: bit/s, in the middle of what may be.
        rtt_spread: seconds by which the round trip is longer, once in six times.
        stall: probability that a request meets an outage.
    """

    uplink: float
    rtt: float
    spread: float = 0.0
    downlink: float = MAX_RATE
    rtt_spread: float = 0.0
    stall: float = 0.0

    def samples(self) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
        """Fixed samples of the belief, from the best case to an outage; `PROBABILITIES` of them.

        Returns:
            Uplink rates in bit/s, round-trip times in seconds, probabilities that sum up to 1.
        """
        likely = (1.0 - self.stall) / len(QUANTILES)
        # Steps of the exponent are computed once for both sides of the median.
        far, mid, near = (math.exp(self.spread * z) for z in QUANTILES[:3])
        up = self.uplink
        later = [self.rtt + self.rtt_spread * z for z in QUANTILES[2::-1]]
        return (
            (up * far, up * mid, up * near, up, up / near, up / mid, up / far, up),
            (self.rtt, self.rtt, self.rtt, self.rtt, *later, self.rtt + OUTAGE),
            (likely,) * len(QUANTILES) + (self.stall,),
        )


@dataclass(frozen=True, slots=True)
class _Typical:
    """What a kind of network is like before anything was measured: bit/s and seconds."""

    uplink: float
    downlink: float
    rtt: float


#: Kinds of networks that `ChannelEstimator.network_changed` knows.
NETWORKS: Final[dict[str, _Typical]] = {
    "ethernet": _Typical(100e6, 100e6, 0.005),
    "wifi": _Typical(20e6, 40e6, 0.010),
    "5g": _Typical(20e6, 100e6, 0.025),
    "lte": _Typical(4e6, 20e6, 0.050),
    "3g": _Typical(0.8e6, 3e6, 0.100),
}


class _LogRate:
    """Belief about one rate: a scalar Kalman filter over its natural logarithm."""

    def __init__(self, rate: float) -> None:
        self.mean = math.log(rate)
        self.variance = 1.0
        self.noise = _FIRST_NOISE
        self.seen_at = -math.inf
        self._at = 0.0
        self._seen = False

    def expect(self, rate: float) -> None:
        """Begins anew at `rate`, unsure of it."""
        self.mean = math.log(rate)
        self.variance = 1.0
        self._seen = False

    def variance_at(self, now: float) -> float:
        """Variance of the mean's logarithm: silence makes unsure."""
        return min(_MOST_VARIANCE, self.variance + _DRIFT * max(0.0, now - self._at))

    def observe(self, rate: float, weight: float, now: float) -> None:
        """A sample in bit/s; `weight` of 1 counts in full, less makes it noisier."""
        sample = math.log(min(MAX_RATE, max(MIN_RATE, rate)))
        surprise = sample - self.mean
        prior = self.variance_at(now)
        noise = self.noise / max(weight, 1e-3)
        if not self._seen:
            prior = _MOST_VARIANCE / max(1e-3, 1.0 - weight)
        elif surprise * surprise > _CHANGE * _CHANGE * (prior + noise):
            prior = surprise * surprise
        else:
            excess = weight * (surprise * surprise - prior - self.noise)
            self.noise = min(_MOST_NOISE, max(_LEAST_NOISE, self.noise + _NOISE_WEIGHT * excess))
        gain = prior / (prior + noise)
        self.mean += gain * surprise
        self.variance = (1.0 - gain) * prior
        self._at = now
        self._seen = True
        if weight >= 0.5:
            self.seen_at = now


class ChannelEstimator:
    """Turns what the link did into a belief about it. All times are seconds; `now` never goes back.

    Args:
        uplink: bit/s to begin with.
        downlink: bit/s to begin with.
        rtt: seconds to begin with.
    """

    #: Bytes of an upload that counts in full: a packet. Less weighs less: the times of small uploads are mostly jitter.
    FULL_SAMPLE = PACKET

    def __init__(self, uplink: float = 5e6, downlink: float = 25e6, rtt: float = 0.05) -> None:
        self._uplink = _LogRate(uplink)
        self._begin(downlink, rtt)

    def _begin(self, downlink: float, rtt: float) -> None:
        self._downlink = downlink
        #: Arrival and seconds a byte.
        self._downloads: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)
        self._trips = deque([rtt], maxlen=_REMEMBERED)
        self._stall = _FIRST_STALL
        self._stall_at = 0.0
        #: When the last request that met an outage got through.
        self._restored_at = -math.inf

    @property
    def rated_at(self) -> float:
        """When something that was large enough last told the uplink's rate."""
        return self._uplink.seen_at

    # -- the belief ----------------------------------------------------------------------------------------------

    def channel(self, now: float, nbytes: int = 0, waiting: float = 0.0) -> Channel:
        """The belief at `now`.

        Args:
            now: seconds.
            nbytes: of the oldest upload that should have been answered.
            waiting: seconds for which it has been on its way. The rate is at most what lets it be so late; nothing of
                that is left once the answer is there and tells how it really was.
        """
        rtt, rtt_spread = self._round_trip()
        up = self._uplink
        mean, spread = up.mean, math.sqrt(up.variance_at(now) + up.noise)
        if waiting > rtt + rtt_spread + _JITTER:
            bound = math.log(max(MIN_RATE, nbytes * 8 / (waiting - rtt)))
            # It may stay like that, or be over this moment.
            spread = min(_MOST_SPREAD, spread + _HOPE * max(0.0, mean - bound))
            mean = min(mean, bound)
        return Channel(
            uplink=math.exp(mean),
            rtt=rtt,
            spread=spread,
            downlink=1.0 / self._download(now),
            rtt_spread=rtt_spread,
            stall=self._stall_share(now),
        )

    def usual(self) -> tuple[float, float]:
        """Seconds of a byte, and of the round trip: in the middle of what may be, whatever is late."""
        return 8 / math.exp(self._uplink.mean), self._round_trip()[0]

    def _stall_share(self, now: float) -> float:
        """Without news it goes back to what it was at first: a device that stays away would never learn better."""
        kept = math.exp(-max(0.0, now - self._stall_at) / _STALL_AGE)
        return _FIRST_STALL + kept * (self._stall - _FIRST_STALL)

    def _round_trip(self) -> tuple[float, float]:
        """Median, and how much longer the second longest is: one spike in a while is an outage's, not the path's."""
        ordered = sorted(self._trips)
        middle = (len(ordered) - 1) // 2
        return ordered[middle], ordered[max(middle, len(ordered) - 2)] - ordered[middle]

    def _download(self, now: float) -> float:
        """Seconds a bit."""
        ordered = sorted(seconds for at, seconds in self._downloads if now - at < _DOWNLOAD_AGE)
        if not ordered:
            return 1.0 / self._downlink
        return min(1.0 / MIN_RATE, max(1.0 / MAX_RATE, ordered[(len(ordered) - 1) // 2] / 8))

    def _expected(self, nbytes: int, answer: int, now: float) -> float:
        """Seconds that an upload and its answer probably take, without the server."""
        up = nbytes * 8 / math.exp(self._uplink.mean)
        return up + self._round_trip()[0] + answer * 8 * self._download(now)

    # -- what was seen -------------------------------------------------------------------------------------------

    def network_changed(self, kind: str) -> None:
        """The app says that the network is another one now: what was learned of the old one does not hold.

        Args:
            kind: one of `NETWORKS`.

        Raises:
            InputError: if there is no such kind.
        """
        typical = NETWORKS.get(kind)
        if typical is None:
            raise InputError(f"network {kind!r} is not one of {', '.join(NETWORKS)}")
        self._uplink.expect(typical.uplink)
        self._begin(typical.downlink, typical.rtt)

    def observe_upload(self, nbytes: float, seconds: float, now: float) -> None:
        """`nbytes` took `seconds` to arrive, apart from the way there."""
        self._uplink.observe(nbytes * 8 / max(seconds, 1e-9), min(1.0, nbytes / self.FULL_SAMPLE), now)

    def observe_spacing(self, nbytes: int, seconds: float, now: float) -> None:
        """The last of `nbytes` arrived `seconds` after the message before them did.

        Up to a packet of them may have come together with that message, because a packet does not end where a message
        does: half a one is left out. Where there is no more than one, the arrivals say nothing of the rate.
        """
        if nbytes > PACKET and seconds > 0:
            self.observe_upload(nbytes - PACKET / 2, seconds, now)

    def observe_rtt(self, seconds: float) -> None:
        """Something small went there and back in `seconds`."""
        self._trips.append(max(seconds, 1e-5))

    def observe_answer(
        self, sizes: Sequence[int], arrivals: Sequence[float], network: float, answer: int, now: float
    ) -> None:
        """An upload was answered.

        Args:
            sizes: bytes of each frame.
            arrivals: seconds from the arrival of the first frame to that of each, as the server saw it.
            network: seconds from sending to the answer, without the server's own time.
            answer: bytes of the answer.
            now: seconds.
        """
        total = sum(sizes)
        rtt, _ = self._round_trip()
        expected = self._expected(total, answer, now)
        down = answer * 8 * self._download(now)
        if len(sizes) == len(arrivals) and total - sizes[0] > PACKET and arrivals[-1] > 0:
            self.observe_spacing(total - sizes[0], arrivals[-1], now)
            back = network - arrivals[-1] - sizes[0] * 8 / math.exp(self._uplink.mean)
            if answer > PACKET:
                self._downloads.append((now, max(0.0, back - rtt) / answer))
            # Of what took longer, nobody knows whether it was the path or the download.
            if answer <= PACKET or back < rtt:
                self.observe_rtt(back)
        else:
            # Too short to have a spacing: rate and round trip cannot be told apart, and guesses would feed each other.
            if network < rtt:
                self.observe_rtt(network)
            beyond = network - rtt - down
            if beyond > max(_JITTER, 0.3 * rtt):
                self.observe_upload(total, beyond, now)
        self._judge(network, expected, now)

    def observe_delivery(self, nbytes: int, seconds: float, now: float) -> None:
        """`nbytes` and something small behind them were there and the news of it back within `seconds`.

        That is all that is known of an upload that was called off: the rate is at least that.
        """
        expected = self._expected(nbytes, 0, now)
        took = max(seconds - self._round_trip()[0], _JITTER)
        if nbytes * 8 / took > math.exp(self._uplink.mean):
            self.observe_upload(nbytes, took, now)
        self._judge(seconds, expected, now)

    def observe_kernel(self, rtt: float, uplink: float | None, now: float) -> None:
        """The kernel's smoothed round-trip time in seconds, and the bit/s it delivered lately, where it knows them."""
        self.observe_rtt(rtt)
        if uplink is not None:
            self._uplink.observe(uplink, 0.5, now)

    def _judge(self, seconds: float, expected: float, now: float) -> None:
        """Something was there after `seconds`: was that an outage?

        What left before the last outage was over met that one, which counts once.
        """
        if now - seconds >= self._restored_at:
            stalled = seconds > _LATE * expected + _LATE_BY
            self.observe_outcome(stalled, now)
            if stalled:
                self._restored_at = now

    def observe_outcome(self, stalled: bool, now: float) -> None:
        """A request met an outage, or did not."""
        share = self._stall_share(now)
        self._stall = share + _STALL_WEIGHT * ((1.0 if stalled else 0.0) - share)
        self._stall_at = now
