"""How long a decision takes, for 200 and 1000 points of which none is beaten by another.

Wall time and the thread's own processor time: on a machine with other work the difference is what others took.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from rich.table import Table

from cutpoint.sdk import AdaptivePolicy, Channel, Conditions, Objective
from cutpoint.sdk.bundle import Measurement, Point

TITLE = "Time of a decision"

_ROUNDS = 20_000
_OBJECTIVES = {
    "latency": Objective(),
    "with a deadline": Objective(deadline=0.2),
    "energy": Objective.preset("energy"),
}


def points(count: int) -> list[Point]:
    """Points from an early cut with many bytes to a late one with few, and a local one."""
    found = [Point("local", 1, 1, Measurement(0.9, 0, 0, device_ms=10.0))]
    for i in range(count - 1):
        share = i / count
        nbytes = 20_000 * (1 - share) ** 2 + 500
        measured = Measurement(0.9, nbytes, nbytes, device_ms=10 * share, tail_ms=10 - 10 * share)
        found.append(Point(f"cut{i}", 1, 1, measured, codec="c"))
    return found


def run() -> dict[str, Any]:
    """Measures; see the module's docstring."""
    rng = np.random.default_rng(0)
    rows = []
    for count in (200, 1000):
        for name, objective in _OBJECTIVES.items():
            policy = AdaptivePolicy(points(count), objective)
            assert len(policy.points) == count
            wall, own = [], []
            for rate in rng.uniform(1e5, 1e7, _ROUNDS):
                conditions = Conditions(Channel(float(rate), 0.05, 0.6, 5e6, 0.01, 0.02), device_scale=10)
                began = time.perf_counter_ns(), time.thread_time_ns()
                policy.choose(conditions)
                wall.append(time.perf_counter_ns() - began[0])
                own.append(time.thread_time_ns() - began[1])
            row = {"points": count, "objective": name}
            for kind, times in (("wall", wall), ("own", own)):
                for quantile in (50, 99):
                    row[f"{kind}_p{quantile}_us"] = round(float(np.percentile(times, quantile)) / 1e3, 1)
            rows.append(row)
    return {"rows": rows}


def table(result: dict[str, Any]) -> Table:
    """A row an objective and number of points."""
    rows = Table("points", "objective", "p50 µs", "p99 µs", "p50 µs of processor", "p99 µs of processor")
    for row in result["rows"]:
        keys = ("points", "objective", "wall_p50_us", "wall_p99_us", "own_p50_us", "own_p99_us")
        rows.add_row(*(str(row[key]) for key in keys))
    return rows
