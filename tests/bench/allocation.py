"""Many users of one server: clients that follow the price, beside rules that know more or less.

Simulated for 2 to 500 users of the demo's network, with devices, links and times drawn from a seed. `to central` is the
summed cost over that of everybody doing what the central solver says, in the same simulation. After half of the users
joined, `updates` are the seconds until the summed cost has settled.
"""

from __future__ import annotations

import time
from dataclasses import replace
from importlib.resources import as_file, files
from typing import Any

from rich.table import Table

from cutpoint.calibration.allocation import RULES, Crowd, updates_to_settle
from cutpoint.calibration.simulate import Population, ServerScenario
from cutpoint.sdk import Bundle, Objective

TITLE = "Allocation: many users, one server"

_FEW = Population(device_scale=(60.0, 300.0), uplink=(2e7, 1e8), rtt=(0.005, 0.05), period=(0.3, 1.0))
_MANY = Population(device_scale=(50.0, 400.0), period=(1.0, 4.0))
#: Users → who they are, how much slower the server is than in calibration, its workers, seeds.
_CASES = (
    (2, _FEW, 30.0, 1, 4),
    (8, _FEW, 50.0, 1, 4),
    (50, _MANY, 20.0, 1, 2),
    (200, _MANY, 20.0, 1, 1),
    (500, _MANY, 6.4, 1, 1),
    (500, _MANY, 25.6, 4, 1),
)
_SECONDS, _STEP = 40.0, 20.0
_WANTED = (Objective(), Objective.preset("balanced"))


def _crowd(bundle: Bundle, users: int, people: Population, scale: float, workers: int, seed: int, step: float) -> Crowd:
    scenarios = people.draw(users, _SECONDS, scale, bundle.manifest.boundaries[-1].nbytes, seed)
    if step:
        # Every other user comes later; all stay for as long.
        scenarios = [replace(s, begin=s.begin + step * (i % 2)) for i, s in enumerate(scenarios)]
        scenarios = [replace(s, requests=round(s.requests * (2 - i % 2))) for i, s in enumerate(scenarios)]
    objectives = [_WANTED[number // 2 % 2] for number in range(users)]
    return Crowd(bundle, scenarios, objectives, ServerScenario(workers, scale))


def _case(bundle: Bundle, users: int, people: Population, scale: float, workers: int, seeds: int) -> dict[str, Any]:
    rows: dict[str, list[dict[str, Any]]] = {rule: [] for rule in RULES}
    gaps, model, seconds, requests = [], [], 0.0, 0
    for seed in range(seeds):
        crowd = _crowd(bundle, users, people, scale, workers, seed, 0.0)
        gaps.append(crowd.allocation.gap)
        central = 0.0
        for rule in ("central", *(rule for rule in RULES if rule != "central")):
            began = time.perf_counter()
            world = crowd.run(rule)
            if rule == "price":
                seconds += time.perf_counter() - began
                requests += sum(map(len, world.outcomes))
            summary = crowd.summarise(world)
            central = central or summary.cost
            rows[rule].append(summary.as_json() | {"to_central": summary.cost / central})
        model.append(central / crowd.allocation.bound)
    stepped = _crowd(bundle, users, people, scale, workers, 0, _STEP)
    worlds = [stepped.run("price", repeat) for repeat in range(seeds)]
    return {
        "users": users,
        "workers": workers,
        "rules": rows,
        "gap": max(gaps),
        "central_to_bound": model,
        "updates": updates_to_settle(stepped, worlds, _STEP + 2.0),
        "simulated_per_second": requests / seconds,
    }


def run() -> dict[str, Any]:
    """Measures; see the module's docstring."""
    with as_file(files("cutpoint.demo").joinpath("scenes.cutpoint")) as path:
        bundle = Bundle.open(path)
    return {"simulated": [_case(bundle, *case) for case in _CASES]}


def _mean(rows: list[dict[str, Any]], name: str) -> float:
    return float(sum(row[name] for row in rows) / len(rows))


def table(result: dict[str, Any]) -> Table:
    """A section for each number of users."""
    simulated = Table("users", "rule", "to central", "p95 ms", "edge", "server", "price", "updates", "gap", "req/s")
    for case in result["simulated"]:
        simulated.add_section()
        for rule, rows in case["rules"].items():
            worst = max(row["to_central"] for row in rows)
            figures = [f"{_mean(rows, 'to_central'):.3f} ({worst:.3f})", f"{_mean(rows, 'p95_ms'):.0f}"]
            figures += [
                f"{_mean(rows, 'edge'):.0%}",
                f"{_mean(rows, 'utilisation'):.0%}",
                f"{_mean(rows, 'price'):.1f}",
            ]
            more = ["", "", ""]
            if rule == "price":
                more = [str(case["updates"]), "", f"{case['simulated_per_second']:.0f}"]
            elif rule == "central":
                more = ["", f"{case['gap']:.1e}", ""]
            users = f"{case['users']}" + (f", {case['workers']} workers" if case["workers"] > 1 else "")
            simulated.add_row(users if rule == "price" else "", rule, *figures, *more)
    return simulated
