"""The rule that turns points, channel and states into a plan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Final, NamedTuple, Protocol

import msgspec
import numpy as np

from cutpoint.codecs import Array
from cutpoint.sdk.bundle import Bundle, Point
from cutpoint.sdk.energy import EnergyModel
from cutpoint.sdk.following import MARGIN, MARGIN_MS, Prices, cheapest_way
from cutpoint.sdk.objective import Forecast, Objective
from cutpoint.sdk.predictor import WORST_CASE, Conditions, Prediction, Predictor

__all__ = [
    "AdaptivePolicy",
    "Alternative",
    "Plan",
    "Policy",
    "StaticPolicy",
    "admissible",
    "efficient",
    "fastest_alone",
]

#: The case of the belief that is its median.
_MIDDLE = 3
#: How many times dearer energy and work in vain are on a device that should be spared.
_STRAIN = 4.0
#: Races that can be saved up.
_MOST_RACES = 10.0
#: Points that a plan tells about beside the chosen one.
_RUNNERS_UP = 3


class Alternative(NamedTuple):
    """A point that was not chosen, and what it would have cost."""

    point: Point
    cost: float
    latency_ms: float
    energy_mj: float


class Plan(msgspec.Struct, frozen=True):
    """The decision for one request.

    Attributes:
        point: the chosen point.
        predicted_ms: the expected latency.
        device_ms: the part of it that is computed on the device.
        energy_mj: the expected energy of the device.
        cost: what made it win; 0 for policies without one.
        hedge_ms: from the request's start, when the device starts on an answer of its own if there is none by then.
            None to leave it to `Objective.patience`.
        runners_up: the best points that were not chosen, the best first.
    """

    point: Point
    predicted_ms: float
    device_ms: float
    energy_mj: float = 0.0
    cost: float = 0.0
    hedge_ms: float | None = None
    runners_up: tuple[Alternative, ...] = ()


class Policy(Protocol):
    """Chooses a point. Anything with this method can be given to `Client(policy=…)`.

    One that also has an attribute `points`, those it chooses from, spares the client loading others beforehand.
    """

    def choose(self, conditions: Conditions) -> Plan:
        """The plan for a request that starts now. Must give a local point while `conditions.channel` is None."""
        ...


def admissible(points: Sequence[Point], floor: float) -> tuple[Point, ...]:
    """The points whose task metric is at least `floor`; of the local ones always one without exit, the most accurate.

    A device that cannot reach the floor alone still answers alone when the link is gone: late is worse than less sure.
    """
    chosen = [point for point in points if point.measured.metric >= floor]
    if not any(point.local and point.exit is None for point in chosen):
        local = [point for point in points if point.local and point.exit is None]
        chosen += [max(local, key=lambda point: (point.measured.metric, -point.measured.device_ms))]
    return tuple(chosen)


def fastest_alone(points: Sequence[Point]) -> Point:
    """The point with which the device steps in: of the local ones without exit, which was asked before, the fastest."""
    alone = [point for point in points if point.local and point.exit is None]
    return min(alone, key=lambda point: point.measured.device_ms)


def efficient(points: Sequence[Point], by_metric: bool) -> tuple[Point, ...]:
    """The points that no other of their kind beats in everything that has a price, local ones first, sliced ones last.

    With an exit the mean may be better and the worst case worse, so that points with and without are two kinds. Sliced
    points are all kept: what they cost does not say when they are done.

    Args:
        points: to choose from.
        by_metric: whether the task metric has a price.
    """
    kept: list[Point] = []
    for local, exits in product((True, False), (False, True)):
        kind = [p for p in points if p.local is local and (p.exit is not None) is exits and p.slicing is None]
        costs = np.array([_costs(point, by_metric) for point in kind])
        for number, row in enumerate(costs):
            no_worse = np.all(costs <= row, axis=1)
            better = no_worse & np.any(costs < row, axis=1)
            # Of equals the first stays.
            if not better.any() and not no_worse[:number].any():
                kept.append(kind[number])
    return (*kept, *(point for point in points if point.slicing is not None))


def _costs(point: Point, by_metric: bool) -> tuple[float, ...]:
    m = point.measured.expected
    device_ms = m.device_ms + m.encode_ms
    energy = device_ms if m.energy_mj is None else m.energy_mj
    return device_ms, m.bytes_mean, m.decode_ms + m.tail_ms, energy, -m.metric if by_metric else 0.0


class _Ways(NamedTuple):
    """All points, with every rule for when the device steps in.

    Attributes:
        race: whether the first rule is that it starts on an answer of its own as soon as its head is done.
        start: milliseconds after which it does, (ways, points).
        answered: latency in every case without an exit's answer, (ways, cases, points).
        expected: milliseconds until there is an answer, and until the device starts on one of its own if there is none
            before, both as expectations, exits included, (2, ways, points).
        missed: probability that the deadline passes, (ways, points); None without a deadline.
        cost: (ways, points).
    """

    race: bool
    start: Array
    answered: Array
    expected: Array
    missed: Array | None
    cost: Array

    def cheapest(self, point: int) -> int:
        """The rule to follow at a point."""
        column: list[float] = self.cost[:, point].tolist()
        return column.index(min(column))


class AdaptivePolicy:
    """Least expected cost over the samples of the belief, the device's second answer included.

    The channel's samples are a few cases with probabilities, an outage among them. At a remote point the device may
    start on an answer of its own at some time s: then the latency is min(q, s + l) in a case in which the server takes
    q and the device alone l, and the device works for min(q, s + l) - min(q, s) beside it. Both have a price; every
    point is judged with the best s of a few: when its head is done (a race), the worst q that is no outage, and, where
    energy has a price, the q of an outage. That is why no quantile of q has to stand for caution: what is late is
    answered by the device. At a point with an exit, that is what happens to requests that the exit does not answer.

    Args:
        points: to choose from, above the accuracy floor.
        objective: what is wanted.
        uncut: task metric of the uncut model.
        energy: of the device.
        answer_bytes: size of a result.
        races: that are saved up to begin with.
    """

    def __init__(
        self,
        points: Sequence[Point],
        objective: Objective | None = None,
        *,
        uncut: float = 1.0,
        energy: EnergyModel | None = None,
        answer_bytes: int = 4096,
        races: float = _MOST_RACES,
    ) -> None:
        self.objective = objective or Objective()
        self._predictor: Final = Predictor(
            efficient(points, self.objective.loss_weight > 0)
            if self.objective.cost is None
            else sorted(points, key=lambda point: (not point.local, point.slicing is not None)),
            energy or EnergyModel(),
            answer_bytes,
        )
        self.points = self._predictor.points
        self.energy = self._predictor.energy
        self._loss = np.array([uncut - point.measured.metric for point in self.points])
        # Of a millisecond that the device works in vain.
        self._wasted_price = (
            self.objective.hedge_price * self.objective.latency_weight
            + self.objective.energy_weight * self.energy.compute_mj(1.0)
        )
        self._deadline_ms = math.inf if self.objective.deadline is None else self.objective.deadline * 1e3
        self._races = races
        self._last: int | None = None

    @classmethod
    def for_bundle(cls, bundle: Bundle, objective: Objective, energy: EnergyModel | None = None) -> AdaptivePolicy:
        """The policy over the points of `bundle` that `objective` admits, for worlds without slices."""
        uncut = bundle.manifest.task.uncut
        points = admissible([p for p in bundle.points if p.slicing is None], objective.floor(uncut))
        answer = bundle.manifest.boundaries[-1].nbytes
        return cls(points, objective, uncut=uncut, energy=energy, answer_bytes=answer)

    def choose(self, conditions: Conditions) -> Plan:
        prediction = self._predictor.predict(conditions)
        if not prediction.device_ms.size:
            # Nothing can be had: whoever insists on the server hears from it why.
            return Plan(self.points[0], math.inf, 0.0)
        self._races = min(_MOST_RACES, self._races + self.objective.hedge_share)
        ways = self._ways(prediction, conditions)
        cost = np.minimum.reduce(ways.cost) if self.objective.cost is None else self._own_cost(prediction, ways)
        best = int(cost.argmin())
        last = self._last
        if last is not None and last != best and last < len(cost):
            # The device's queue and a deadline that nothing meets are common to all: they make no difference larger.
            common = self.objective.latency_weight * conditions.device_queue_ms
            if ways.missed is not None:
                common += self.objective.late_cost * float(ways.missed[:, best].min())
            least = cost.item(best)
            if cost.item(last) - least <= self.objective.hysteresis * abs(least - common):
                best = last
        self._last = best
        way = ways.cheapest(best)
        if ways.race and way == 0 and best >= self._predictor.local:
            self._races -= 1.0
        return self._plan(best, way, cost, prediction, ways)

    def follow(self, wanted: int, conditions: Conditions) -> Plan:
        """The plan with point `wanted` of `points`, hedged as its costs say; the usual one if it cannot be had now.

        It has no runners-up, and the cost is that of the weights. Not for sliced points.
        """
        one = self._predictor.predict_point(wanted, conditions)
        if one is None:
            return self.choose(conditions)
        objective, point = self.objective, self.points[wanted]
        self._races = min(_MOST_RACES, self._races + objective.hedge_share)
        self._last = wanted
        sparing = _STRAIN if conditions.device.strained else 1.0
        deadline_ms = min(self._deadline_ms, conditions.budget_ms)
        prices = Prices(
            objective.latency_weight,
            sparing * self._wasted_price + conditions.device_price,
            objective.late_cost,
            deadline_ms,
            objective.energy_weight > 0 and deadline_ms == math.inf and not point.local,
        )
        way = cheapest_way(one, prices, self._races >= 1.0 and not point.local)
        if way.race:
            self._races -= 1.0
        busy_ms = max(0.0, one.mean_device_ms - one.queue_ms)
        fixed = conditions.device_price * busy_ms + conditions.server.price * one.server_ms
        fixed += sparing * objective.energy_weight * one.energy_mj
        fixed += objective.loss_weight * 100 * self._loss.item(wanted)
        energy_mj = one.energy_mj + self.energy.compute_mj(way.latency_ms - way.started_ms)
        start_ms = None if point.local else way.start_ms
        return Plan(point, way.latency_ms, one.mean_device_ms, energy_mj, way.cost + fixed, start_ms)

    def _ways(self, prediction: Prediction, conditions: Conditions) -> _Ways:
        """Every point as a race, where there may be one, and with a device that waits."""
        objective = self.objective
        q, done, chances = prediction.latency_ms, prediction.device_ms, prediction.probabilities
        sparing = _STRAIN if conditions.device.strained else 1.0
        price = sparing * self._wasted_price + conditions.device_price
        deadline_ms = min(self._deadline_ms, conditions.budget_ms)
        prices: list[Array] = []
        if conditions.device_price:
            busy_ms = prediction.mean_device_ms - conditions.device_queue_ms
            prices.append(conditions.device_price * np.maximum(0.0, busy_ms))
        if conditions.server.price:
            prices.append(conditions.server.price * prediction.server_ms)
        if objective.energy_weight:
            prices.append(sparing * objective.energy_weight * prediction.energy_mj)
        if objective.loss_weight:
            prices.append(objective.loss_weight * 100 * self._loss[: len(done)])
        race = bool(self._predictor.local) and self._races >= 1.0
        if self._predictor.local:
            alone = min(done[: self._predictor.local].tolist()) - conditions.device_queue_ms
            late = q[WORST_CASE]
            if deadline_ms < math.inf:
                latest = deadline_ms - MARGIN * alone - MARGIN_MS
                # Where the device could not be in time either, hurrying it helps nobody.
                late = np.where(done <= latest, np.minimum(late, latest), late)
            starts = [done, late] if race else [late]
            if objective.energy_weight and deadline_ms == math.inf:
                starts.append(q[-1])
        else:
            alone = math.inf
            starts = [np.full(len(done), math.inf)]
        # When the device has an answer of its own, and when it starts on it: one product gives both expectations.
        bounds = np.empty((2, len(starts), len(done)))
        bounds[1] = starts
        if conditions.device_queue_ms:
            # At points that do not wait for the device's turn, its own answer does.
            np.maximum(bounds[1], conditions.device_queue_ms, bounds[1])
        np.add(bounds[1], alone, bounds[0])
        capped = np.minimum(q, bounds[:, :, None, :])
        expected = chances @ capped
        exits = prediction.exits
        if exits is not None:
            expected = exits.mean(expected, exits.ms)
        # The device works beside the server for the difference of the two.
        weights = np.array((objective.latency_weight + price, -price))
        cost = (weights @ expected.reshape(2, -1)).reshape(len(starts), -1)
        for each in prices:
            cost += each
        missed = None
        if deadline_ms < math.inf:
            missed = chances @ (capped[0] > deadline_ms)
            if exits is not None:
                missed = exits.mean(missed, exits.ms > deadline_ms)
            cost += objective.late_cost * missed
        return _Ways(race, bounds[1], capped[0], expected, missed, cost)

    def _own_cost(self, prediction: Prediction, ways: _Ways) -> Array:
        """The app's own cost of every point, with the hedge that its weights would choose, (points,)."""
        assert self.objective.cost is not None
        points = np.arange(len(prediction.device_ms))
        which = ways.cost.argmin(axis=0)
        missed = np.zeros(len(points)) if ways.missed is None else ways.missed[which, points]
        latency, started = ways.expected[:, which, points]
        forecast = Forecast(
            latency_ms=latency,
            late_ms=ways.answered[which, WORST_CASE, points],
            energy_mj=prediction.energy_mj + self.energy.compute_mj(1.0) * (latency - started),
            loss=self._loss[: len(points)],
            server_ms=prediction.server_ms,
            missed=missed,
        )
        return np.asarray(self.objective.cost(forecast), dtype=np.float64) + self.objective.late_cost * missed

    def _plan(self, best: int, way: int, cost: Array, prediction: Prediction, ways: _Ways) -> Plan:
        shown = min(len(cost), _RUNNERS_UP + 1)
        others = [i for i in cost.argpartition(shown - 1)[:shown].tolist() if i != best][: shown - 1]
        energy_ms = self.energy.compute_mj(1.0)

        def about(point: int, way: int) -> Alternative:
            latency, started = ways.expected.item(0, way, point), ways.expected.item(1, way, point)
            energy = prediction.energy_mj.item(point) + energy_ms * (latency - started)
            return Alternative(self.points[point], cost.item(point), latency, energy)

        chosen = about(best, way)
        runners_up = [about(point, ways.cheapest(point)) for point in others]
        runners_up.sort(key=lambda other: other.cost)
        return Plan(
            chosen.point,
            chosen.latency_ms,
            prediction.mean_device_ms.item(best),
            chosen.energy_mj,
            chosen.cost,
            None if chosen.point.local else ways.start.item(way, best),
            tuple(runners_up),
        )


class StaticPolicy:
    """Always the same point, or the fallback while there is no link and the point needs one.

    Args:
        point: the point.
        fallback: a local point.
    """

    def __init__(self, point: Point, fallback: Point) -> None:
        self.points = (point, fallback)
        self._predictors = {each: Predictor([each], EnergyModel()) for each in (point, fallback)}

    def choose(self, conditions: Conditions) -> Plan:
        point, fallback = self.points
        linked = conditions.channel is not None and not conditions.server.draining
        linked = linked and (conditions.slices or point.slicing is None)
        chosen = point if linked or point.local else fallback
        if not linked and not chosen.local:
            return Plan(chosen, math.inf, 0.0)
        prediction = self._predictors[chosen].predict(conditions)
        latency = prediction.mean_latency_ms[_MIDDLE, 0]
        return Plan(chosen, float(latency), float(prediction.mean_device_ms[0]))
