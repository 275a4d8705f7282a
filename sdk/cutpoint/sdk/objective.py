"""What the app wants of an answer."""

from __future__ import annotations

from dataclasses import dataclass

from cutpoint.sdk.errors import InputError

__all__ = ["Objective"]


@dataclass(frozen=True, slots=True)
class Objective:
    """What the app wants of an answer.

    Attributes:
        deadline: seconds from the call of `infer` to its answer; None for as soon as possible.
        accuracy_drop: how much of the task metric (0 … 1) may be given up against the uncut model.
        accuracy_floor: least task metric, instead of `accuracy_drop`.
        patience: without a deadline, the device starts on its own answer when the server's takes this many times as
            long as predicted.

    Raises:
        InputError: for values that make no sense.
    """

    deadline: float | None = None
    accuracy_drop: float = 0.01
    accuracy_floor: float | None = None
    patience: float = 3.0

    def __post_init__(self) -> None:
        if self.deadline is not None and self.deadline <= 0:
            raise InputError(f"deadline {self.deadline} s is not above 0: give seconds, or None")
        if not 0 <= self.accuracy_drop <= 1:
            raise InputError(f"accuracy_drop {self.accuracy_drop} is not between 0 and 1")
        if self.accuracy_floor is not None and not 0 <= self.accuracy_floor <= 1:
            raise InputError(f"accuracy_floor {self.accuracy_floor} is not between 0 and 1")
        if self.patience < 1:
            raise InputError(f"patience {self.patience} is below 1: the prediction itself would already be too late")

    def floor(self, uncut: float) -> float:
        """The least task metric that is accepted, where the uncut model reaches `uncut`."""
        return uncut - self.accuracy_drop if self.accuracy_floor is None else self.accuracy_floor
