"""The rate of a link over time, and what it does to the bytes that go through."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from cutpoint.sdk.errors import InputError

__all__ = ["Shaper", "Trace"]


@dataclass(frozen=True, slots=True)
class Trace:
    """Rate as a step function of time, repeated without end.

    Attributes:
        rates: bit/s, one per step; 0 is an outage.
        step: seconds per step.
        mean: mean rate in bit/s.

    Raises:
        InputError: for a trace that never lets anything through.
    """

    rates: tuple[float, ...]
    step: float = 0.1
    mean: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.step <= 0 or not self.rates or min(self.rates) < 0 or max(self.rates) <= 0:
            raise InputError("a trace needs steps above 0 s and rates of at least 0, not all of them 0")
        # Kept: traces are long, and every transfer asks for it.
        object.__setattr__(self, "mean", sum(self.rates) / len(self.rates))

    @classmethod
    def constant(cls, rate: float) -> Trace:
        """The same rate, in bit/s, for ever."""
        return cls((rate,), step=1.0)

    @property
    def duration(self) -> float:
        """Seconds until it repeats."""
        return self.step * len(self.rates)

    def rate(self, time: float) -> float:
        """Rate in bit/s at `time` seconds."""
        return self.rates[int(time / self.step) % len(self.rates)]

    def finish(self, start: float, nbytes: float) -> float:
        """When the last of `nbytes` has left, if the first leaves at `start` seconds."""
        bits = nbytes * 8.0
        per_round = self.mean * self.duration
        rounds = math.floor(bits / per_round)
        time = start + rounds * self.duration
        bits -= rounds * per_round
        index = math.floor(time / self.step)
        while True:
            rate = self.rates[index % len(self.rates)]
            left = (index + 1) * self.step - time
            if rate * left >= bits and rate > 0:
                return time + bits / rate
            bits -= rate * left
            index += 1
            time = index * self.step


class Shaper:
    """One direction of a link: bytes leave at the trace's rate, in order, and arrive a delay later. No clock in here.

    Args:
        trace: rate over time.
        delay: seconds on the way.
        jitter: seconds added to the delay of each piece, in turn; nothing overtakes.
    """

    def __init__(self, trace: Trace, delay: float = 0.0, jitter: Sequence[float] = (0.0,)) -> None:
        self._trace = trace
        self._delay = delay
        self._jitter = tuple(jitter)
        self._pieces = 0
        self._free_at = 0.0
        self._last_arrival = 0.0

    def rewind(self) -> None:
        """Time begins anew at 0."""
        self._free_at = self._last_arrival = 0.0

    def backlog(self, now: float) -> float:
        """Seconds until what was sent before `now` has left."""
        return max(0.0, self._free_at - now)

    def hold(self, now: float, seconds: float) -> None:
        """Nothing leaves for `seconds`."""
        self._free_at = max(self._free_at, now + seconds)

    def send(self, now: float, nbytes: int) -> float:
        """When `nbytes`, handed over at `now`, arrive. Both in seconds from the trace's beginning."""
        self._free_at = self._trace.finish(max(now, self._free_at), nbytes)
        jitter = self._jitter[self._pieces % len(self._jitter)]
        self._pieces += 1
        self._last_arrival = max(self._last_arrival, self._free_at + self._delay + jitter)
        return self._last_arrival
