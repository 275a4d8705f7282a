"""What `cutpoint simulate --users` says."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from rich.console import Group
from rich.table import Table

from cutpoint.calibration.allocation.crowd import Crowd
from cutpoint.calibration.simulate.world import World

__all__ = ["crowd_report", "crowd_table"]

#: Seconds for each entry of the price over time.
_STEP = 5.0


def crowd_report(crowd: Crowd, rules: Sequence[str]) -> dict[str, object]:
    """Figures of a crowd under each of `rules`, as JSON can hold them.

    Raises:
        InputError: if there is no such rule, or the time is too short for anything to settle.
    """
    crowd.window()
    rows: dict[str, object] = {}
    for rule in rules:
        began = time.perf_counter()
        world = crowd.run(rule)
        per_second = sum(map(len, world.outcomes)) / (time.perf_counter() - began)
        summary = crowd.summarise(world).as_json()
        rows[rule] = summary | {"price_over_time": _price(world), "simulated_per_second": round(per_second)}
    allocation = crowd.allocation
    solver = {
        "cost": allocation.cost,
        "bound": allocation.bound,
        "gap": allocation.gap,
        "price": allocation.price / 1e3,
    }
    return {"solver": {name: round(value, 4) for name, value in solver.items()}, "rules": rows}


def _price(world: World) -> list[float]:
    at = np.array([look.at for look in world.looks])
    price = np.array([look.price for look in world.looks])
    steps = np.floor((at - at[0]) / _STEP).astype(int)
    return [round(float(price[steps == step].mean()), 3) for step in range(int(steps[-1]) + 1)]


def crowd_table(report: dict[str, object]) -> Group:
    """A row for each rule, and the price over time."""
    table = Table("rule", "cost/s", "p50", "p95", "users' p95", "mJ", "edge", "server", "price", "req/s")
    table.caption = "latency in ms; users' p95: their median, 95th percentile, highest; req/s: simulated a second"
    rules, solver = report["rules"], report["solver"]
    assert isinstance(rules, dict)
    assert isinstance(solver, dict)
    for rule, row in rules.items():
        table.add_row(
            rule,
            *(f"{row[name]:.0f}" for name in ("cost", "p50_ms", "p95_ms")),
            " / ".join(f"{value:.0f}" for value in row["users_p95_ms"]),
            f"{row['energy_mj']:.0f}",
            f"{row['edge']:.0%}",
            f"{row['utilisation']:.0%}",
            f"{row['price']:.1f}",
            str(row["simulated_per_second"]),
        )
    lines = [f"central solver: {solver['cost']:.0f} a second, at least {solver['bound']:.0f} for anybody"]
    for rule, row in rules.items():
        lines.append(f"price, {rule}: " + " ".join(f"{value:.1f}" for value in row["price_over_time"]))
    return Group(table, *lines)
