"""Learned policies against the analytic one and what both are measured against, many users of one server.

DeiT-tiny, devices 5 to 60 times slower than a core here, and the demo's network with an exit, devices 20 to 200 times
slower (1 and 3 points may be lost); objective `balanced`, 5 to 50 users of one server half as fast as a core. Policies
are trained on four recorded uplinks and compared on four others, over ten seeds. A cost is that of a request in units
of what the device alone would cost; ratios to the analytic policy are taken seed by seed, with 95 % confidence
intervals. Then the same with estimates of channel and computation that are off by 30 %, among others and alone, and
where answers have a deadline (`_deadlines`); and the time of a decision. Trained files are kept in `bench/policies/`;
training takes an hour. CUTPOINT_BENCH_PARTS chooses some of it: crowds, exits, mistaken, deadlines, times.

Needs the shared data, and for `exits` the bundle of the bench of that name.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from rich.console import Group
from rich.table import Table
from scipy.stats import sem, t
from tests.bench import _deadlines
from tests.bench._bundles import bundle_path
from tests.bench._policies import (
    ERROR,
    Case,
    Make,
    Unhedged,
    analytic,
    drawn,
    learned,
    relative,
    simulated,
    trained,
)
from tests.bench._traces import recorded_links
from tests.bench.exits import network

from cutpoint.calibration.allocation.crowd import Crowd
from cutpoint.calibration.learning.worlds import Worlds, adaptive_users
from cutpoint.calibration.simulate import ArgminPolicy, Outcome, User, oracle, simulate_users
from cutpoint.sdk import Bundle, Conditions, LearnedPolicy, Objective, Plan, Policy
from cutpoint.sdk.observation import observe

TITLE = "Learned policies"

#: What is measured, unless CUTPOINT_BENCH_PARTS names some of it.
_PARTS = "crowds,exits,mistaken,deadlines,times"
_USERS, _SEEDS, _QUANTILE = (5, 20, 50), 10, 0.9
#: A user without others has few requests in a world.
_ALONE_SEEDS = 40
_SERVER = 2.0
_TRIED_LONG = 256 * 1024
#: Decisions that are timed, once each, and the additions of a loop that takes about as long as one.
_DECISIONS, _ADDITIONS = 5000, 1_700


def _case(bundle: Bundle, drop: float, device_scale: tuple[float, float]) -> Case:
    traces = [link.trace for link in recorded_links()]
    trained = Worlds(tuple(traces[::2]), users=(1, 24), device_scale=device_scale, server_scale=(0.5, 8.0))
    fixed = _SERVER, _SERVER
    unseen = Worlds(tuple(traces[1::2]), device_scale=device_scale, server_scale=fixed, seconds=20.0)
    return Case(bundle, Objective.preset("balanced", accuracy_drop=drop), trained, unseen)


# -- many users --------------------------------------------------------------------------------------------------


class _Costs(NamedTuple):
    mean: float
    p95: float
    latency_ms: float
    edge: float


def _costs(case: Case, users: Sequence[User], outcomes: Sequence[Sequence[Outcome]]) -> _Costs:
    costs = relative(case, users, outcomes)
    latency = [each.latency_ms for answers in outcomes for each in answers]
    edge = [not each.point.local for answers in outcomes for each in answers]
    return _Costs(float(costs.mean()), float(np.percentile(costs, 95)), float(np.mean(latency)), float(np.mean(edge)))


def _run(case: Case, make: Make, users: int, seed: int, error: float = 0.0) -> _Costs:
    return _costs(case, *simulated(case, make, users, seed, error))


def _rule(case: Case, rule: str, users: int, seed: int) -> _Costs:
    """One of the rules of `Crowd`, or the oracle, who knows the links but not the other users."""
    scenarios, server = drawn(case, users, seed)
    analytic = adaptive_users(case.bundle, case.objective, scenarios)
    if rule == "oracle":
        points = analytic[0].policy.points  # type: ignore[attr-defined]
        return _costs(case, analytic, [oracle(scenario, points, case.objective) for scenario in scenarios])
    crowd = Crowd(case.bundle, scenarios, [case.objective] * users, server)
    return _costs(case, analytic, crowd.run(rule).outcomes)


def _crowds(case: Case, makes: dict[str, Make]) -> list[dict[str, Any]]:
    """Policies and rules with several numbers of users, against the first of the policies."""
    crowds = []
    for users in _USERS:
        found = {name: [_run(case, make, users, seed) for seed in range(_SEEDS)] for name, make in makes.items()}
        for rule in ("central", "oracle", "static", "device", "edge"):
            found[rule] = [_rule(case, rule, users, seed) for seed in range(_SEEDS)]
        reference = next(iter(found.values()))
        crowds.append({"users": users, "rows": [_row(name, costs, reference) for name, costs in found.items()]})
        print(f"{users} users compared", flush=True)
    return crowds


def _row(name: str, costs: Sequence[_Costs], reference: Sequence[_Costs]) -> dict[str, Any]:
    row: dict[str, Any] = {"policy": name, "edge": float(np.mean([each.edge for each in costs]))}
    row["latency_ms"] = float(np.mean([each.latency_ms for each in costs]))
    for figure in ("mean", "p95"):
        own = np.array([getattr(each, figure) for each in costs])
        ratios = own / np.array([getattr(each, figure) for each in reference])
        row[figure] = float(own.mean())
        row[f"{figure}_ratio"] = float(ratios.mean())
        row[f"{figure}_within"] = float(sem(ratios) * t.ppf(0.975, len(ratios) - 1))
    return row


def _unhedged(case: Case, makes: dict[str, Make]) -> dict[str, list[_Costs]]:
    """20 users whose estimates are off, and whose devices never step in."""

    def costs(make: Make) -> list[_Costs]:
        return [_run(case, lambda user: Unhedged(make(user)), 20, seed, ERROR) for seed in range(_SEEDS)]

    return {name: costs(make) for name, make in makes.items()}


def _alone(case: Case, makes: dict[str, Make]) -> dict[str, list[_Costs]]:
    """A server for each user, whose estimates are off."""
    return {name: [_run(case, make, 1, seed, ERROR) for seed in range(_ALONE_SEEDS)] for name, make in makes.items()}


def _gains(found: dict[str, list[_Costs]]) -> list[dict[str, Any]]:
    """Policies that reckon with errors against those that take the estimate for certain."""
    pairs = (("memtl, robust", "memtl"), ("ppo, robust", "ppo"), ("analytic + price", "argmin"))
    return [_row(robust, found[robust], found[point]) | {"against": point} for robust, point in pairs]


# -- time of a decision ------------------------------------------------------------------------------------------


class _Noting:
    """Keeps what it is asked."""

    def __init__(self, policy: Policy, noted: list[Conditions]) -> None:
        self._policy = policy
        self._noted = noted

    def choose(self, conditions: Conditions) -> Plan:
        self._noted.append(conditions)
        return self._policy.choose(conditions)


def _add() -> int:
    total = 0
    for number in range(_ADDITIONS):
        total += number
    return total


def _times(case: Case, makes: dict[str, Make]) -> list[dict[str, Any]]:
    """Every policy decides in turn, once in each of the conditions, so that all of them meet the same machine.

    The loop does nothing else than to take time: how far its 99th percentile is above its median is the
    machine's doing.
    """
    scenarios, server = drawn(case, 20, 0)
    users = adaptive_users(case.bundle, case.objective, scenarios)
    noted: list[Conditions] = []
    simulate_users([User(user.scenario, _Noting(user.policy, noted), user.fallback) for user in users], server)
    policies = {name: make(users[0]) for name, make in makes.items()}
    times: dict[str, list[int]] = {name: [] for name in (*policies, "additions")}
    for number in range(_DECISIONS):
        conditions = noted[number % len(noted)]
        for name, policy in policies.items():
            began = time.perf_counter_ns()
            policy.choose(conditions)
            times[name].append(time.perf_counter_ns() - began)
        began = time.perf_counter_ns()
        _add()
        times["additions"].append(time.perf_counter_ns() - began)
    rows = []
    for name, taken in times.items():
        row: dict[str, Any] = {"policy": name}
        for quantile in (50, 95, 99):
            row[f"p{quantile}_us"] = round(float(np.percentile(taken, quantile)) / 1e3, 1)
        policy = policies.get(name)
        if isinstance(policy, LearnedPolicy):
            radio = users[0].scenario.energy.radio
            row["known"] = float(np.mean([policy.knows(observe(each, radio)) for each in noted]))
        rows.append(row)
    return rows


def run() -> dict[str, Any]:
    """Measures; see the module's docstring."""
    # Hundreds of users, each of whom would say when the analytic policy takes over.
    logging.getLogger("cutpoint.policy").setLevel(logging.ERROR)
    chosen = os.environ.get("CUTPOINT_BENCH_PARTS", _PARTS).split(",")
    case = _case(Bundle.open(bundle_path("DeiT-tiny")), 0.01, (5.0, 60.0))
    found: dict[str, Any] = {}
    if "crowds" in chosen or "times" in chosen:
        makes: dict[str, Make] = {"analytic + price": analytic}
        makes |= {name: learned(trained(case, name), case.bundle) for name in ("memtl", "ppo")}
        found |= {"times": _times(case, makes)} if "times" in chosen else {}
        if "crowds" in chosen:
            longer = learned(trained(case, "ppo", tried=_TRIED_LONG), case.bundle)
            found["crowds"] = _crowds(case, makes | {"ppo, longer": longer})
    if "exits" in chosen:
        exits = _case(network("scenes").bundle, 0.03, (20.0, 200.0))
        makes = {"analytic + price": analytic}
        makes |= {name: learned(trained(exits, name), exits.bundle) for name in ("memtl", "ppo")}
        found["exits"] = _crowds(exits, makes)
    if "mistaken" in chosen:
        found |= _mistaken(case)
    if "deadlines" in chosen:
        found["deadlines"] = _deadlines.compared()
    return found


def _mistaken(case: Case) -> dict[str, Any]:
    """Estimates that are off, without a deadline."""
    makes: dict[str, Make] = {"analytic + price": analytic}
    for algorithm in ("memtl", "ppo"):
        for name, quantile in ((algorithm, None), (f"{algorithm}, robust", _QUANTILE)):
            makes[name] = learned(trained(case, algorithm, quantile), case.bundle)
    makes["argmin"] = lambda user: ArgminPolicy(user.policy.points)  # type: ignore[attr-defined]
    wrong = {name: [_run(case, make, 20, seed, ERROR) for seed in range(_SEEDS)] for name, make in makes.items()}
    return {
        "mistaken": [_row(name, costs, wrong["analytic + price"]) for name, costs in wrong.items()],
        "robust": _gains(wrong),
        "unhedged": _gains(_unhedged(case, makes)),
        "alone": _gains(_alone(case, makes)),
    }


def table(result: dict[str, Any]) -> Group:
    """A table for each number of users, for wrong estimates, for deadlines, and one for times."""
    tables: list[Table] = []
    parts = [(f"DeiT-tiny, {crowd['users']} users", crowd["rows"]) for crowd in result.get("crowds", ())]
    parts += [
        (f"the demo's network with an exit, {crowd['users']} users", crowd["rows"]) for crowd in result.get("exits", ())
    ]
    mistaken = {
        "mistaken": "20 users, estimates off by 30 %",
        "robust": "robust against point estimates",
        "unhedged": "robust against point estimates, devices never step in",
        "alone": "robust against point estimates, a server for each user",
    }
    parts += [(title, result[name]) for name, title in mistaken.items() if name in result]
    for title, rows in parts:
        shown = Table("policy", "cost", "against analytic", "p95", "against analytic", "mean ms", "edge", title=title)
        for row in rows:
            ratios = (f"{row[f'{figure}_ratio']:.3f} ± {row[f'{figure}_within']:.3f}" for figure in ("mean", "p95"))
            mean, p95 = ratios
            name = f"{row['policy']} / {row['against']}" if "against" in row else row["policy"]
            cells = (f"{row['mean']:.3f}", mean, f"{row['p95']:.2f}", p95, f"{row['latency_ms']:.0f}")
            shown.add_row(name, *cells, f"{row['edge']:.0%}")
        tables.append(shown)
    if "deadlines" in result:
        tables.append(_deadlines.table(result["deadlines"]))
    times = Table("policy", "p50 µs", "p95 µs", "p99 µs", "known")
    for row in result.get("times", ()):
        keys = ("p50_us", "p95_us", "p99_us")
        times.add_row(row["policy"], *(str(row[key]) for key in keys), f"{row['known']:.0%}" if "known" in row else "")
    return Group(*tables, *([times] if "times" in result else []))
