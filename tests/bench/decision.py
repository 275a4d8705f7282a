"""How long a decision takes, for 200 and 1000 points of which none is beaten by another.

Wall time and the thread's own processor time: on a machine with other work the difference is what others took. The last
row is a loop of additions that takes about as long as a decision: how far its 99th percentile is above its median is
the machine's doing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from rich.table import Table

from cutpoint.sdk import AdaptivePolicy, Channel, Conditions, Objective
from cutpoint.sdk.bundle import Measurement, Point

TITLE = "Time of a decision"

_ROUNDS = 20_000
_ADDITIONS = 1_700
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


def _timed(call: Callable[[], object], times: dict[str, list[int]]) -> None:
    began = time.perf_counter_ns(), time.thread_time_ns()
    call()
    times["own"].append(time.thread_time_ns() - began[1])
    times["wall"].append(time.perf_counter_ns() - began[0])


def _row(points: int, objective: str, times: dict[str, list[int]]) -> dict[str, Any]:
    row: dict[str, Any] = {"points": points, "objective": objective}
    for kind, taken in times.items():
        for quantile in (50, 99):
            row[f"{kind}_p{quantile}_us"] = round(float(np.percentile(taken, quantile)) / 1e3, 1)
    return row


def _add() -> int:
    total = 0
    for number in range(_ADDITIONS):
        total += number
    return total


def run() -> dict[str, Any]:
    """Measures; see the module's docstring."""
    rng = np.random.default_rng(0)
    rows = []
    for count in (200, 1000):
        for name, objective in _OBJECTIVES.items():
            policy = AdaptivePolicy(points(count), objective)
            assert len(policy.points) == count
            times: dict[str, list[int]] = {"wall": [], "own": []}
            for rate in rng.uniform(1e5, 1e7, _ROUNDS):
                conditions = Conditions(Channel(float(rate), 0.05, 0.6, 5e6, 0.01, 0.02), device_scale=10)
                _timed(partial(policy.choose, conditions), times)
            rows.append(_row(count, name, times))
    times = {"wall": [], "own": []}
    for _ in range(_ROUNDS):
        _timed(_add, times)
    rows.append(_row(0, "additions", times))
    return {"rows": rows}


def table(result: dict[str, Any]) -> Table:
    """A row an objective and number of points."""
    rows = Table("points", "objective", "p50 µs", "p99 µs", "p50 µs of processor", "p99 µs of processor")
    for row in result["rows"]:
        keys = ("points", "objective", "wall_p50_us", "wall_p99_us", "own_p50_us", "own_p99_us")
        rows.add_row(*(str(row[key]) for key in keys))
    return rows
