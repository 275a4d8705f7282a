"""A request as steps on three resources: when each begins and ends if the device computes while the link sends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cutpoint.sdk.errors import InputError

__all__ = ["Resource", "Step", "Times", "finish_ms", "run_steps"]

#: What does one thing at a time: the device's processor, the way up, the server's processor.
Resource = Literal["device", "uplink", "server"]


@dataclass(frozen=True, slots=True)
class Step:
    """Something that a resource does.

    Attributes:
        resource: which does it. Each does its steps in the order in which they are listed.
        ms: how long it takes.
        after: numbers of the steps that must have ended before; lower than its own.
        lag_ms: from its end until steps behind it know of it: the time on the way.
    """

    resource: Resource
    ms: float
    after: tuple[int, ...] = ()
    lag_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Times:
    """When a step begins and ends, and when others know of it; milliseconds from the beginning of the request."""

    begin: float
    end: float
    known: float


def run_steps(steps: Sequence[Step]) -> tuple[Times, ...]:
    """The times of `steps`: each begins when its resource is free and what it waits for is known.

    Raises:
        InputError: if a step waits for one that is not before it.
    """
    free: dict[Resource, float] = {}
    times: list[Times] = []
    for number, step in enumerate(steps):
        if not all(0 <= other < number for other in step.after):
            raise InputError(f"step {number} waits for one of {step.after}, not all of which come before it")
        begin = max([free.get(step.resource, 0.0), *(times[other].known for other in step.after)])
        end = free[step.resource] = begin + step.ms
        times.append(Times(begin, end, end + step.lag_ms))
    return tuple(times)


def finish_ms(steps: Sequence[Step]) -> float:
    """When the last of `steps` is known; 0 for none. Raises as `run_steps`."""
    return max((step.known for step in run_steps(steps)), default=0.0)
