"""Users who differ, drawn from a seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cutpoint.calibration.simulate.scenario import Scenario
from cutpoint.sdk.energy import RADIOS, EnergyModel
from cutpoint.sdk.errors import InputError
from cutpoint.sdk.testing import Trace

__all__ = ["Population"]

#: Radios of the users, in turn at random.
_RADIOS = ("lte", "5g-low", "wifi")


@dataclass(frozen=True)
class Population:
    """Ranges that users are drawn from; logarithms are uniform.

    Attributes:
        device_scale: how many times slower than in calibration.
        uplink: mean rate in bit/s.
        rtt: seconds.
        period: mean seconds between a user's requests; half of the users ask at random times.
        traces: recorded links, each user's at a place of his own in one of them; without any, rates are constant.

    Raises:
        InputError: for ranges that are none.
    """

    device_scale: tuple[float, float] = (20.0, 150.0)
    uplink: tuple[float, float] = (2e6, 40e6)
    rtt: tuple[float, float] = (0.01, 0.08)
    period: tuple[float, float] = (0.5, 2.0)
    traces: Sequence[Trace] = ()

    def __post_init__(self) -> None:
        for name in ("device_scale", "uplink", "rtt", "period"):
            low, high = getattr(self, name)
            if not 0 < low <= high < math.inf:
                raise InputError(f"{name} {low} to {high} is not a range of numbers above 0")

    def draw(self, users: int, seconds: float, server_scale: float, answer_bytes: int, seed: int) -> list[Scenario]:
        """What each of `users` meets.

        Args:
            users: how many; the first ones of a larger number are the same.
            seconds: for which they send requests.
            server_scale: how much slower than in calibration the server is.
            answer_bytes: size of a result.
            seed: of everything.
        """
        scenarios = []
        for number in range(users):
            rng = np.random.default_rng((seed, number))

            def within(bounds: tuple[float, float], rng: np.random.Generator = rng) -> float:
                low, high = bounds
                return float(low * (high / low) ** rng.random())

            device, rate, rtt, period = map(within, (self.device_scale, self.uplink, self.rtt, self.period))
            uplink, begin = Trace.constant(rate), float(rng.random() * period)
            if self.traces:
                whole = self.traces[rng.integers(len(self.traces))]
                first = int(rng.integers(len(whole.rates)))
                uplink = Trace(whole.rates[first:] + whole.rates[:first], whole.step)
            scenarios.append(
                Scenario(
                    uplink,
                    rtt,
                    device_scale=device,
                    server_scale=server_scale,
                    period=period,
                    poisson=bool(rng.random() < 0.5),
                    requests=max(1, round(seconds / period)),
                    begin=begin,
                    answer_bytes=answer_bytes,
                    energy=EnergyModel(RADIOS[_RADIOS[rng.integers(len(_RADIOS))]]),
                    seed=int(rng.integers(1 << 32)),
                )
            )
        return scenarios
