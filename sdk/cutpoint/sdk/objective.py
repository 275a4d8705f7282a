"""What the app wants of an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from cutpoint.codecs import Array
from cutpoint.sdk.errors import InputError

__all__ = ["PRESETS", "Forecast", "Objective"]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a request would cost at each of several points. Arrays of shape (points,).

    Attributes:
        latency_ms: expected latency, with the device stepping in where that pays.
        late_ms: latency in the worst case short of an outage.
        energy_mj: expected energy of the device.
        loss: task metric lost against the uncut model, 0 … 1.
        server_ms: time that the server computes.
        missed: probability that the deadline passes; 0 without one.
    """

    latency_ms: Array
    late_ms: Array
    energy_mj: Array
    loss: Array
    server_ms: Array
    missed: Array


@dataclass(frozen=True, slots=True)
class Objective:
    """What the app wants of an answer.

    cost = latency_weight · ms + energy_weight · mJ + loss_weight · per cent lost + the server's price · its ms, among
    the points above the accuracy floor. With a deadline, + late_cost · the probability that the answer comes after it.

    Attributes:
        deadline: seconds from the call of `infer` to its answer; None for as soon as possible.
        accuracy_drop: how much of the task metric (0 … 1) may be given up against the uncut model.
        accuracy_floor: least task metric, instead of `accuracy_drop`.
        latency_weight: cost of a millisecond.
        energy_weight: cost of a millijoule.
        loss_weight: cost of one per cent of the task metric.
        hedge_price: milliseconds that a millisecond of the device's work on a second answer has to save. 0 races the
            device against the server always; 1 and more only where the server's answer is probably lost.
        hedge_share: share of requests that may be raced; for the others the device waits until the server is late, or
            until the deadline leaves no other choice.
        late_cost: cost of an answer after the deadline. As it is, being in time comes before everything else;
            100 · loss_weight makes a late answer as bad as a wrong one.
        hysteresis: a point is left for one that costs less by more than this share.
        patience: for plans that do not say when the device shall step in: as soon as the server's answer takes this
            many times as long as predicted.
        cost: computes the cost from a `Forecast` instead of the weights.

    Raises:
        InputError: for values that make no sense.
    """

    deadline: float | None = None
    accuracy_drop: float = 0.01
    accuracy_floor: float | None = None
    latency_weight: float = 1.0
    energy_weight: float = 0.0
    loss_weight: float = 0.0
    hedge_price: float = 0.03
    hedge_share: float = 0.75
    late_cost: float = 1e6
    hysteresis: float = 0.05
    patience: float = 3.0
    cost: Callable[[Forecast], Array] | None = None

    def __post_init__(self) -> None:
        if self.deadline is not None and self.deadline <= 0:
            raise InputError(f"deadline {self.deadline} s is not above 0: give seconds, or None")
        if not 0 <= self.accuracy_drop <= 1:
            raise InputError(f"accuracy_drop {self.accuracy_drop} is not between 0 and 1")
        if self.accuracy_floor is not None and not 0 <= self.accuracy_floor <= 1:
            raise InputError(f"accuracy_floor {self.accuracy_floor} is not between 0 and 1")
        if not 0 <= self.hedge_share <= 1:
            raise InputError(f"hedge_share {self.hedge_share} is not between 0 and 1")
        if self.patience < 1:
            raise InputError(f"patience {self.patience} is below 1: the prediction itself would already be too late")
        for name in ("latency_weight", "energy_weight", "loss_weight", "hedge_price", "late_cost", "hysteresis"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} {getattr(self, name)} is below 0")
        if self.latency_weight + self.energy_weight + self.loss_weight <= 0:
            raise InputError("every weight is 0: an objective has to prefer something")

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Objective:
        """One of `PRESETS`, with other values for some of its fields.

        Raises:
            InputError: if there is no such preset or field, or for values that make no sense.
        """
        if name not in PRESETS:
            raise InputError(f"objective {name!r} is not one of {', '.join(PRESETS)}")
        try:
            return replace(PRESETS[name], **changes)
        except TypeError as error:
            raise InputError(f"objective {name!r}: {error}") from error

    @property
    def thrifty(self) -> bool:
        """Whether energy matters more than time: then what it costs to know the link does, too."""
        return self.energy_weight > self.latency_weight

    def floor(self, uncut: float) -> float:
        """The least task metric that is accepted, where the uncut model reaches `uncut`."""
        return uncut - self.accuracy_drop if self.accuracy_floor is None else self.accuracy_floor


#: Weights for people who do not want to think about weights.
PRESETS: Final[dict[str, Objective]] = {
    "latency": Objective(),
    "energy": Objective(latency_weight=0.01, energy_weight=1.0),
    "balanced": Objective(latency_weight=1.0, energy_weight=0.5),
    "accuracy": Objective(accuracy_drop=0.0, latency_weight=0.1, loss_weight=100.0),
}
