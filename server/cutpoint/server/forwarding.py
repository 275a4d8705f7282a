"""What a server with a next tier does with a request: finish it, pass it on as it is, or go on to a later cut first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec

from cutpoint.sdk.bundle import Bundle, Measurement, Point
from cutpoint.sdk.objective import Objective
from cutpoint.sdk.policy import AdaptivePolicy, Plan
from cutpoint.sdk.predictor import Conditions
from cutpoint.server.tails import LoadedTails, span_ms

__all__ = ["Chooser", "Forwarding", "Way"]

#: Nothing is raced: a server has other requests to compute. What probably is lost is computed here, too.
_OBJECTIVE = Objective(hedge_price=0.25, hedge_share=0.0)


@dataclass(frozen=True, slots=True)
class Way:
    """How a request goes on.

    Attributes:
        kind: ``finished`` here, ``relayed`` as it came, or ``forwarded`` at a later cut.
        onward: the point at which the next tier gets it; None where it is finished here.
    """

    kind: Literal["finished", "relayed", "forwarded"]
    onward: Point | None = None


_FINISHED = Way("finished")


class Chooser(Protocol):
    """Decides what becomes of requests."""

    def choose(self, point: Point, conditions: Conditions, alone: bool) -> tuple[Way, Plan]:
        """The way for a request, and what it will probably take.

        Args:
            point: at which it arrived.
            conditions: now.
            alone: whether its payload means something without others, so that it can be relayed.
        """
        ...


class Forwarding:
    """Chooses a way for each request of a bundle, by the policy with which a device chooses a point.

    For it this server is the device: to finish is to answer alone, to relay costs it nothing, and to forward costs a
    decoder, a span and an encoder.

    Args:
        bundle: that both tiers hold.
        loaded: what of it can be computed here.
        drop: task metric that the codec of a later cut may cost beside the request's own.
    """

    def __init__(self, bundle: Bundle, loaded: LoadedTails, drop: float) -> None:
        self._bundle = bundle
        self._loaded = loaded
        self._floor = bundle.manifest.task.uncut - drop
        self._choices: dict[tuple[str, bool], tuple[AdaptivePolicy, dict[str, Way]]] = {}

    def choose(self, point: Point, conditions: Conditions, alone: bool) -> tuple[Way, Plan]:
        policy, ways = self._choices.get((point.id, alone)) or self._prepare(point, alone)
        plan = policy.choose(conditions)
        return ways[plan.point.id], plan

    def _prepare(self, point: Point, alone: bool) -> tuple[AdaptivePolicy, dict[str, Way]]:
        manifest = self._bundle.manifest
        measured = point.measured
        whole = measured.decode_ms + measured.tail_ms
        points = [Point("finished", manifest.last, manifest.last, Measurement(measured.metric, 0, 0, whole))]
        ways = {"finished": _FINISHED}
        if alone:
            # A request that got here was not answered by an exit.
            here = msgspec.structs.replace(measured, device_ms=0.0, encode_ms=0.0, energy_mj=None, exit_rate=0.0)
            points.append(msgspec.structs.replace(point, id="relayed", measured=here, exit=None))
            ways["relayed"] = Way("relayed", point)
        for later in self._bundle.points:
            if self._forwards(point, later):
                span = measured.decode_ms + span_ms(self._bundle, point.end, later.start)
                metric = measured.metric + later.measured.metric - manifest.task.uncut
                its = msgspec.structs.replace(later.measured, metric=metric, device_ms=span, energy_mj=None)
                points.append(msgspec.structs.replace(later, measured=its))
                ways[later.id] = Way("forwarded", later)
        answer = manifest.boundaries[-1].nbytes
        policy = AdaptivePolicy(points, _OBJECTIVE, uncut=manifest.task.uncut, answer_bytes=answer, races=0.0)
        self._choices[point.id, alone] = policy, ways
        return policy, ways

    def _forwards(self, point: Point, later: Point) -> bool:
        return (
            not later.local
            and later.exit is None
            and later.slicing is None
            and (point.end, later.start, point.tail_precision) in self._loaded.spans
            and later.codec in self._loaded.encoders
            and later.measured.metric >= self._floor
        )
