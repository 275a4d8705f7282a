"""What came of many requests, in a few figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from cutpoint.calibration.simulate.scenario import Outcome
from cutpoint.sdk.bundle import Point
from cutpoint.sdk.energy import EnergyModel

__all__ = ["Summary", "place", "summarise"]


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures of a run.

    Attributes:
        p50_ms: median latency.
        p95_ms: 95th percentile of the latency.
        mean_ms: mean latency.
        energy_mj: mean energy of the device.
        hedged: share of requests for which the device worked beside the server.
        shares: share of the answers by place: ``device``, ``exit``, ``picture``, ``cut 3`` …
    """

    p50_ms: float
    p95_ms: float
    mean_ms: float
    energy_mj: float
    hedged: float
    shares: dict[str, float]

    def as_json(self) -> dict[str, object]:
        """For reports, rounded."""
        fields = asdict(self)
        shares = {name: round(share, 4) for name, share in self.shares.items()}
        return {name: round(value, 3) for name, value in fields.items() if name != "shares"} | {"shares": shares}


def place(point: Point) -> str:
    """Where a point cuts, for people."""
    return "device" if point.local else "picture" if point.start == 0 else f"cut {point.start}"


def summarise(outcomes: Sequence[Outcome], energy: EnergyModel) -> Summary:
    """The figures of `outcomes`."""
    latency = np.array([outcome.latency_ms for outcome in outcomes])
    count = len(outcomes)
    places = Counter("exit" if outcome.exit else place(outcome.point) for outcome in outcomes)
    return Summary(
        p50_ms=float(np.median(latency)),
        p95_ms=float(np.percentile(latency, 95)),
        mean_ms=float(latency.mean()),
        energy_mj=sum(outcome.energy_mj(energy) for outcome in outcomes) / count,
        hedged=sum(outcome.hedged for outcome in outcomes) / count,
        shares={name: number / count for name, number in places.most_common()},
    )
