"""Learned policies against the analytic one and what both are measured against, many users of one server.

DeiT-tiny, devices 5 to 60 times slower than a core here, and the demo's network with an exit, devices 20 to 200 times
slower (1 and 3 points may be lost); objective `balanced`, 5 to 50 users of one server half as fast as a core. Policies
are trained on four recorded uplinks and compared on four others, over ten seeds. A cost is that of a request in units
of what the device alone would cost; ratios to the analytic policy are taken seed by seed, with 95 % confidence
intervals. Then the same with estimates of channel and computation that are off by 30 %, among others and alone, and the
time of a decision. Trained files are kept in `bench/policies/`; training takes half an hour.

Needs the shared data, and the bundle of the bench `exits`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from rich.console import Group
from rich.table import Table
from scipy.stats import sem, t
from tests.bench._bundles import bundle_path
from tests.bench._traces import recorded_links
from tests.bench.exits import network

from cutpoint.calibration.allocation.crowd import Crowd
from cutpoint.calibration.learning.costs import alone_cost, outcome_cost
from cutpoint.calibration.learning.demonstrations import demonstrations
from cutpoint.calibration.learning.memtl import train_memtl
from cutpoint.calibration.learning.mistakes import MistakenPolicy
from cutpoint.calibration.learning.ppo import train_ppo
from cutpoint.calibration.learning.task import TrainingTask, finish
from cutpoint.calibration.learning.worlds import Worlds, adaptive_users
from cutpoint.calibration.simulate import ArgminPolicy, Outcome, Scenario, ServerScenario, User, oracle, simulate_users
from cutpoint.calibration.training.loop import Budget
from cutpoint.calibration.work import digest
from cutpoint.sdk import AdaptivePolicy, Bundle, Conditions, LearnedPolicy, Objective, Plan, Policy
from cutpoint.sdk.files import write_file
from cutpoint.sdk.observation import observe

TITLE = "Learned policies"

_FOLDER = Path(__file__).parents[2] / "bench" / "policies"
_USERS, _SEEDS, _ERROR, _QUANTILE = (5, 20, 50), 10, 0.3, 0.9
#: A user without others has few requests in a world.
_ALONE_SEEDS = 40
_SERVER = 2.0
_DEMONSTRATED, _STEPS, _TRIED, _TRIED_LONG = 8000, 3000, 16 * 1024, 256 * 1024
#: Users of a world in which PPO tries; more of them take longer to simulate, and it needs many worlds.
_TRIED_AMONG = (1, 6)
#: Decisions that are timed, once each, and the additions of a loop that takes about as long as one.
_DECISIONS, _ADDITIONS = 5000, 1_700

#: What makes a user's policy of the analytic one.
Make = Callable[[User], Policy]


class _Case(NamedTuple):
    bundle: Bundle
    objective: Objective
    trained: Worlds
    unseen: Worlds


def _case(bundle: Bundle, drop: float, device_scale: tuple[float, float]) -> _Case:
    traces = [link.trace for link in recorded_links()]
    trained = Worlds(tuple(traces[::2]), users=(1, 24), device_scale=device_scale, server_scale=(0.5, 8.0))
    fixed = _SERVER, _SERVER
    unseen = Worlds(tuple(traces[1::2]), device_scale=device_scale, server_scale=fixed, seconds=20.0)
    return _Case(bundle, Objective.preset("balanced", accuracy_drop=drop), trained, unseen)


# -- training ----------------------------------------------------------------------------------------------------


def _file(case: _Case, algorithm: str, robust: bool = False, tried: int = _TRIED) -> bytes:
    """A trained policy: from the folder, or trained now."""
    error, quantile = (_ERROR, _QUANTILE) if robust else (0.0, None)
    memtl = algorithm == "memtl"
    worlds = case.trained if memtl else replace(case.trained, users=_TRIED_AMONG)
    task = TrainingTask(case.bundle, case.objective, worlds, error, quantile)
    length = f"{_DEMONSTRATED} {_STEPS}" if memtl else f"{tried}"
    key = digest(case.bundle.hash, repr(case.objective), repr(worlds), f"{algorithm} {error} {quantile} {length}")
    path = _FOLDER / f"{algorithm}{'-robust' if robust else ''}-{key[:8]}.onnx"
    if not path.exists():
        started = time.monotonic()
        if memtl:
            trained = train_memtl(task, demonstrations(task, _DEMONSTRATED), Budget(_STEPS))
        else:
            trained = train_ppo(task, Budget(tried), path.with_suffix(".checkpoint"))
        write_file(path, finish(task, trained))
        print(f"{path.name}: trained in {time.monotonic() - started:.0f} s", flush=True)
    return path.read_bytes()


# -- many users --------------------------------------------------------------------------------------------------


class _Costs(NamedTuple):
    mean: float
    p95: float
    latency_ms: float
    edge: float


def _costs(case: _Case, users: Sequence[User], outcomes: Sequence[Sequence[Outcome]]) -> _Costs:
    uncut = case.bundle.manifest.task.uncut
    relative, latency, edge = [], [], []
    for user, answers in zip(users, outcomes, strict=True):
        assert isinstance(user.policy, AdaptivePolicy)
        unit = alone_cost(user.policy, user.scenario.device_scale)
        relative += [outcome_cost(each, case.objective, user.scenario.energy, uncut) / unit for each in answers]
        latency += [each.latency_ms for each in answers]
        edge += [not each.point.local for each in answers]
    return _Costs(
        float(np.mean(relative)), float(np.percentile(relative, 95)), float(np.mean(latency)), float(np.mean(edge))
    )


def _drawn(case: _Case, users: int, seed: int) -> tuple[list[Scenario], ServerScenario]:
    return replace(case.unseen, users=(users, users)).draw(case.bundle, np.random.default_rng((users, seed)))


def _run(case: _Case, make: Make, users: int, seed: int, error: float = 0.0) -> _Costs:
    scenarios, server = _drawn(case, users, seed)
    analytic = adaptive_users(case.bundle, case.objective, scenarios)
    asked = []
    for number, user in enumerate(analytic):
        policy = make(user)
        if error:
            policy = MistakenPolicy(policy, error, np.random.default_rng((seed, number)))
        asked.append(User(user.scenario, policy, user.fallback))
    return _costs(case, analytic, simulate_users(asked, server).outcomes)


def _rule(case: _Case, rule: str, users: int, seed: int) -> _Costs:
    """One of the rules of `Crowd`, or the oracle, who knows the links but not the other users."""
    scenarios, server = _drawn(case, users, seed)
    analytic = adaptive_users(case.bundle, case.objective, scenarios)
    if rule == "oracle":
        points = analytic[0].policy.points  # type: ignore[attr-defined]
        return _costs(case, analytic, [oracle(scenario, points, case.objective) for scenario in scenarios])
    crowd = Crowd(case.bundle, scenarios, [case.objective] * users, server)
    return _costs(case, analytic, crowd.run(rule).outcomes)


def _analytic(user: User) -> Policy:
    return user.policy


def _learned(data: bytes, bundle: Bundle) -> Make:
    def make(user: User) -> Policy:
        assert isinstance(user.policy, AdaptivePolicy)
        policy = LearnedPolicy(data, user.policy, bundle)
        assert policy.refusal is None, policy.refusal
        return policy

    return make


def _crowds(case: _Case, makes: dict[str, Make]) -> list[dict[str, Any]]:
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


class _Unhedged:
    """The same points, without the device's second answer."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def choose(self, conditions: Conditions) -> Plan:
        return msgspec.structs.replace(self._policy.choose(conditions), hedge_ms=None)


def _unhedged(case: _Case, makes: dict[str, Make]) -> dict[str, list[_Costs]]:
    """20 users whose estimates are off, and whose devices never step in."""

    def costs(make: Make) -> list[_Costs]:
        return [_run(case, lambda user: _Unhedged(make(user)), 20, seed, _ERROR) for seed in range(_SEEDS)]

    return {name: costs(make) for name, make in makes.items()}


def _alone(case: _Case, makes: dict[str, Make]) -> dict[str, list[_Costs]]:
    """A server for each user, whose estimates are off."""
    return {name: [_run(case, make, 1, seed, _ERROR) for seed in range(_ALONE_SEEDS)] for name, make in makes.items()}


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


def _times(case: _Case, makes: dict[str, Make]) -> list[dict[str, Any]]:
    """Every policy decides in turn, once in each of the conditions, so that all of them meet the same machine.

    The loop does nothing else than to take time: how far its 99th percentile is above its median is the
    machine's doing.
    """
    scenarios, server = _drawn(case, 20, 0)
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
    case = _case(Bundle.open(bundle_path("DeiT-tiny")), 0.01, (5.0, 60.0))
    exits = _case(network("scenes").bundle, 0.03, (20.0, 200.0))
    makes: dict[str, Make] = {"analytic + price": _analytic}
    for algorithm in ("memtl", "ppo"):
        for robust in (False, True):
            data = _file(case, algorithm, robust)
            makes[f"{algorithm}{', robust' if robust else ''}"] = _learned(data, case.bundle)
    longer = {"ppo, longer": _learned(_file(case, "ppo", tried=_TRIED_LONG), case.bundle)}
    compared = {name: makes[name] for name in ("analytic + price", "memtl", "ppo")} | longer
    at_exits: dict[str, Make] = {"analytic + price": _analytic}
    at_exits |= {name: _learned(_file(exits, name), exits.bundle) for name in ("memtl", "ppo")}
    crowds, with_exits = _crowds(case, compared), _crowds(exits, at_exits)
    makes["argmin"] = lambda user: ArgminPolicy(user.policy.points)  # type: ignore[attr-defined]
    wrong = {name: [_run(case, make, 20, seed, _ERROR) for seed in range(_SEEDS)] for name, make in makes.items()}
    return {
        "crowds": crowds,
        "exits": with_exits,
        "mistaken": [_row(name, costs, wrong["analytic + price"]) for name, costs in wrong.items()],
        "robust": _gains(wrong),
        "unhedged": _gains(_unhedged(case, makes)),
        "alone": _gains(_alone(case, makes)),
        "times": _times(case, compared),
    }


def table(result: dict[str, Any]) -> Group:
    """A table for each number of users, one for wrong estimates, one for times."""
    tables = []
    parts = [(f"DeiT-tiny, {crowd['users']} users", crowd["rows"]) for crowd in result["crowds"]]
    parts += [(f"the demo's network with an exit, {crowd['users']} users", crowd["rows"]) for crowd in result["exits"]]
    parts += [
        ("20 users, estimates off by 30 %", result["mistaken"]),
        ("robust against point estimates", result["robust"]),
        ("robust against point estimates, devices never step in", result["unhedged"]),
        ("robust against point estimates, a server for each user", result["alone"]),
    ]
    for title, rows in parts:
        shown = Table("policy", "cost", "against analytic", "p95", "against analytic", "mean ms", "edge", title=title)
        for row in rows:
            ratios = (f"{row[f'{figure}_ratio']:.3f} ± {row[f'{figure}_within']:.3f}" for figure in ("mean", "p95"))
            mean, p95 = ratios
            name = f"{row['policy']} / {row['against']}" if "against" in row else row["policy"]
            cells = (f"{row['mean']:.3f}", mean, f"{row['p95']:.2f}", p95, f"{row['latency_ms']:.0f}")
            shown.add_row(name, *cells, f"{row['edge']:.0%}")
        tables.append(shown)
    times = Table("policy", "p50 µs", "p95 µs", "p99 µs", "known")
    for row in result["times"]:
        keys = ("p50_us", "p95_us", "p99_us")
        times.add_row(row["policy"], *(str(row[key]) for key in keys), f"{row['known']:.0%}" if "known" in row else "")
    return Group(*tables, times)
