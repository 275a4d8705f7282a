"""What the demonstration compares: cutpoint, and the three things an app does today."""

from __future__ import annotations

from dataclasses import dataclass

from cutpoint.sdk import AdaptivePolicy, Bundle, Channel, Client, Conditions, LinkTimes, Objective, Point, StaticPolicy
from cutpoint.sdk.client import Mode
from cutpoint.sdk.policy import admissible
from cutpoint.sdk.testing import Trace

__all__ = ["Strategy", "device_work_ms", "make_strategies"]


@dataclass(frozen=True, slots=True)
class Strategy:
    """A way to answer requests.

    Attributes:
        name: for people.
        mode: of the client.
        point: the only one it uses; None to let the policy choose.
    """

    name: str
    mode: Mode
    point: Point | None = None

    def client(self, url: str, bundle: Bundle, objective: Objective, slowdown: float) -> Client:
        """A client that works this way."""
        policy = None if self.point is None else StaticPolicy(self.point, self.point)
        # A strategy without a fallback has to sit out an outage.
        times = LinkTimes(silence=60.0) if self.mode == "edge" else LinkTimes()
        return Client(url, bundle, objective=objective, mode=self.mode, policy=policy, slowdown=slowdown, times=times)


def device_work_ms(point: Point) -> float:
    """What a request at `point` costs the calibrating machine as a device, in milliseconds."""
    return point.measured.device_ms + point.measured.encode_ms


def make_strategies(
    bundle: Bundle, objective: Objective, trace: Trace, delay: float, device_scale: float
) -> tuple[Strategy, ...]:
    """The strategies for one channel.

    The fixed cut is the best there is for the channel's mean rate, which no app could know beforehand.

    Args:
        bundle: what is run.
        objective: the accuracy floor holds for all of them.
        trace: of the channel.
        delay: of the channel, seconds one way.
        device_scale: how much slower than in calibration the device is.
    """
    points = admissible(bundle.points, objective.floor(bundle.manifest.task.uncut))
    codecs = {codec.id: codec.codec for codec in bundle.manifest.codecs}
    remote = [point for point in points if point.codec is not None]
    cuts = [point for point in remote if point.start > 0]
    pictures = [point for point in bundle.points if point.codec is not None and codecs[point.codec] == "webp"]
    good_pictures = [point for point in pictures if point in remote]
    # The smallest picture that is good enough; if none is, the best.
    webp = (
        min(good_pictures, key=lambda point: point.measured.bytes_mean)
        if good_pictures
        else max(pictures, key=lambda point: point.measured.metric)
    )
    known = Conditions(Channel(trace.mean, 2 * delay), device_scale=device_scale)
    fixed = AdaptivePolicy(cuts).choose(known).point
    return (
        Strategy("cutpoint", "auto"),
        Strategy("device only", "device"),
        Strategy("WebP to server", "edge", webp),
        Strategy("fixed cut", "edge", fixed),
    )
