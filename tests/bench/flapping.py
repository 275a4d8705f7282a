"""Switches and cost on a square wave around the rate at which two points cost the same (simulated).

The points are a picture of 12 kB that needs no head and a late cut of 1.5 kB that does, on a device ten times slower
than in calibration: they cost the same at about 1.2 Mbit/s. Beside the oracle, who knows what the rate will be, stands
somebody who is told what it is at the moment of each decision: what he loses, no estimate can win back.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

from rich.table import Table

from cutpoint.calibration.simulate import Scenario, oracle, simulate, summarise
from cutpoint.sdk import AdaptivePolicy, Channel, Conditions, Objective, Plan, Point
from cutpoint.sdk.bundle import Measurement
from cutpoint.sdk.testing import Trace

TITLE = "Switches on a link that swings around a switching point"

_PERIOD, _REQUESTS = 0.25, 2000
_WAVES = ((1.1e6, 1.3e6), (1.0e6, 1.5e6), (0.9e6, 1.6e6), (0.7e6, 2.0e6))
_HALVES = (0.3, 1.0, 3.0)


def _point(name: str, nbytes: float, device: float) -> Point:
    measured = Measurement(0.9, nbytes, nbytes, device_ms=device, tail_ms=5.0 if nbytes else 0.0)
    return Point(name, 1, 1, measured, **({"codec": "c", "tail_precision": "fp32"} if nbytes else {}))


_POINTS = (_point("local", 0, 25), _point("picture", 12_000, 0), _point("late", 1_500, 7))


class _Informed:
    """The adaptive policy, told the rate of the moment at which each request is due."""

    def __init__(self, scenario: Scenario) -> None:
        self._policy = AdaptivePolicy(_POINTS)
        self._trace = scenario.uplink
        self._rtt = scenario.rtt
        self._due = iter(scenario.due().tolist())

    def choose(self, conditions: Conditions) -> Plan:
        channel = Channel(self._trace.rate(next(self._due)), self._rtt)
        return self._policy.choose(replace(conditions, channel=channel))


def run() -> dict[str, Any]:
    """Measures; see the module's docstring."""
    rows = []
    for low, high in _WAVES:
        for half in _HALVES:
            scenario = Scenario(
                Trace((low, high), step=half), rtt=0.04, device_scale=10, period=_PERIOD, requests=_REQUESTS
            )
            outcomes = simulate(scenario, AdaptivePolicy(_POINTS), _POINTS[0])
            informed = simulate(replace(scenario, probe=1e9), _Informed(scenario), _POINTS[0])
            best = summarise(oracle(scenario, _POINTS, Objective()), scenario.energy)
            own = summarise(outcomes, scenario.energy)
            switches = sum(a.planned is not b.planned for a, b in pairwise(outcomes))
            rows.append(
                {
                    "low_mbps": low / 1e6,
                    "high_mbps": high / 1e6,
                    "half_period_s": half,
                    "switches_per_s": switches / (_REQUESTS * _PERIOD),
                    "mean_ms": own.mean_ms,
                    "informed_ms": summarise(informed, scenario.energy).mean_ms,
                    "oracle_ms": best.mean_ms,
                }
            )
    return {"rows": rows}


def table(result: dict[str, Any]) -> Table:
    """A row a wave."""
    rows = Table("Mbit/s", "half period s", "switches a second", "mean ms", "oracle ms", "", "told the rate")
    for row in result["rows"]:
        rows.add_row(
            f"{row['low_mbps']:g} – {row['high_mbps']:g}",
            f"{row['half_period_s']:g}",
            f"{row['switches_per_s']:.2f}",
            f"{row['mean_ms']:.1f}",
            f"{row['oracle_ms']:.1f}",
            f"{row['mean_ms'] / row['oracle_ms'] - 1:+.1%}",
            f"{row['informed_ms'] / row['oracle_ms'] - 1:+.1%}",
        )
    return rows
