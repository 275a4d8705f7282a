"""Policies that reckon with wrong estimates against those that take them for certain, where answers have a deadline.

Accuracy and time are traded, and a late answer is as bad as a wrong one. Both kinds of a policy have the same network,
decisions, budget and objective; only the robust one is trained over injected errors. Then estimates are off by 30 % for
all of them, the analytic policy included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.table import Table
from tests.bench._bundles import bundle_path
from tests.bench._policies import ERROR, Case, Make, Unhedged, analytic, learned, relative, simulated, trained
from tests.bench._traces import recorded_links

from cutpoint.calibration.learning.worlds import Worlds
from cutpoint.calibration.simulate import User
from cutpoint.codecs import Array
from cutpoint.sdk import Bundle, Objective, Policy

__all__ = ["compared", "table"]

#: Network, how much slower than a core devices are, and seconds for an answer.
_CONDITIONS = (
    ("MobileNetV2", (20.0, 60.0), 0.2),
    ("MobileNetV2", (20.0, 60.0), 0.15),
    ("MobileNetV2", (20.0, 60.0), 0.1),
    ("MobileNetV2", (40.0, 100.0), 0.2),
    ("DeiT-tiny", (20.0, 40.0), 0.25),
    ("DeiT-tiny", (10.0, 30.0), 0.3),
)
#: Of the costs over injected errors: it is the 95th percentile that is compared.
_QUANTILE = 0.95
_USERS, _SEEDS, _DRAWS = 10, 20, 1000
#: Accuracy that may be given up, and the price of an answer that is late: that of one that is wrong.
_DROP, _LATE = 0.15, 1e4


def _case(network: str, device_scale: tuple[float, float], deadline: float) -> Case:
    traces = [link.trace for link in recorded_links()]
    objective = Objective.preset("accuracy", accuracy_drop=_DROP, deadline=deadline, late_cost=_LATE)
    few = Worlds(tuple(traces[::2]), (1, 4), device_scale, (0.5, 8.0))
    unseen = Worlds(tuple(traces[1::2]), (_USERS, _USERS), device_scale, (2.0, 2.0))
    return Case(Bundle.open(bundle_path(network)), objective, few, unseen)


def compared() -> list[dict[str, Any]]:
    """A row for each of the conditions, with and without the device's second answer, and policy."""
    rows = []
    for network, device_scale, deadline in _CONDITIONS:
        case = _case(network, device_scale, deadline)
        makes = {"analytic": analytic}
        for algorithm in ("memtl", "ppo"):
            for name, quantile in ((algorithm, None), (f"{algorithm}, robust", _QUANTILE)):
                makes[name] = learned(trained(case, algorithm, quantile), case.bundle)
        about = {"network": network, "devices": device_scale, "deadline": deadline}
        for hedged in (True, False):
            costs = {name: [_costs(case, make, seed, hedged) for seed in range(_SEEDS)] for name, make in makes.items()}
            for name, own in costs.items():
                point = name.removesuffix(", robust")
                row = about | {"hedged": hedged, "policy": name} | _row(own, costs["analytic"], "analytic")
                rows.append(row | (_row(own, costs[point], "point") if point != name else {}))
        print(f"{network}, {deadline} s compared", flush=True)
    return rows


def _costs(case: Case, make: Make, seed: int, hedged: bool) -> Array:
    """Of all answers of a world, in units of a late one, and counted from the most accurate point: none is below 0."""

    def own(user: User) -> Policy:
        return make(user) if hedged else Unhedged(make(user))

    best = max(point.measured.metric for point in case.bundle.points) - case.bundle.manifest.task.uncut
    costs = relative(case, *simulated(case, own, _USERS, seed, ERROR))
    return np.asarray(costs + 100 * best * case.objective.loss_weight / _LATE)


def _row(own: Sequence[Array], others: Sequence[Array], against: str) -> dict[str, Any]:
    """All answers together, and their ratios to those of another policy.

    The confidence intervals come from drawing the worlds again, each with its answers, as all answers of a world have
    the same links and server.
    """
    draws = np.random.default_rng(0).integers(len(own), size=(_DRAWS, len(own)))
    row: dict[str, Any] = {}
    for name, figure in (("mean", np.mean), ("p95", _p95)):
        row[name] = float(figure(np.concatenate(own)))
        ratios = [
            figure(np.concatenate([own[i] for i in draw])) / figure(np.concatenate([others[i] for i in draw]))
            for draw in draws
        ]
        row[f"{name}_{against}"] = row[name] / float(figure(np.concatenate(others)))
        row[f"{name}_{against}_within"] = np.percentile(ratios, [2.5, 97.5]).tolist()
    # A late answer costs a unit at least, and one in time the share of accuracy that may be lost at most.
    row["late"] = float(np.mean(np.concatenate(own) > (1 + _DROP) / 2))
    return row


def _p95(costs: Array) -> float:
    return float(np.percentile(costs, 95))


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """A line for each row."""
    title = "estimates off by 30 %, and a deadline (cost in units of a late answer; point: the same without injection)"
    columns = ("conditions", "policy", "late", "mean", "/ analytic", "/ point", "p95", "/ analytic", "/ point")
    shown = Table(*columns, title=title)
    for row in rows:
        low, high = row["devices"]
        hedged = "" if row["hedged"] else ", device never steps in"
        cells = [f"{row['network']} ×{low:.0f} to {high:.0f}, {row['deadline'] * 1e3:.0f} ms{hedged}", row["policy"]]
        cells += [f"{row['late']:.1%}", f"{row['mean']:.3f}", _ratio(row, "mean_analytic"), _ratio(row, "mean_point")]
        cells += [f"{row['p95']:.2f}", _ratio(row, "p95_analytic"), _ratio(row, "p95_point")]
        shown.add_row(*cells)
    return shown


def _ratio(row: dict[str, Any], name: str) -> str:
    if name not in row:
        return ""
    low, high = row[f"{name}_within"]
    return f"{row[name]:.2f} ({low:.2f} to {high:.2f})"
